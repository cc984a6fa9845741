package runner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hostguard/runner/config"

	"github.com/google/go-cmp/cmp"
)

const home110 = "/home/wooo/act-runner"

// host110 returns the host whose one runner serves three owners.
func host110() Host {
	h := Host{Dir: home110, ConfigPath: home110 + "/config.yaml"}
	for _, l := range []string{
		"ubuntu-latest:docker://image", "ubuntu-22.04:docker://image",
		"awoooi-host:host", "ewoooc-host:docker://image",
	} {
		h.Config.Labels = append(h.Config.Labels, config.ParseLabel(l))
	}
	return h
}

const plan110 = `runners:
  - owner: awoooi
    labels:
      - awoooi-host
    directory: /home/wooo/act-runner-awoooi
    service: gitea-act-runner-awoooi.service
  - owner: shared
    labels:
      - ubuntu-latest
      - ubuntu-22.04
    directory: /home/wooo/act-runner-shared
    service: gitea-act-runner-shared.service
  - owner: ewoooc
    labels:
      - ewoooc-host
    directory: /home/wooo/act-runner-ewoooc
    service: gitea-act-runner-ewoooc.service
`

func TestTheProposedPlanIsAPlan(t *testing.T) {
	h := host110()
	h.Config.Labels = append(h.Config.Labels, config.ParseLabel("awoooi-host:host")) // twice in the file
	proposed := FormatSplit(ProposeSplit(h))
	if diff := cmp.Diff(plan110, proposed); diff != "" {
		t.Error(diff)
	}
	plan, err := ParseSplit([]byte(proposed), h.Dir, PrimaryService)
	if err == nil {
		err = CheckSplit(plan, h.Config.Labels, nil)
	}
	if err != nil || len(Moves(plan, h.Dir)) != 3 || len(Stays(plan, h)) != 0 {
		t.Error(plan, err)
	}
}

func TestDirectoryAndServiceHaveDefaults(t *testing.T) {
	short := "runners: [" +
		"{owner: awoooi, labels: [awoooi-host]}, " +
		"{owner: shared, labels: [ubuntu-latest, ubuntu-22.04]}, " +
		"{owner: ewoooc, labels: [ewoooc-host]}]"
	plan, err := ParseSplit([]byte(short), home110, PrimaryService)
	for i := range plan {
		plan[i].Line = 0
	}
	want, _ := ParseSplit([]byte(plan110), home110, PrimaryService)
	for i := range want {
		want[i].Line = 0
	}
	if diff := cmp.Diff(want, plan); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// One whose directory is the primary's is the primary: it keeps those labels.
func TestAnOwnerMayStayWithThePrimary(t *testing.T) {
	h := host110()
	stays := "runners: [{owner: awoooi, " +
		"labels: [awoooi-host, ubuntu-latest, ubuntu-22.04], directory: " + h.Dir + "}, " +
		"{owner: ewoooc, labels: [ewoooc-host]}]"
	plan, err := ParseSplit([]byte(stays), h.Dir, PrimaryService)
	if err == nil {
		err = CheckSplit(plan, h.Config.Labels, nil)
	}
	if err != nil || plan[0].Service != PrimaryService || len(Moves(plan, h.Dir)) != 1 {
		t.Fatal(plan, err)
	}
	if diff := cmp.Diff(h.Config.Labels[:3], Stays(plan, h)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(h.Config.Labels[3:], plan[1].Takes(h.Config.Labels)); diff != "" {
		t.Error(diff)
	}
}

// A plan with one thing wrong, and the line that its error names.
func TestAPlanIsReadStrictly(t *testing.T) {
	one := func(fields string) string { return "runners:\n- owner: awoooi\n  labels: [awoooi-host]\n" + fields }
	long := strings.Repeat("a", 300)
	for name, c := range map[string]struct{ yaml, text string }{
		"empty":          {"", `line 1: must have a list "runners"`},
		"no mapping":     {"- owner: a", "line 1: must be a mapping with runners"},
		"no YAML":        {"runners: [", `"yaml: `},
		"no runners":     {"runners: []", `line 1: must have a list "runners"`},
		"two documents":  {plan110 + "---\nrunners: []\n", "line 1: more than one document"},
		"an unknown key": {"owners: []", `line 1: unknown key "owners"; known keys: runners`},
		"an unknown key of one": {
			one("  dir: /x\n"),
			`line 4: unknown key "dir"; known keys: owner, labels, directory, service`,
		},
		"a key twice":             {one("  owner: b\n"), `line 4: duplicate key "owner"`},
		"a runner that is a word": {"runners:\n- awoooi", "line 2: must be a mapping with owner, labels"},
		"no owner":                {"runners:\n- labels: [a]", `line 2: owner is ""`},
		"an owner of two words":   {"runners:\n- labels: [a]\n  owner: a b", `line 3: owner is "a b"`},
		"an owner that is a path": {"runners:\n- owner: ../a\n  labels: [a]", `line 2: owner is "../a"`},
		"a long owner":            {"runners:\n- owner: " + long + "\n  labels: [a]", "line 2: owner is"},
		"no labels":               {"runners:\n- owner: a", `line 2: "a" has no list of labels`},
		"labels that are no list": {"runners:\n- owner: a\n  labels: x", `line 3: "a" has no list of labels`},
		"a label with its image": {
			"runners:\n- owner: a\n  labels:\n  - x\n  - awoooi-host:host",
			`line 5: "awoooi-host:host" is not the name of a label`,
		},
		"two labels in one": {"runners:\n- owner: a\n  labels: ['x,y']", `line 3: "x,y" is not the name of a label`},
		"a label of two lines": {
			"runners:\n- owner: a\n  labels: [\"x\\n::set-env name=a::b\"]",
			`line 3: "x\n::set-env`,
		},
		"a label that is a list": {"runners:\n- owner: a\n  labels: [[x]]", `line 3: "" is not`},
		"a label twice":          {"runners:\n- owner: a\n  labels: [x, x]", `line 3: duplicate label "x"`},
		"a label of two runners": {
			one("- owner: b\n  labels: [awoooi-host]\n"),
			`line 4: label "awoooi-host" is already that of line 2`,
		},
		"an owner twice": {
			one("- owner: awoooi\n  labels: [b]\n  directory: /h/b\n  service: b.service\n"),
			`line 4: owner "awoooi" is already that of line 2`,
		},
		"a directory twice": {
			one("- owner: b\n  labels: [b]\n  directory: /home/wooo/act-runner-awoooi\n"),
			`line 4: directory "/home/wooo/act-runner-awoooi" is already that of line 2`,
		},
		"a directory in another": {
			one("- owner: b\n  labels: [b]\n  directory: /home/wooo/act-runner-awoooi/b\n"),
			"line 4: directory",
		},
		"a service twice": {
			one("- owner: b\n  labels: [b]\n  service: gitea-act-runner-awoooi.service\n"),
			`line 4: service "gitea-act-runner-awoooi.service" is already that of line 2`,
		},
		"a relative directory": {
			one("  directory: act-runner\n"),
			`line 4: directory is "act-runner"; it must be a full path`,
		},
		"a directory upwards":        {one("  directory: /home/wooo/../root\n"), `line 4: directory is "/home/wooo/../root"`},
		"a directory of two lines":   {one("  directory: \"/home/x\\ny\"\n"), `line 4: directory is "/home/x\ny"`},
		"a directory with an escape": {one("  directory: \"/home/x\\u202e\"\n"), `line 4: directory is "/home/x\u202e"`},
		"an empty directory":         {one("  directory:\n"), "line 4: directory is empty"},
		"a service that is a path":   {one("  service: ../x.service\n"), `line 4: service is "../x.service"`},
		"a service that is an option": {one("  service: --now.service\n"),
			`line 4: service is "--now.service"`},
		"a service that is a timer": {one("  service: x.timer\n"), `line 4: service is "x.timer"`},
		"the primary's service": {
			one("  service: " + PrimaryService + "\n"),
			`line 4: "gitea-act-runner-host.service" is the service of the primary's directory`,
		},
		"the primary's directory": {one("  directory: " + home110 + "\n  service: x.service\n"), "line 5: "},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := ParseSplit([]byte(c.yaml), home110, PrimaryService)
			if err == nil || !strings.Contains(err.Error(), c.text) || strings.ContainsAny(err.Error(), "\n\u202e") {
				t.Errorf("%v, %v; want %q", plan, err, c.text)
			}
		})
	}
}

func TestAPlanIsAboutAllLabelsAndNoOther(t *testing.T) {
	h := host110()
	parse := func(yaml string) []SplitRunner {
		plan, err := ParseSplit([]byte(yaml), h.Dir, PrimaryService)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	but := func(old, new string) string { return strings.Replace(plan110, old, new, 1) }
	for want, yaml := range map[string]string{
		// The line is the one where its runner begins.
		`line 7: the primary has no label "gpu"`: but("- ubuntu-22.04", "- gpu"),
		`line 12: no runner of the plan has the primary's label "ubuntu-22.04"; give`: but(
			"      - ubuntu-22.04\n", ""),
	} {
		if err := CheckSplit(parse(yaml), h.Config.Labels, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// After the split the runners of the plan have them.
	plan := parse(plan110)
	moved := map[string][]config.Label{}
	for _, r := range plan {
		moved[r.Dir] = r.Takes(h.Config.Labels)
	}
	if err := CheckSplit(plan, nil, moved); err != nil {
		t.Error(err)
	}
	if err := CheckSplit(plan, nil, map[string][]config.Label{plan[0].Dir: h.Config.Labels}); err == nil {
		t.Error("labels of one runner are taken for those of another")
	}
}

func TestARunnerThatIsThereIsThePlans(t *testing.T) {
	r := SplitRunner{Labels: []string{"b", "a"}}
	good := config.Config{
		Capacity: 1, ShutdownTimeout: time.Hour,
		Labels: []config.Label{config.ParseLabel("a:host"), config.ParseLabel("b:host")},
	}
	if err := r.CheckConfig(good); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*config.Config){
		`its labels are ["a"]`:       func(c *config.Config) { c.Labels = c.Labels[:1] },
		"its capacity is 2":          func(c *config.Config) { c.Capacity = 2 },
		"its shutdown_timeout is 0s": func(c *config.Config) { c.ShutdownTimeout = 0 },
		"it does not start with":     func(c *config.Config) { c.Refused = "line 3: x" },
	} {
		c := good
		change(&c)
		if err := r.CheckConfig(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzParseSplit(f *testing.F) {
	f.Add(plan110)
	f.Add("runners: [{owner: a, labels: [b], directory: /c, service: d.service}]")
	f.Fuzz(func(t *testing.T, text string) {
		plan, err := ParseSplit([]byte(text), home110, PrimaryService)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("%q", err)
			}
			return
		}
		again, err := ParseSplit([]byte(FormatSplit(plan)), home110, PrimaryService)
		for i := range again {
			again[i].Line = plan[i].Line
		}
		if err != nil || fmt.Sprint(again) != fmt.Sprint(plan) {
			t.Errorf("%v, %v; want %v", again, err, plan)
		}
	})
}

// A runner that is split off finds node where the primary did.
func TestAUnitHasTheEnvironmentThatItIsGiven(t *testing.T) {
	s := Service{
		Name: "x.service", Scope: "system", User: "ci", Dir: "/home/ci/r", ConfigPath: "/home/ci/r/config.yaml",
		Binary:           "/usr/bin/act_runner",
		Environment:      []string{"PATH=/opt/node/bin:/bin", `ODD=a "b" 100% \n`},
		EnvironmentFiles: []string{"-/etc/default/runner"},
	}
	text, err := s.Unit()
	for _, line := range []string{
		`Environment="PATH=/opt/node/bin:/bin"`,
		`Environment="ODD=a \"b\" 100%% \\n"`,
		"EnvironmentFile=-/etc/default/runner",
	} {
		if err != nil || !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%v: no %s in %s", err, line, text)
		}
	}
	s.Environment = []string{"KEY=secret\nExecStart=/bin/evil"}
	if _, err := s.Unit(); err == nil ||
		!strings.Contains(err.Error(), `the variable "KEY"`) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
