// Package pressure reports whether heavy builds or jobs of others run on this host, or its
// memory and disks are at their limit, and waits until that is over. It only
// reads: values come in through Table and Meter, a verdict goes out.
//
// Guarantee: one build is one blocker, whatever its tree of wrappers and
// workers; a build counts unless it is known to be this job's own, and a job that is no
// build only if it is known to be another one; nothing in
// a Blocker but its directory, its container and its job comes from the process
// itself, and of its environment only what Job names.
//
// Not guaranteed: that every build is known (see known.go), that a look from
// inside a container sees the host (see Scope), or that no build starts right
// after a clear verdict.
package pressure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Process is one process, with the fields that matter here. What cannot be read is
// empty.
type Process struct {
	PID, Parent int
	Argv        []string
	Dir         string // working directory, as the process's mount namespace names it
	Start       time.Time
	User        int // the owner of its directory in proc; -1 is unknown

	Mounts    string // its mount namespace
	Cgroup    string // all of /proc/PID/cgroup, to be compared
	Container string // the ID in it, of a container
}

// Usage is the CPU time and the memory of one process.
type Usage struct {
	Parent int
	CPU    time.Duration // with what its ended children used
	Memory int64         // resident bytes
}

// Job describes the job that a process belongs to, by its environment or the name
// of its container. Foreign text: it may be forged.
type Job struct {
	Repository, RunID, RunNumber, Job string
	Workflow                          string
	Task                              string // Gitea's number of the job
}

// Table is the host's process table.
type Table interface {
	// Each calls visit with the arguments of every process that is visible.
	Each(ctx context.Context, visit func(pid int, argv []string)) (Scope, error)

	// Process looks at one process; false means that it is gone.
	Process(ctx context.Context, pid int) (Process, bool)

	// Usage returns what every visible process has used. It is called only
	// where there is a build to report, or there may be a heavy job.
	Usage(ctx context.Context) map[int]Usage

	// Private returns the memory of a process that is not shared, resident.
	Private(pid int) int64

	// Job reads the few variables of a job from a process's environment.
	Job(pid int) Job
}

// Scope is the part of the host that a look could see.
type Scope string

const (
	WholeHost     Scope = "the whole host"
	OnlyContainer Scope = "this container only, builds outside it are out of sight"
	OnlyReadable  Scope = "what this user may read, builds of other users are out of sight"
)

// Blocker is a build of somebody else, or another job that is heavy.
type Blocker struct {
	Tool  string // words of the rule that matched, or HeavyJob
	PID   int
	Since time.Time // zero where it cannot be read
	Dir   string    // foreign text; empty where it cannot be read

	CPU       time.Duration // of its tree
	Memory    int64         // of its tree, resident
	Cores     float64       // that its tree used since the last look, of a heavy job
	Container string        // ID, or name once that is known; empty on the host
	Job       Job
}

// Verdict is what one look found.
type Verdict struct {
	Blockers []Blocker // by pid
	Heavy    []Blocker // heavy jobs that do not count, by pid
	Seen     int       // processes looked at
	Scope    Scope
	Load     Load
	Over     []string // limits that are exceeded, and by how much
}

// Clear reports whether another heavy build can start.
func (v Verdict) Clear() bool { return len(v.Blockers) == 0 && len(v.Over) == 0 }

// MostDescribed is for how many blockers of a look all details are read: on a host
// with very many builds, or a hostile one, the rest is only counted.
const MostDescribed = 20

// Gate looks for builds of others.
type Gate struct {
	Table   Table
	Rules   []Rule
	Own     Owner    // this process and its job
	Exclude []string // working directories that never count, for any process
	Limits  Limits

	// Meter reads the machine's load; if nil, load is ignored.
	Meter func() Reading
	// Elsewhere lists the processes of other containers, with the scope that it
	// could see, where the table shows only this one. It may be nil.
	Elsewhere func(context.Context) (List, Scope, error)
	// Waiting are jobs that wait behind this one: waiting for them would never
	// end.
	Waiting func() []Owner

	// ByWeight lets heavy jobs count, whatever they run.
	ByWeight bool
	// Named returns the name of a container, or "". If it is nil, no container is
	// known to be another job's.
	Named func(ctx context.Context, id string) string

	meter  meter
	worked map[building]progress // of the builds of the last look
	used   *sample               // by all processes at the last look
}

// building identifies a build from one look to the next.
type building struct {
	pid   int
	start time.Time
}

// progress is when a build was last seen to have worked, and its CPU time then.
type progress struct {
	at  time.Time
	cpu time.Duration
}

// A light tool counts once its tree has worked that long or is that large:
// "tsc" on a small project is over before it could be waited for.
const (
	lightCPU    = 20 * time.Second
	lightMemory = 1 << 30
)

// A process that may also be a server counts as a build while it has worked for that
// share of its life: a server waits most of the time, a build, even on a crowded
// host, does not. Both work when they begin.
const (
	busyShare = 0.25
	beginning = 10 * time.Second
)

// Every process can call itself a build. After proving, one counts only while its tree
// works: within the last proving, or at the first look its life, it has used
// workingShare of a core. A large one counts however little it works: what it holds
// others cannot have, and one that waits for swapped memory uses no CPU.
const (
	proving      = 30 * time.Second
	workingShare = 0.02
)

// Look takes one look.
func (g *Gate) Look(ctx context.Context) (Verdict, error) {
	before := g.worked
	g.worked = map[building]progress{}
	var now Reading
	if g.Meter != nil {
		now = g.Meter()
	}
	v, err := g.builds(ctx, before, weightsOf(now))
	if err != nil {
		return Verdict{}, err
	}
	limits := g.Limits
	if v.Scope == OnlyContainer {
		err := errors.New("the other containers were not asked for")
		if g.Elsewhere != nil {
			var list List
			var scope Scope
			if list, scope, err = g.Elsewhere(ctx); err == nil {
				v.Scope = scope
				v.Seen += len(list)
				for _, b := range g.elsewhere(ctx, list, before) {
					b.InContainer(b.Container)
					v.Blockers = append(v.Blockers, b)
				}
			}
		}
		if err != nil {
			limits = limits.orBlind()
			v.Scope += Scope(fmt.Sprintf("; %v; judged by memory and stall", err))
		}
	}
	if g.Meter != nil {
		v.Load, v.Over = g.meter.judge(now, limits)
	}
	return v, nil
}

// builds returns a verdict with the builds in the table, and its heavy jobs.
func (g *Gate) builds(ctx context.Context, before map[building]progress, weights weights) (Verdict, error) {
	var v Verdict
	tree := newTree(ctx, g.Table, indexOf(g.Rules), before, g.worked)
	matches := map[int]match{}
	runsJobs := false
	scope, err := g.Table.Each(ctx, func(pid int, argv []string) {
		v.Seen++
		if m := tree.rules.match(argv); m.tool != "" {
			matches[pid] = m
		}
		if weights.matter && !runsJobs && mayRunJobs(argv) {
			runsJobs = true
			go tree.sample() // it takes as long as the arguments
		}
	})
	if err != nil {
		return Verdict{}, err
	}
	v.Scope = scope
	weights.matter = weights.matter && (runsJobs || v.Seen < crowd)
	if len(matches) == 0 && !weights.matter {
		g.used = nil
		return v, nil
	}

	own := owners{tree.ownership(g.Own)}
	if g.Waiting != nil {
		for _, w := range g.Waiting() {
			own = append(own, tree.ownership(w))
		}
	}
	v.Blockers = g.blockers(tree, matches, own)
	heavy := g.heavyJobs(tree, weights, own, v.Blockers)
	for _, list := range [][]Blocker{v.Blockers, heavy} {
		for i := range list[:min(MostDescribed, len(list))] {
			list[i].Job = g.Table.Job(list[i].PID)
		}
	}
	if g.ByWeight {
		v.Blockers = append(v.Blockers, heavy...)
	} else {
		v.Heavy = heavy
	}
	return v, nil
}

// elsewhere returns the builds in a list of processes of other containers.
func (g *Gate) elsewhere(ctx context.Context, list List, before map[building]progress) []Blocker {
	tree := newTree(ctx, list, indexOf(g.Rules), before, g.worked)
	matches := map[int]match{}
	for pid, entry := range list {
		if m := tree.rules.match(entry.Argv); m.tool != "" {
			matches[pid] = m
		}
	}
	return g.blockers(tree, matches, nil)
}

// blockers returns the builds that count among the processes that match.
func (g *Gate) blockers(tree *tree, matches map[int]match, own owners) []Blocker {
	type build struct {
		top Process
		match
	}
	tops := map[int]build{}
	for _, pid := range slices.Sorted(maps.Keys(matches)) {
		line := tree.lineage(pid)
		if own.own(line) {
			continue
		}
		for i := len(line) - 1; i >= 0; i-- { // the topmost is the build
			p := line[i]
			if known := matches[p.PID]; known.tool == "" || known.runsAnything && own.own(line[i:]) {
				continue
			}
			// The table moves while it is read: a pid counts only if what has
			// it now is still that build.
			m := tree.rules.match(p.Argv)
			if m.tool == "" {
				continue
			}
			if tree.counts(p, m) {
				tops[p.PID] = build{p, m}
				break
			}
			if m.hidesArguments { // a server, and so are its workers
				break
			}
		}
	}
	var blockers []Blocker
	for _, pid := range slices.Sorted(maps.Keys(tops)) {
		top := tops[pid]
		if own.own(tree.lineage(pid)) || below(top.top.Dir, g.Exclude) {
			continue
		}
		blockers = append(blockers, tree.blocker(top.top, top.tool))
	}
	return blockers
}

// tree remembers the processes of one look.
type tree struct {
	ctx    context.Context
	table  Table
	rules  *index
	seen   map[int]Process
	sample func() sample // taken once
	sums   map[int]Usage

	before, worked map[building]progress // at the last look and at this one
}

func newTree(ctx context.Context, table Table, rules *index, before, worked map[building]progress) *tree {
	return &tree{
		ctx: ctx, table: table, rules: rules, seen: map[int]Process{}, before: before, worked: worked,
		sample: sync.OnceValue(func() sample { return takeSample(ctx, table) }),
	}
}

// blocker describes a process and what its tree has used.
func (t *tree) blocker(top Process, tool string) Blocker {
	used := t.used(top.PID)
	return Blocker{
		Tool: tool, PID: top.PID, Since: top.Start, Dir: top.Dir,
		CPU: used.CPU, Memory: used.Memory, Container: top.Container,
	}
}

// lineage returns a process and its ancestors, as far as they can be seen.
func (t *tree) lineage(pid int) []Process {
	// Real trees are some ten deep. The limit is for pids that are taken over
	// between two reads and close a circle, and for trees made to be deep.
	const deepest = 100
	var line []Process
	for pid > 0 && len(line) < deepest {
		p, ok := t.seen[pid]
		if !ok {
			if p, ok = t.table.Process(t.ctx, pid); !ok {
				break
			}
			t.seen[pid] = p
		}
		line = append(line, p)
		pid = p.Parent
	}
	return line
}

// counts reports whether a process is a heavy build, where its arguments alone do not
// decide it.
func (t *tree) counts(p Process, m match) bool {
	switch {
	case m.hidesArguments:
		if parent := t.lineage(p.PID); len(parent) > 1 {
			if heavy, known := judgeByParent(parent[1].Argv, m.tool, t.rules.rules); known {
				return heavy
			}
		}
		age := time.Since(p.Start)
		return age < beginning || float64(t.used(p.PID).CPU) >= busyShare*float64(age)
	case m.light:
		used := t.used(p.PID)
		return used.CPU >= lightCPU || used.Memory >= lightMemory
	}
	works := t.works(p) // in any case, to know at a later look when that was
	return works || m.client || p.Start.IsZero() || time.Since(p.Start) < proving
}

// works reports whether a build works, see proving.
func (t *tree) works(p Process) bool {
	now, used, id := time.Now(), t.used(p.PID), building{p.PID, p.Start}
	last, seen := t.before[id]
	switch enough := func(since time.Time) time.Duration {
		return time.Duration(workingShare * float64(now.Sub(since)))
	}; {
	case !seen && used.CPU < enough(p.Start):
		last = progress{now.Add(-proving), used.CPU}
	case !seen, used.CPU-last.cpu >= max(enough(later(last.at, now.Add(-proving))), 1):
		last = progress{now, used.CPU}
	case used.CPU < last.cpu: // a part of the tree has ended
		last.cpu = used.CPU
	}
	t.worked[id] = last
	return used.Memory >= lightMemory || now.Sub(last.at) < proving
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// used returns what a process and all below it have used.
func (t *tree) used(pid int) Usage {
	if t.sums == nil {
		t.sums = sums(t.sample().used)
	}
	return t.sums[pid]
}

// sums adds what each process has used to all its ancestors.
func sums(of map[int]Usage) map[int]Usage {
	total := maps.Clone(of)
	// Leaves first, each once: a tree made to be deep costs no more than a
	// flat one, and a circle of pids that were taken over is left alone.
	children := map[int]int{}
	for _, u := range of {
		children[u.Parent]++
	}
	var leaves []int
	for pid := range of {
		if children[pid] == 0 {
			leaves = append(leaves, pid)
		}
	}
	for len(leaves) > 0 {
		pid := leaves[len(leaves)-1]
		leaves = leaves[:len(leaves)-1]
		parent, ok := total[of[pid].Parent]
		if !ok {
			continue
		}
		parent.CPU += total[pid].CPU
		parent.Memory += total[pid].Memory
		total[of[pid].Parent] = parent
		if children[of[pid].Parent]--; children[of[pid].Parent] == 0 {
			leaves = append(leaves, of[pid].Parent)
		}
	}
	return total
}

// List is a table of processes that are known already, by pid.
type List map[int]Listed

// Listed is one of them.
type Listed struct {
	Process
	Usage
}

var _ Table = List{}

func (l List) Each(_ context.Context, visit func(int, []string)) (Scope, error) {
	for pid, entry := range l {
		visit(pid, entry.Argv)
	}
	return WholeHost, nil
}

func (l List) Process(_ context.Context, pid int) (Process, bool) {
	entry, ok := l[pid]
	return entry.Process, ok
}

func (l List) Usage(context.Context) map[int]Usage {
	all := make(map[int]Usage, len(l))
	for pid, entry := range l {
		all[pid] = Usage{entry.Process.Parent, entry.CPU, entry.Memory}
	}
	return all
}

func (l List) Private(pid int) int64 { return l[pid].Memory }

func (l List) Job(int) Job { return Job{} }
