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
)

func installFiles(_ context.Context, s *session) error {
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
	s.sayConfiguration(filepath.Dir(files[0].Path), *uninstall)
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
	return append(files,
		install.File{Path: filepath.Join(prefix, "share/bash-completion/completions/hostguard"), Data: completion(commands()), Mode: 0o644},
		install.File{Path: filepath.Join(prefix, "share/man/man1/hostguard.1"), Data: manual(s.Version, commands()), Mode: 0o644},
	)
}

// sayConfiguration says what the runner has to be told.
func (s *session) sayConfiguration(bin string, uninstall bool) {
	if uninstall {
		s.Say("the runner's config.yaml must not name %q or what begins so: a hook that is missing fails jobs", filepath.Join(bin, "hostguard"))
		return
	}
	s.Say("")
	if install.SearchedByServices(bin) {
		s.Say("services find it on their PATH. For its hooks, in the runner's config.yaml:")
	} else {
		s.Say("services do not look in %q. In the runner's config.yaml, for the action and its hooks,", bin)
		s.Say("and only of a runner whose jobs run as the same user, who may change them:")
	}
	s.Say("")
	s.Say("  runner:")
	if !install.SearchedByServices(bin) {
		s.Say("    envs:")
		s.Say("      HOSTGUARD_BIN: %q", filepath.Join(bin, "hostguard"))
	}
	s.Say("    hooks: # from v3.0.0")
	s.Say("      job_completed: %q", filepath.Join(bin, "hostguard-job-completed"))
	s.Say("    post_task_script: %q # from v2.0.0", filepath.Join(bin, "hostguard-post-task"))
	s.Say("  health_check: # from v2.2.0")
	s.Say("    script: %q", filepath.Join(bin, "hostguard-health"))
	s.Say("")
	s.Say("the runner reads it when it starts: restart it while no job runs")
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
