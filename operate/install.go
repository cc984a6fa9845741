package operate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/internal/runnerdir"
	"hostguard/observe"
	"hostguard/runner"
)

const helpInstall = `Installs this program on the host, with links named as the runner's hooks, completions
for bash, zsh and fish, and man pages. Prints the plan, and the lines that the
config.yaml of each runner here needs to find the program, with the mounts for jobs in
containers; changes nothing without -apply. A second run changes nothing. -uninstall
also stops and removes the observer's service; the history stays.

{inputs}

Existing files that are not hostguard's are never replaced or removed. For root every
directory above must be root's and not writable by others: a program that a job's
user could change must not run as root. With a file SHA256SUMS beside this program
its sum must match; on a host with the owner's public key in
/etc/hostguard/minisign.pub, the file must be there and be signed for this version.

exit status: 0 done or planned, 2 wrong use, 3 a file or directory is in the way.

example: sudo ./hostguard-linux-amd64 install -apply
`

// installation is one run of install.
type installation struct {
	prefix             string
	uninstall, observe bool
	planOptions
}

func (i *installation) Inputs() []cli.Input {
	return append(i.planOptions.Inputs(), []cli.Input{
		{Name: "uninstall", Kind: cli.Bool(&i.uninstall), FlagOnly: true,
			Text: "remove what install created, and nothing else"},
		{Name: "observe", Kind: cli.Bool(&i.observe), FlagOnly: true,
			Text: "also run \"hostguard observe\" as a service: of the system for root, else of this user"},
		{Name: "prefix", Kind: cli.Text(&i.prefix, cli.BelowRoot), FlagOnly: true, Arg: "DIR",
			Text: "default /usr/local for root, else $HOME/.local"},
	}...)
}

// installReport is what "install -json" prints.
type installReport struct {
	Version   int          `json:"version"` // of this format
	Program   string       `json:"program_version"`
	Sum       string       `json:"sha256"` // of the program
	Prefix    string       `json:"prefix"`
	Uninstall bool         `json:"uninstall"`
	Changes   []fileReport `json:"changes"`
	Applied   bool         `json:"applied"`
}

type fileReport struct {
	Action install.Action `json:"action"`
	Path   string         `json:"path"`
}

func (i *installation) Run(ctx context.Context, s *cli.Session) error {
	if path, err := os.Executable(); err == nil && path == packaged && i.prefix == "" && !i.uninstall {
		return i.runPackaged(ctx, s)
	}
	withPrefix := fmt.Sprintf(" with -prefix %q", i.prefix)
	if i.prefix == "" {
		withPrefix = ""
		var err error
		if i.prefix, err = defaultPrefix(s.Getenv, os.Geteuid()); err != nil {
			return err
		}
	}
	program, sum, err := ownProgram()
	if err != nil {
		return err
	}
	if i.uninstall {
		if i.observe {
			return cli.Usagef("-uninstall removes the observer's service anyway; leave out -observe")
		}
		if err := removeObserver(ctx, s, i.apply); err != nil {
			return err
		}
	}
	files := Files(filepath.Clean(i.prefix), install.Marker+" install.", s.Version, program, s.Commands)
	plan, verb := install.Plan, "install"
	if i.uninstall {
		plan, verb = install.PlanRemoval, "uninstall"
	}
	changes, err := plan(files)
	if err != nil {
		return err
	}
	if !i.uninstall && changes[0].Do != install.Keep { // the program that is there may be this one
		if err := checkOwnRelease(sum, s.Version); err != nil {
			return err
		}
	}
	s.Print("%s of hostguard %s (sha256 %s) below %q", verb, s.Version, sum, i.prefix)
	todo, err := i.exchange(s, changes)
	if err == nil && i.json {
		err = s.JSON(i.report(s.Version, sum, changes))
	}
	if err != nil {
		return err
	}
	i.printOutcome(s, todo, withPrefix)
	bin := filepath.Dir(files[0].Path)
	if i.uninstall {
		s.Print("the runner's config.yaml must not name %q or a path that begins with it: a missing hook fails jobs",
			filepath.Join(bin, "hostguard"))
		return nil
	}
	if i.observe {
		replaced := changes[0].Do != install.Keep
		if err := installObserver(ctx, s, files[0].Path, replaced, i.apply); err != nil {
			return err
		}
	}
	printConfiguration(ctx, s, bin)
	return nil
}

// report returns what -json prints.
func (i *installation) report(version, sum string, changes []install.Change) installReport {
	report := installReport{Version: 1, Program: version, Sum: sum, Prefix: i.prefix, Uninstall: i.uninstall,
		Changes: []fileReport{}, Applied: i.apply}
	for _, c := range changes {
		report.Changes = append(report.Changes, fileReport{c.Do, c.Path})
	}
	return report
}

// printOutcome prints what became of a number of changes.
func (i *installation) printOutcome(s *cli.Session, todo int, withPrefix string) {
	switch {
	case todo == 0:
		s.Print("nothing to change")
	case !i.apply:
		s.Print("nothing is changed yet; run it again with -apply")
	default:
		s.Print("done; undo with \"hostguard install %s\"%s",
			map[bool]string{false: "-uninstall -apply", true: "-apply"}[i.uninstall], withPrefix)
	}
}

// packaged is the program of a package. A copy below /usr/local would hide it, and go on
// after an upgrade of the package.
const packaged = "/usr/bin/hostguard"

// runPackaged prints what the configuration of each runner needs. The package manager has
// put everything else in place.
func (i *installation) runPackaged(ctx context.Context, s *cli.Session) error {
	if i.observe {
		return cli.Usagef("a package has installed %q, and the service with it: run \"systemctl enable --now %s\"",
			packaged, observe.UnitName)
	}
	_, sum, err := ownProgram()
	if err != nil {
		return err
	}
	s.Print("a package has installed hostguard %s (sha256 %s) below \"/usr\"; its package manager upgrades and "+
		"removes it", s.Version, sum)
	s.Print("nothing to change")
	i.prefix = "/usr"
	if i.json {
		err = s.JSON(i.report(s.Version, sum, nil))
	}
	if err == nil {
		printConfiguration(ctx, s, filepath.Dir(packaged))
	}
	return err
}

// exchange prints the changes, and with apply makes them. It returns how many there are.
func (i *installation) exchange(s *cli.Session, changes []install.Change) (todo int, err error) {
	done := 0
	for _, c := range changes {
		if c.Do != install.Keep {
			todo++
		}
	}
	for _, c := range changes {
		if i.apply {
			if err := c.Apply(); err != nil {
				return todo, fmt.Errorf("%s %q: %w; %d of %d changes are made, run it again to continue", c.Do, c.Path,
					cli.Pathless(err), done, todo)
			}
		}
		if c.Do != install.Keep {
			done++
		}
		s.Print("  %-8s %q", c.Do, c.Path)
	}
	return todo, nil
}

func defaultPrefix(getenv func(string) string, uid int) (string, error) {
	if uid == 0 {
		return "/usr/local", nil
	}
	home := getenv("HOME")
	if cli.BelowRoot(home) != nil {
		return "", cli.Usagef("HOME is %q, not a directory to install below; give -prefix", home)
	}
	return filepath.Join(home, ".local"), nil
}

// ownProgram returns this program and its sum.
func ownProgram() (program []byte, sum string, err error) {
	program, err = os.ReadFile("/proc/self/exe") // its path may name another file by now
	if err != nil {
		return nil, "", fmt.Errorf("read own program: %w", err)
	}
	digest := sha256.Sum256(program)
	return program, hex.EncodeToString(digest[:]), nil
}

// Files returns what an installation below a prefix has, the program first, with a mark in
// each text. A package has the same below /usr, with a mark that is not an install's.
func Files(prefix, mark, version string, program []byte, commands []cli.Command) []install.File {
	bin := filepath.Join(prefix, "bin")
	files := []install.File{{Path: filepath.Join(bin, "hostguard"), Data: program, Mode: 0o755}}
	for _, cmd := range commands {
		if cmd.Hook {
			files = append(files, install.File{Path: filepath.Join(bin, cmd.Name), Link: "hostguard"})
		}
	}
	hook := filepath.Join(bin, jobCompletedHook)
	text := func(path string, data []byte, mode fs.FileMode) {
		files = append(files, install.File{Path: path, Data: data, Mode: mode})
	}
	text(hook+".sh", hookScript(hook, mark), 0o755)
	share := filepath.Join(prefix, "share")
	text(filepath.Join(share, "bash-completion/completions/hostguard"), cli.Completion("bash", mark, commands), 0o644)
	text(filepath.Join(share, "zsh/site-functions/_hostguard"), cli.Completion("zsh", mark, commands), 0o644)
	text(filepath.Join(share, "fish/vendor_completions.d/hostguard.fish"),
		cli.Completion("fish", mark, commands), 0o644)
	for _, page := range cli.Manual(mark, version, commands) {
		text(filepath.Join(share, "man/man1", page.Name+".1"), page.Text, 0o644)
	}
	return files
}

// jobCompletedHook is the hook's name in the lines for the configuration.
const jobCompletedHook = "hostguard-job-completed"

// hookScript returns a script that runs a hook for GitHub's runner, which accepts only a
// hook whose name ends in .sh, and runs it by bash.
func hookScript(hook, mark string) []byte {
	return fmt.Appendf(nil, "#!/bin/sh\n# %s\n# GitHub's runner takes no hook of another ending.\nexec '%s'\n", mark,
		strings.ReplaceAll(hook, "'", `'\''`))
}

// printConfiguration prints the lines for the runners' configuration. They must break
// no job: a hook of a job runs where the job's steps do.
func printConfiguration(ctx context.Context, s *cli.Session, bin string) {
	var look hostOptions
	var h runner.Host
	found := look.readRunners(ctx, s, &h)
	usual := filepath.Join(s.Getenv("HOME"), "act-runner")
	if len(found) == 0 && look.files.Status(ctx, usual) == "registered" {
		found = append(found, look.readRunner(ctx, runs{uid: -1,
			at: runnerdir.Place{Dir: usual, Config: filepath.Join(usual, "config.yaml")}}))
	}
	s.Print("")
	if install.SearchedByServices(bin) {
		s.Print("services find it on their PATH")
	} else {
		s.Print("services do not look in %q; only for a runner whose jobs run as the same user, who can change the "+
			"files there:", bin)
	}
	if len(found) == 0 {
		s.Print("no runner was found here; in the config.yaml of one that is a process of this host:")
		found = []runner.Found{{}}
	}
	var blocks []string
	of := map[string][]string{} // configurations
	for _, f := range found {
		block := configLines(bin, f)
		if of[block] == nil {
			blocks = append(blocks, block)
		}
		file := fmt.Sprintf("%q", f.ConfigPath)
		if f.ConfigPath == "" { // it reads none
			file = fmt.Sprintf("a file that the runner in %q gets by --config", f.Dir)
		}
		of[block] = append(of[block], file)
	}
	for _, block := range blocks {
		if found[0].Dir != "" {
			s.Print("in %s:", strings.Join(of[block], " and "))
		}
		s.Print("")
		for line := range strings.Lines(block) {
			s.Print("  %s", strings.TrimSuffix(line, "\n"))
		}
		s.Print("")
	}
	s.Print("add these lines to a key that exists already, and keep its other lines: no runner starts with a " +
		"duplicate key")
	s.Print("the runner reads it when it starts: restart it while no job runs")
	for _, root := range slices.Compact(h.GitHubRoots) {
		s.Print("GitHub's runner: ACTIONS_RUNNER_HOOK_JOB_COMPLETED=%s in %q",
			cli.Word(filepath.Join(bin, jobCompletedHook+".sh")), filepath.Join(root, ".env"))
	}
}

// configLines returns the lines for the configuration of one runner.
func configLines(bin string, f runner.Found) string {
	var out strings.Builder
	program, hook := filepath.Join(bin, "hostguard"), filepath.Join(bin, jobCompletedHook)
	why := f.CannotMount(hook)
	out.WriteString("runner:\n")
	if !install.SearchedByServices(bin) {
		fmt.Fprintf(&out, "  envs:\n    HOSTGUARD_BIN: %q\n", program)
	}
	if why == "" {
		fmt.Fprintf(&out, "  hooks: # from v3.0.0; it runs where the job does, and needs the mounts below\n    "+
			"job_completed: %q\n", hook)
	} else {
		fmt.Fprintf(&out, "  # No hooks.job_completed: it would fail jobs, %s.\n", why)
	}
	fmt.Fprintf(&out, "  post_task_script: %q # from v2.0.0\n", filepath.Join(bin, "hostguard-post-task"))
	if why == "" {
		options, volumes := f.Config.WithMounts(program, hook)
		fmt.Fprintf(&out, "container:\n  options: %q\n  valid_volumes:\n", options)
		for _, v := range volumes {
			fmt.Fprintf(&out, "    - %q\n", v)
		}
	}
	out.WriteString("health_check: # from v2.2.0; it wants 1 GiB of free disk as well (min_free_disk_space_mb)\n")
	fmt.Fprintf(&out, "  enabled: true\n  script: %q\n", filepath.Join(bin, "hostguard-health"))
	return out.String()
}
