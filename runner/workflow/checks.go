package workflow

import (
	"cmp"
	"fmt"
	"hostguard/runner/finding"
	"hostguard/runner/shell"
	"path"
	"slices"
	"strings"
)

// use is what a job does with locks and builds, in the steps read so far.
type use struct {
	build                           string   // the first step that builds
	bare                            string   // the first step that builds without a lock
	acquires, releases, held, gated bool     // held: by a post step or by with-lock
	early                           string   // a release that does not always run
	plain, unplain                  string   // a lock created, or removed, by name
	locks                           []string // the names of its locks, "" for the default; of several "a, b"
	unread                          string   // the first step without a lock whose shell text cannot be read

	locked, kept bool // now; kept: until the job ends
}

// usesOf reads the steps of a job, in order.
func usesOf(j Job) use {
	var u use
	for _, s := range j.Steps {
		switch kind := kindOf(s); kind {
		case "lock":
			u.held, u.locked, u.kept = true, true, true
			u.take(s.With["lock-name"], s.With["lock-backend"])
		default:
			u.step(s, kind, s.With["lock-name"], s.With["lock-backend"])
		}
		u.gated = u.gated || several(s.With["slots"])
		if strings.Contains(s.Uses, "docker/build-push-action@") {
			u.built(s, u.locked)
		}
		commands, err := shell.Commands(s.Run)
		for _, c := range commands {
			u.command(s, c)
		}
		if err != nil && !u.locked && shell.MayUseDocker(s.Run) {
			u.unread = cmp.Or(u.unread, fmt.Sprintf("line %d: %.100q", s.Line, err))
		}
	}
	return u
}

// several reports whether a lock has several slots: its builds are to run beside each other, for
// which wait-pressure would wait.
func several(slots string) bool { return slots != "" && slots != "1" }

// step adds a step of hostguard, by its action or by its command.
func (u *use) step(s Step, kind, lock, backend string) {
	switch kind {
	case "acquire-lock":
		u.acquires, u.locked = true, true
		u.take(lock, backend)
	case "release-lock":
		u.releases = true
		if !strings.Contains(s.If, "always()") {
			u.early = fmt.Sprintf("line %d", s.Line)
		}
		u.locked = u.kept
	case "wait-pressure":
		u.gated = true
	}
}

// command adds a command of a step's shell text.
func (u *use) command(s Step, c shell.Command) {
	if c.Words[0] == "hostguard" && len(c.Words) > 1 {
		lock, backend := c.Flag("lock-name"), c.Flag("lock-backend")
		u.step(s, c.Words[1], lock, backend)
		u.gated = u.gated || several(c.Flag("slots"))
		if c.Words[1] == "with-lock" {
			u.held = true
			u.take(lock, backend)
			runs, _ := shell.CommandsOf(c.Words[slices.Index(c.Words, "--")+1:])
			if slices.ContainsFunc(runs, shell.Command.Builds) {
				u.built(s, true)
			}
		}
	}
	// The script that wait-pressure replaces.
	gate := func(w string) bool { return strings.Contains(w, "wait-host-web-build-pressure") }
	if slices.ContainsFunc(c.Words[:min(2, len(c.Words))], gate) {
		u.gated = true
	}
	if c.Builds() {
		u.built(s, u.locked)
	}
	if name := c.PlainLock(); name != "" {
		u.locked = true // until the job ends, since a trap or a function may remove it
		u.take(name, "")
		u.plain = cmp.Or(u.plain, name)
	}
	u.unplain = cmp.Or(u.unplain, c.PlainUnlock())
}

func (u *use) take(list, backend string) {
	names := splitNames(list)
	if len(names) == 0 {
		names = []string{""}
	}
	for i := range names {
		if backend != "" && backend != "docker" {
			names[i] += " (" + backend + ")" // not visible to the others
		}
	}
	name := strings.Join(names, nameSeparator)
	if !slices.Contains(u.locks, name) {
		u.locks = append(u.locks, name)
	}
}

func (u *use) built(s Step, locked bool) {
	line := fmt.Sprintf("line %d", s.Line)
	u.build = cmp.Or(u.build, line)
	if !locked {
		u.bare = cmp.Or(u.bare, line)
	}
}

// kindOf returns the name of a step of hostguard's action, "lock" for its sub-action, or
// "".
func kindOf(s Step) string {
	action, _, _ := strings.Cut(s.Uses, "@")
	switch {
	case s.Uses == "":
		return ""
	case path.Base(action) == "lock" && (path.Base(path.Dir(action)) == "hostguard" || action == "./lock"):
		return "lock"
	case path.Base(action) == "hostguard" || action == "./":
		return s.With["step"]
	}
	return ""
}

// Check reports what breaks a shared host in workflows. hostLabels are the labels of the
// host, if they are known.
func Check(workflows []Workflow, hostLabels []string) []finding.Finding {
	var all finding.List
	for _, w := range workflows {
		all = append(all, checkWorkflow(w, hostLabels)...)
	}
	return append(all, checkLockOrder(workflows)...)
}

func checkWorkflow(w Workflow, hostLabels []string) []finding.Finding {
	var all finding.List
	after := waits(w)
	onHost := false
	for i := range w.Jobs {
		j := &w.Jobs[i]
		add := func(layer int, level finding.Level, fix, format string, args ...any) {
			all.Add(layer, level, fix, "%.100q job %.100q: %s", w.File, j.ID, fmt.Sprintf(format, args...))
		}
		host := hostLabel(*j, hostLabels)
		onHost = onHost || host != ""
		checkUses(usesOf(*j), w.CancelInProgress || j.CancelInProgress, add)
		for k := range i {
			other := &w.Jobs[k]
			if host != "" && hostLabel(*other, hostLabels) == host && !after(j.ID, other.ID) &&
				!after(other.ID, j.ID) && !share(*j, *other) {
				add(5, finding.Warn, fmt.Sprintf("give one of them needs: %s", shell.Quote(other.ID)),
					"may run at the same time as job %.100q on %.100q", other.ID, host)
				break
			}
		}
	}
	if onHost && w.Push && !w.Concurrency && !slices.ContainsFunc(w.Jobs, func(j Job) bool { return j.Concurrency }) {
		all.Add(5, finding.Warn, `add concurrency: { group: "cd-${{ github.workflow }}-${{ github.ref }}" }`,
			"%.100q: runs on the host without concurrency: each push adds a run beside those before it", w.File)
	}
	return all
}

// share reports whether two jobs take one lock that one of them shares: who may run beside whom
// is decided there.
func share(a, b Job) bool {
	locks := func(j Job) (taken, shared []string) {
		for _, s := range j.Steps {
			if kind := kindOf(s); kind == "lock" || kind == "acquire-lock" {
				names := lockNames(s.With["lock-name"], s.With["lock-backend"])
				if taken = append(taken, names...); s.With["share"] == "true" {
					shared = append(shared, names...)
				}
			}
		}
		return taken, shared
	}
	takenA, sharedA := locks(a)
	takenB, sharedB := locks(b)
	in := func(names []string) func(string) bool {
		return func(name string) bool { return slices.Contains(names, name) }
	}
	return slices.ContainsFunc(sharedA, in(takenB)) || slices.ContainsFunc(sharedB, in(takenA))
}

// checkUses reports what is wrong with a job's builds and with the lock around them.
func checkUses(u use, cancelInProgress bool,
	add func(layer int, level finding.Level, fix, format string, args ...any),
) {
	if u.bare != "" {
		add(3, finding.Bad, "put uses: wooo/hostguard/lock@v1.0.0 before it",
			"builds images (%s) without the host's lock", u.bare)
	}
	if u.unread != "" {
		add(3, finding.Warn, unreadFix,
			"may build images without the host's lock: its shell text cannot be read (%s)", u.unread)
	}
	if u.build != "" && !u.gated {
		add(8, finding.Warn, "put step: wait-pressure before the lock",
			"builds images (%s) without waiting for heavy builds of others", u.build)
	}
	switch {
	case !cancelInProgress || u.held:
	case u.acquires:
		add(5, finding.Warn, "take the lock with uses: wooo/hostguard/lock@v1.0.0, whose post step runs on cancel",
			"cancel-in-progress with acquire-lock: on act_runner before v2.0 no release step runs when a run is "+
				"cancelled")
	case u.build != "":
		add(5, finding.Bad, "take the lock with uses: wooo/hostguard/lock@v1.0.0, or set cancel-in-progress: false",
			"builds without a lock that outlasts cancel-in-progress: Gitea starts the next run while the cancelled "+
				"one still builds")
	}
	if u.acquires && !u.releases && !u.held {
		add(3, finding.Bad,
			"add a step with if: always() and step: release-lock, or use uses: wooo/hostguard/lock@v1.0.0",
			"takes the lock and never gives it back")
	}
	if u.early != "" {
		add(3, finding.Bad, "give that step if: always()",
			"release-lock (%s) does not run after every end of the job, such as a failure or a cancel", u.early)
	}
	if u.plain != "" {
		add(3, finding.Warn, "take it with step: acquire-lock, lock-name: the same",
			"creates the lock %.100q by docker network create, which any prune deletes and older engines give to two "+
				"at once", u.plain)
	}
	if u.unplain != "" {
		add(3, finding.Bad, "give it back with step: release-lock, which removes only its own",
			"docker network rm %.100q may remove another job's lock", u.unplain)
	}
}

// unreadFix is the fix for a step that bash may not parse either.
const unreadFix = "write it so that bash -n accepts it, or take the lock before it"

// hostLabel returns the label by which a job runs on the host itself, or "".
func hostLabel(j Job, known []string) string {
	for _, d := range j.RunsOn {
		for _, l := range d.Labels {
			if slices.Contains(known, l) || len(known) == 0 && strings.HasSuffix(l, "-host") {
				return l
			}
		}
	}
	return ""
}

// waits returns a function that reports, by their ids, whether one job waits for another,
// directly or through others.
func waits(w Workflow) func(job, other string) bool {
	index := map[string]int{}
	for i, j := range w.Jobs {
		index[j.ID] = i
	}
	before := make([][]bool, len(w.Jobs))
	for i := range w.Jobs {
		seen, next := make([]bool, len(w.Jobs)), []int{i}
		for len(next) > 0 {
			last := len(next) - 1
			needs := w.Jobs[next[last]].Needs
			next = next[:last]
			for _, id := range needs {
				if k, found := index[id]; found && !seen[k] {
					seen[k] = true
					next = append(next, k)
				}
			}
		}
		before[i] = seen
	}
	return func(job, other string) bool { return before[index[job]][index[other]] }
}
