package steps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hostguard/install"
	"hostguard/internal/proc"
	"hostguard/internal/runnerdir"
	"hostguard/runner"
)

func installFiles(ctx context.Context, s *session) error {
	var (
		prefix    = s.in.text("prefix", "", belowRoot)
		apply     = s.in.boolean("apply")
		uninstall = s.in.boolean("uninstall")
	)
	s.in.flagOnly("prefix", "apply", "uninstall")
	if err := s.in.parse(); err != nil {
		return err
	}
	withPrefix := fmt.Sprintf(" with -prefix %q", *prefix)
	if *prefix == "" {
		withPrefix = ""
		var err error
		if *prefix, err = defaultPrefix(s.Getenv, os.Geteuid()); err != nil {
			return err
		}
	}
	program, sum, err := ownProgram()
	if err != nil {
		return err
	}
	files := s.installed(filepath.Clean(*prefix), program)
	plan, verb := install.Plan, "install"
	if *uninstall {
		plan, verb = install.PlanRemoval, "uninstall"
	}
	changes, err := plan(files)
	if err != nil {
		return err
	}

	s.Say("%s of hostguard %s (sha256 %s) below %q", verb, s.Version, sum, *prefix)
	todo := 0
	for _, c := range changes {
		if c.Do != install.Keep {
			todo++
		}
	}
	done := 0
	for _, c := range changes {
		if *apply {
			if err := c.Apply(); err != nil {
				return fmt.Errorf("%s %q: %w; %d of %d changes are made, run it again to go on", c.Do, c.Path, pathless(err), done, todo)
			}
		}
		if c.Do != install.Keep {
			done++
		}
		s.Say("  %-8s %q", c.Do, c.Path)
	}
	switch {
	case todo == 0:
		s.Say("nothing to change")
	case !*apply:
		s.Say("nothing is changed yet; run it again with -apply")
	default:
		s.Say("done; the way back is \"hostguard install %s\"%s", map[bool]string{false: "-uninstall -apply", true: "-apply"}[*uninstall], withPrefix)
	}
	bin := filepath.Dir(files[0].Path)
	if *uninstall {
		s.Say("the runner's config.yaml must not name %q or what begins so: a hook that is missing fails jobs", filepath.Join(bin, "hostguard"))
		return nil
	}
	s.sayConfiguration(ctx, bin)
	return nil
}

func defaultPrefix(getenv func(string) string, uid int) (string, error) {
	if uid == 0 {
		return "/usr/local", nil
	}
	home := getenv("HOME")
	if belowRoot(home) != nil {
		return "", usagef("HOME is %q, no home directory to install below; give -prefix", home)
	}
	return filepath.Join(home, ".local"), nil
}

// ownProgram is the program that runs here and its sum, which has to be that of
// a SHA256SUMS beside it.
func ownProgram() (program []byte, sum string, err error) {
	program, err = os.ReadFile("/proc/self/exe") // whatever has its name by now
	if err != nil {
		return nil, "", fmt.Errorf("read own program: %w", err)
	}
	digest := sha256.Sum256(program)
	sum = hex.EncodeToString(digest[:])
	path, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	sums := filepath.Join(filepath.Dir(path), "SHA256SUMS")
	data, err := os.ReadFile(sums)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	for line := range strings.Lines(string(data)) {
		if want, found := strings.CutSuffix(strings.TrimSpace(line), "  "+filepath.Base(path)); found && want != sum {
			return nil, "", fmt.Errorf("this program's sum %s is not that of %q: it is damaged or was changed; get the release again", sum, sums)
		}
	}
	return program, sum, nil
}

// installed are the files, the program first.
func (s *session) installed(prefix string, program []byte) []install.File {
	bin := filepath.Join(prefix, "bin")
	files := []install.File{{Path: filepath.Join(bin, "hostguard"), Data: program, Mode: 0o755}}
	for _, cmd := range commands() {
		if cmd.hook {
			files = append(files, install.File{Path: filepath.Join(bin, cmd.name), Link: "hostguard"})
		}
	}
	hook := filepath.Join(bin, jobCompletedName)
	files = append(files, install.File{Path: hook + ".sh", Data: hookScript(hook), Mode: 0o755})
	return append(files,
		install.File{Path: filepath.Join(prefix, "share/bash-completion/completions/hostguard"), Data: completion(commands()), Mode: 0o644},
		install.File{Path: filepath.Join(prefix, "share/man/man1/hostguard.1"), Data: manual(s.Version, commands()), Mode: 0o644},
	)
}

// hookScript runs a hook for GitHub's runner, which takes one whose name ends in .sh
// only and gives that to bash.
func hookScript(hook string) []byte {
	return fmt.Appendf(nil, "#!/bin/sh\n# %s install: GitHub's runner takes no hook of another ending.\nexec '%s'\n",
		install.Marker, strings.ReplaceAll(hook, "'", `'\''`))
}

// sayConfiguration prints what the runners' configuration has to say. It must break
// no job: a hook of a job runs where the job's steps do.
func (s *session) sayConfiguration(ctx context.Context, bin string) {
	units, _ := s.units(ctx)
	processes, roots, _ := proc.Runners(procRoot)
	found := findRunners(runner.Host{Units: units}, processes)
	usual := filepath.Join(s.Getenv("HOME"), "act-runner")
	if len(found) == 0 && runnerdir.Status(usual) == "registered" {
		found = append(found, readRunner(usual, filepath.Join(usual, "config.yaml"), nil))
	}
	s.Say("")
	if install.SearchedByServices(bin) {
		s.Say("services find it on their PATH")
	} else {
		s.Say("services do not look in %q: only for a runner whose jobs run as the same user, who may change them,", bin)
	}
	if len(found) == 0 {
		s.Say("no runner was found here; in the config.yaml of one that is a process of this host:")
		found = []runner.Found{{}}
	}
	var blocks []string
	of := map[string][]string{} // configurations
	for _, f := range found {
		block := configLines(bin, f)
		if of[block] == nil {
			blocks = append(blocks, block)
		}
		of[block] = append(of[block], fmt.Sprintf("%q", f.ConfigPath))
	}
	for _, block := range blocks {
		if found[0].ConfigPath != "" {
			s.Say("in %s:", strings.Join(of[block], " and "))
		}
		s.Say("")
		for line := range strings.Lines(block) {
			s.Say("  %s", strings.TrimSuffix(line, "\n"))
		}
		s.Say("")
	}
	s.Say("a key that is there already gets these lines and keeps what it has: no runner starts with a key twice")
	s.Say("the runner reads it when it starts: restart it while no job runs")
	for _, root := range slices.Compact(roots) {
		s.Say("GitHub's runner: ACTIONS_RUNNER_HOOK_JOB_COMPLETED=%s in %q",
			word(filepath.Join(bin, jobCompletedName+".sh")), filepath.Join(root, ".env"))
	}
}

// configLines are the lines for the configuration of one runner.
func configLines(bin string, f runner.Found) string {
	var out strings.Builder
	program, hook := filepath.Join(bin, "hostguard"), filepath.Join(bin, jobCompletedName)
	why := f.CannotMount(hook)
	out.WriteString("runner:\n")
	if !install.SearchedByServices(bin) {
		fmt.Fprintf(&out, "  envs:\n    HOSTGUARD_BIN: %q\n", program)
	}
	if why == "" {
		fmt.Fprintf(&out, "  hooks: # from v3.0.0; it runs where the job does, and needs the mounts below\n    job_completed: %q\n", hook)
	} else {
		fmt.Fprintf(&out, "  # No hooks.job_completed: it would fail jobs, %s.\n", why)
	}
	fmt.Fprintf(&out, "  post_task_script: %q # from v2.0.0\n", filepath.Join(bin, "hostguard-post-task"))
	if why == "" {
		options, volumes := f.Config.Mounting(program, hook)
		fmt.Fprintf(&out, "container:\n  options: %q\n  valid_volumes:\n", options)
		for _, v := range volumes {
			fmt.Fprintf(&out, "    - %q\n", v)
		}
	}
	out.WriteString("health_check: # from v2.2.0; it wants 1 GiB of free disk as well (min_free_disk_space_mb)\n")
	fmt.Fprintf(&out, "  enabled: true\n  script: %q\n", filepath.Join(bin, "hostguard-health"))
	return out.String()
}

// pathless is an error without the path that its text repeats.
func pathless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// completion is a script for bash. It asks the help for a command's flags.
func completion(all []command) []byte {
	var first, ofRunner []string
	for name := range strings.SplitSeq(names(all), ", ") {
		word, second, _ := strings.Cut(name, " ")
		if !slices.Contains(first, word) {
			first = append(first, word)
		}
		if second != "" {
			ofRunner = append(ofRunner, second)
		}
	}
	return fmt.Appendf(nil, `# %s install.
_hostguard() {
	local word=${COMP_WORDS[COMP_CWORD]} words='%s help' of='%s'
	if [ "$COMP_CWORD" = 2 ] && [ "${COMP_WORDS[1]}" = runner ]; then
		words=$of
	elif [ "$COMP_CWORD" != 1 ]; then
		words=$(hostguard help "${COMP_WORDS[@]:1:2}" 2>/dev/null | grep -oE '(^|[[ ])-[a-z][a-z-]+' | tr -d '[ ')
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _hostguard hostguard
`, install.Marker, strings.Join(first, " "), strings.Join(ofRunner, " "))
}

// manual is the help as one page for man(1).
func manual(version string, all []command) []byte {
	var page bytes.Buffer
	fmt.Fprintf(&page, ".\\\" %s install.\n.TH HOSTGUARD 1 \"\" \"hostguard %s\"\n.SH NAME\nhostguard \\- keeps a shared CI host usable\n", install.Marker, version)
	section := func(title, text string) {
		fmt.Fprintf(&page, ".SH %s\n.nf\n", strings.ToUpper(title))
		for line := range strings.Lines(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)) {
			if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
				line = `\&` + line
			}
			page.WriteString(line)
		}
		page.WriteString(".fi\n")
	}
	section("description", helpMain)
	for _, cmd := range all {
		if !cmd.hook {
			section(cmd.name, cmd.help)
		}
	}
	section("hooks", helpHooks)
	return page.Bytes()
}
