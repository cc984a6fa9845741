package systemd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unitsDir has units as people write them, and the files that they need.
const unitsDir = "../../operate/testdata/units"

// giveFiles puts the files of these units on the machine.
func (m *machine) giveFiles() {
	m.T.Helper()
	data, err := os.ReadFile(filepath.Join(unitsDir, "files.txtar"))
	if err != nil {
		m.T.Fatal(err)
	}
	for _, part := range strings.Split("\n"+string(data), "\n-- ")[1:] {
		name, text, _ := strings.Cut(part, " --\n")
		if home, found := strings.CutPrefix(name, "home/"); found {
			name = "root/" + home
		}
		m.Give("root", "/"+name, text+"\n")
	}
	m.Want(0, "root", "chmod +x /opt/act_runner/start.sh; mkdir -p /opt/ci; "+
		"cp /usr/local/bin/act_runner /opt/act_runner/act_runner-0.2.11-linux-amd64; "+
		"cp /usr/local/bin/act_runner /opt/ci/agent")
}

// daemons prints the processes that take jobs.
const daemons = `for p in /proc/[0-9]*; do case $(readlink $p/exe) in */act_runner*|*/agent) echo $p; esac; done`

var printedFix = regexp.MustCompile(`hostguard runner service -runner-dir \S+ -apply`)

// Each command that is printed as a fix is run, and works: for the unit that people have,
// with the configuration that it names. No second daemon is ever started.
func TestFixesForUnitsInTheField(t *testing.T) {
	t.Parallel()
	m := boot(t)
	paths, err := filepath.Glob(unitsDir + "/*.service")
	if err != nil || len(paths) < 10 {
		t.Fatal(paths, err)
	}
	configs := map[string]string{
		"arch.service": "/etc/act_runner/config.yaml", "nixos.service": "/nix/store/abc-config/config.yaml",
		"nowhere.service": "/opt/elsewhere/config.yaml", "home.service": "/root/act-runner/config.yaml",
		"variables.service": "/opt/act_runner/other.yaml", "bare.service": "",
	}
	for _, path := range paths {
		name := filepath.Base(path)
		config, other := configs[name]
		if !other {
			config = "/opt/act_runner/config.yaml"
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m.giveFiles()
		m.Give("root", "/etc/systemd/system/"+name, string(text))
		m.Want(0, "root", "systemctl daemon-reload; systemctl start "+name)
		m.Until("[ -n \"$(" + daemons + ")\" ]")
		said := m.Want(0, "root", "hostguard runner audit", "service="+name+" active/running")
		fixes := printedFix.FindAllString(said, -1)
		slices.Sort(fixes)
		fixes = slices.Compact(fixes)
		if len(fixes) != 1 {
			t.Fatalf("%s: fixes %q in\n%s", name, fixes, said)
		}
		if config == "" {
			m.Want(1, "root", fixes[0], `the unit "bare.service" runs the runner without a configuration; add `)
		} else {
			m.Want(0, "root", fixes[0], `the system's unit "`+name+`" runs this runner`, `in "`+config+`"`)
			m.Want(0, "root", "grep -q 'capacity: 1$' "+config+" && "+
				"grep -q 'capacity: 9' /var/lib/act_runner/config.yaml")
			m.Is("root", "systemctl show --value -p KillMode "+name, "mixed")
			if name == "shell.service" { // stopped, and not loaded, it is found by its file
				m.Want(0, "root", "systemctl stop "+name)
				m.Want(0, "root", fixes[0], `the system's unit "`+name+`" runs this runner`, "systemctl start "+name)
			}
			if said := m.Want(0, "root", "hostguard runner audit"); printedFix.MatchString(said) {
				t.Errorf("%s: after the fix\n%s", name, said)
			}
		}
		m.Until("[ $(" + daemons + " | wc -l) = 1 ]")
		m.Want(1, "root", "test -e /etc/systemd/system/"+unit)
		m.Want(0, "root", "systemctl stop "+name+"; rm -r /etc/systemd/system/"+name+"*; systemctl daemon-reload")
	}
}

// On NixOS nobody can change the configuration or a unit: then that is not the fix.
func TestWhatNobodyCanChangeIsNotTheFix(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.giveFiles()
	text, err := os.ReadFile(unitsDir + "/nixos.service")
	if err != nil {
		t.Fatal(err)
	}
	m.Give("root", "/etc/systemd/system/nixos.service", string(text))
	for _, dir := range []string{"/nix/store", "/etc/systemd/system"} {
		m.Want(0, "root", "mount --bind "+dir+" "+dir+" && mount -o remount,bind,ro "+dir)
	}
	m.Want(0, "root", "systemctl daemon-reload; systemctl start nixos.service")
	said := m.Want(0, "root", "hostguard runner audit", "services.gitea-actions-runner.instances",
		"systemd.services.nixos.serviceConfig")
	if printedFix.MatchString(said) {
		t.Error(said)
	}
	m.Want(1, "root", "hostguard runner service -runner-dir /var/lib/gitea-runner/default -apply",
		"is on a read-only file system", "services.gitea-actions-runner")
}
