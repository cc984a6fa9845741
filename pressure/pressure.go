// Package pressure says whether heavy builds of others run on this host, and
// waits until they are done. It only looks: values come in through Table, a
// verdict goes out.
//
// Guarantee: one build is one blocker, whatever its tree of wrappers and
// workers; a process counts unless it is known to be this job's own; nothing in
// a Blocker but its directory comes from the process itself.
//
// Not guaranteed: that every build is known (see rules.go), that a look from
// inside a container sees the host (see Scope), or that no build starts right
// after a clear verdict.
package pressure

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Process is one process, as far as it matters here.
type Process struct {
	PID, Parent int
	Argv        []string
	Dir         string    // working directory; empty where it cannot be read
	Start       time.Time // zero where it cannot be read
}

// Table is the host's process table.
type Table interface {
	// Each calls visit with the arguments of every process that is visible.
	Each(ctx context.Context, visit func(pid int, argv []string)) (Scope, error)

	// Process looks at one process; false means that it is gone.
	Process(ctx context.Context, pid int) (Process, bool)
}

// Scope is the part of the host that a look could see.
type Scope string

const (
	WholeHost     Scope = "the whole host"
	OnlyContainer Scope = "this container only, builds outside it are out of sight"
	OnlyReadable  Scope = "what this user may read, builds of other users are out of sight"
)

// Blocker is a build of somebody else.
type Blocker struct {
	Tool  string // words of the rule that matched
	PID   int
	Since time.Time // zero where it cannot be read
	Dir   string    // foreign text; empty where it cannot be read
}

// Verdict is what one look found.
type Verdict struct {
	Blockers []Blocker // by pid
	Seen     int       // processes looked at
	Scope    Scope
}

// Clear tells that nothing speaks against another heavy build.
func (v Verdict) Clear() bool { return len(v.Blockers) == 0 }

// Gate looks for builds of others.
type Gate struct {
	Table   Table
	Rules   []Rule
	PID     int      // this process
	Own     []string // see OwnDirs
	Exclude []string // working directories that never count, for any process
}

// Look takes one look at the processes.
//
// Own is what works below a directory of Own, and what descends from this job's
// step. Its step is the top-most ancestor of this process that works in a
// directory of Own: the runner above it is an ancestor of every job on the host.
// An ancestor of this process never blocks it.
func (g Gate) Look(ctx context.Context) (Verdict, error) {
	var v Verdict
	builds := map[int]bool{}
	scope, err := g.Table.Each(ctx, func(pid int, argv []string) {
		v.Seen++
		if toolOf(argv, g.Rules) != "" {
			builds[pid] = true
		}
	})
	if err != nil {
		return Verdict{}, err
	}
	v.Scope = scope

	tree := tree{ctx, g.Table, map[int]Process{}}
	ancestry := tree.lineage(g.PID)
	step := 0
	for _, p := range ancestry {
		if below(p.Dir, g.Own) {
			step = p.PID
		}
	}
	tops := map[int]Process{}
	for pid := range builds {
		line := tree.lineage(pid)
		if step != 0 && slices.ContainsFunc(line, func(p Process) bool { return p.PID == step }) {
			continue
		}
		// The table moves while it is read: a pid counts only if what has it
		// now is still that build.
		line = slices.DeleteFunc(line, func(p Process) bool { return !builds[p.PID] || toolOf(p.Argv, g.Rules) == "" })
		if len(line) > 0 {
			top := line[len(line)-1]
			tops[top.PID] = top
		}
	}
	for _, p := range ancestry {
		delete(tops, p.PID)
	}
	for _, pid := range slices.Sorted(maps.Keys(tops)) {
		p := tops[pid]
		if !below(p.Dir, g.Own) && !below(p.Dir, g.Exclude) {
			v.Blockers = append(v.Blockers, Blocker{Tool: toolOf(p.Argv, g.Rules), PID: pid, Since: p.Start, Dir: p.Dir})
		}
	}
	return v, nil
}

// tree remembers the processes of one look.
type tree struct {
	ctx   context.Context
	table Table
	seen  map[int]Process
}

// lineage is a process and its ancestors, as far as they can be seen.
func (t tree) lineage(pid int) []Process {
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

// below tells whether dir is one of the directories, or inside one.
func below(dir string, directories []string) bool {
	return slices.ContainsFunc(directories, func(d string) bool {
		d = path.Clean(d)
		return dir == d || strings.HasPrefix(dir, strings.TrimSuffix(d, "/")+"/")
	})
}
