package pressure

import (
	"context"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"hostguard/internal/actrunner"
)

// Not every heavy job is a build that is known. Whatever it runs, a tree of processes
// counts that is known to be another job's and that holds a large part of the host: by
// its CPU time since the last look, or by its memory. The first look has none before
// it, and so takes a second sample.

// HeavyJob is the tool of a job that counts by its weight.
const HeavyJob = "heavy job"

const (
	heavyCores = 1
	heavyShare = 0.25 // of the host's cores, or of its memory
	// nearly is for a tree that always works: others and the kernel take some of its
	// time, and the kernel counts in ticks of 10 ms.
	nearly = 0.9
	// shortest is the time between two samples of one look.
	shortest = 100 * time.Millisecond
	// crowd is how many processes are sampled only where a runner or a container is
	// among them.
	crowd = 1000
)

// weights are what a tree has to hold of this host to be heavy.
type weights struct {
	cores  float64
	memory int64
	// matter is false where no tree can be so heavy, which costs nothing to know: a
	// sample of thousands of processes takes as long as the look itself.
	matter, busy bool
}

func weightsOf(now Reading) weights {
	w := weights{
		cores:  nearly * max(heavyCores, heavyShare*float64(now.Cores)),
		memory: int64(heavyShare * float64(now.Installed)),
		busy:   now.Cores > 0 && now.Running != 1, // beside this process
	}
	if now.Installed == 0 || now.Available == 0 { // unknown
		w.memory = math.MaxInt64
	}
	w.matter = w.busy || now.Installed-now.Available >= w.memory
	return w
}

// sample is what all processes had used at a moment.
type sample struct {
	at   time.Time
	used map[int]Usage
}

func takeSample(ctx context.Context, table Table) sample { return sample{time.Now(), table.Usage(ctx)} }

// since returns what each process has used since an earlier sample, with its ended
// children. What those had used before belongs to their parent by now.
func (s sample) since(last sample) map[int]Usage {
	all := make(map[int]Usage, len(s.used))
	for pid, u := range s.used {
		u.CPU -= last.used[pid].CPU
		all[pid] = u
	}
	for pid, ended := range last.used {
		if _, lives := s.used[pid]; lives {
			continue
		}
		heir := ended.Parent
		for range len(last.used) {
			if _, lives := s.used[heir]; lives || last.used[heir].Parent == 0 {
				break
			}
			heir = last.used[heir].Parent
		}
		if u, lives := all[heir]; lives {
			u.CPU -= ended.CPU
			all[heir] = u
		}
	}
	for pid, u := range all { // what the kernel gave to nobody, and pids that were taken over
		u.CPU = max(0, u.CPU)
		all[pid] = u
	}
	return all
}

// heavyJobs returns the trees of other jobs that are heavy, without those that a
// blocker is part of already.
func (g *Gate) heavyJobs(t *tree, w weights, own owners, blockers []Blocker) []Blocker {
	rate := g.rates(t, w, len(blockers) == 0)
	without := map[int][]int{} // by the top of a job's tree, the tops of what is excluded in it
	for pid, used := range t.sums {
		if rate[pid] < w.cores && used.Memory < w.memory {
			continue
		}
		line := t.lineage(pid)
		i := g.jobIn(t.ctx, line)
		if i < 0 || own.own(line[i:]) {
			continue
		}
		top := line[i].PID
		without[top] = slices.Clip(without[top])
		for _, p := range slices.Backward(line[:i+1]) {
			if below(p.Dir, g.Exclude) {
				without[top] = append(without[top], p.PID)
				break
			}
		}
	}
	for _, b := range blockers {
		for _, p := range t.lineage(b.PID) {
			delete(without, p.PID)
		}
	}
	var jobs []Blocker
	for _, top := range slices.Sorted(maps.Keys(without)) {
		cores, rest := rate[top], t.used(top).Memory
		for _, pid := range slices.Compact(slices.Sorted(slices.Values(without[top]))) {
			cores, rest = cores-rate[pid], rest-t.used(pid).Memory
		}
		if cores < w.cores && (rest < w.memory || t.private(top, without[top]) < w.memory) {
			continue
		}
		b := t.blocker(t.seen[top], HeavyJob)
		b.Cores = cores
		jobs = append(jobs, b)
	}
	return jobs
}

// rates returns how many cores the tree of each process has used since the last look,
// or where there was none, if it may take a moment, within that.
func (g *Gate) rates(t *tree, w weights, patient bool) map[int]float64 {
	last := g.used
	g.used = nil
	if !w.matter {
		return nil
	}
	now := t.sample()
	if last == nil && w.busy && patient {
		first := now
		if pause(t.ctx, shortest-time.Since(first.at)) != nil {
			return nil
		}
		last, now = &first, takeSample(t.ctx, t.table)
	}
	t.sums, g.used = sums(now.used), &now
	rate := map[int]float64{}
	if last != nil && now.at.After(last.at) {
		for pid, u := range sums(now.since(*last)) {
			rate[pid] = float64(u.CPU) / float64(now.at.Sub(last.at))
		}
	}
	return rate
}

// private returns the memory of a tree that its processes do not share: what several of
// them have mapped is resident in each. The trees below some of them are left out.
func (t *tree) private(top int, without []int) (sum int64) {
	children := map[int][]int{}
	for pid, u := range t.sums {
		children[u.Parent] = append(children[u.Parent], pid)
	}
	seen := map[int]bool{}
	for left := []int{top}; len(left) > 0; {
		pid := left[len(left)-1]
		left = left[:len(left)-1]
		if seen[pid] || slices.Contains(without, pid) {
			continue
		}
		seen[pid] = true
		sum += t.table.Private(pid)
		left = append(left, children[pid]...)
	}
	return sum
}

// jobIn returns which process of a line is the topmost that is known to be a job's: what
// a runner's daemon has started, a worker of GitHub's, in a container of a job, or in
// the private directory of a job; -1 where none is.
func (g *Gate) jobIn(ctx context.Context, line []Process) int {
	for i := len(line) - 1; i >= 0; i-- {
		p := line[i]
		switch {
		case len(p.Argv) > 0 && actrunner.RoleOf(p.Argv[0]) == actrunner.Worker,
			i+1 < len(line) && actrunner.IsDaemon(line[i+1].Argv),
			p.Container != "" && g.isJobs(ctx, p),
			actrunner.JobDirOf(p.Dir) != "" && !interactive(line[i:]):
			return i
		}
	}
	return -1
}

// mayRunJobs reports whether a process is a runner, or the one above a container.
func mayRunJobs(argv []string) bool {
	if len(argv) == 0 {
		return false
	}
	name := path.Base(argv[0])
	return strings.HasPrefix(name, "containerd-shim") || name == "conmon" ||
		actrunner.RoleOf(name) == actrunner.Worker || actrunner.IsDaemon(argv)
}

// isJobs reports whether a process in a container is in that of another job.
func (g *Gate) isJobs(ctx context.Context, p Process) bool {
	if below(p.Dir, []string{"/__w"}) { // where GitHub's runner mounts its work
		return true
	}
	if g.Named == nil {
		return false
	}
	task, ok := actrunner.TaskOf(g.Named(ctx, p.Container))
	return ok && task.ID != g.Own.Task
}

// logins are programs of a person's session.
var logins = []string{"sshd", "sshd-session", "dropbear", "login", "su", "tmux", "screen", "SCREEN", "mosh-server"}

// interactive reports whether a process, given with its ancestors, is of a person who
// has logged in.
func interactive(line []Process) bool {
	return slices.ContainsFunc(line, func(p Process) bool {
		if len(p.Argv) == 0 {
			return false
		}
		name, _, _ := strings.Cut(path.Base(p.Argv[0]), ":") // "sshd: ci@pts/0", "tmux: server"
		return strings.HasPrefix(p.Argv[0], "-") ||          // a login shell
			slices.Contains(logins, name) ||
			strings.Contains(p.Cgroup, "/session-") && strings.Contains(p.Cgroup, ".scope")
	})
}
