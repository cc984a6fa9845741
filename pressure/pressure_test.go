package pressure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// processes is a table in memory.
type processes map[int]Process

func (t processes) Each(_ context.Context, visit func(int, []string)) (Scope, error) {
	for pid, p := range t {
		visit(pid, p.Argv)
	}
	return WholeHost, nil
}

func (t processes) Process(_ context.Context, pid int) (Process, bool) {
	p, ok := t[pid]
	return p, ok
}

func (t processes) Usage(context.Context) map[int]Usage {
	all := map[int]Usage{}
	for pid, p := range t {
		all[pid] = Usage{p.Parent, time.Second, 1 << 20}
	}
	return all
}

func (t processes) Job(pid int) Job { return Job{RunID: fmt.Sprint(pid)} }

// host reads a table: pid, parent, directory ("?" cannot be read), arguments.
func host(t *testing.T, lines string) processes {
	table := processes{}
	for line := range strings.Lines(lines) {
		field := strings.Fields(line)
		if len(field) == 0 {
			continue
		}
		var p Process
		if _, err := fmt.Sscan(line, &p.PID, &p.Parent, &p.Dir); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if p.Dir == "?" {
			p.Dir = ""
		}
		p.Argv = field[3:]
		table[p.PID] = p
	}
	return table
}

func blockersOf(t *testing.T, g *Gate) string {
	t.Helper()
	verdict, err := g.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, b := range verdict.Blockers {
		list = append(list, fmt.Sprintf("%s %d", b.Tool, b.PID))
	}
	if verdict.Clear() != (len(list) == 0) {
		t.Errorf("Clear() = %v with %v", verdict.Clear(), list)
	}
	return strings.Join(list, ", ")
}

// The host of all tests: one runner, 10, with our job below it. The step of
// this job is the shell 20, and hostguard is 30.
const (
	ownJob    = "/home/ci/.cache/act/00112233aabbccdd"
	workspace = ownJob + "/hostexecutor"
	ours      = `
		1  0  /                 systemd
		10 1  /home/ci          act_runner daemon
		20 10 ` + workspace + ` bash -e step.sh
		30 20 ` + workspace + ` hostguard wait-pressure
		`
)

func gate(table processes) *Gate {
	return &Gate{Table: table, Rules: Known(), Own: Owner{PID: 30, Dirs: OwnDirs("/home/ci", workspace, ownJob, nil)}}
}

func TestLook(t *testing.T) {
	const other = "/home/ci/.cache/act/ffeeddccbbaa9988/hostexecutor"
	for name, tt := range map[string]struct{ table, want string }{
		"nothing": {``, ""},
		"a build below the same runner is not own": {`
			40 10 ` + other + ` bash -e step.sh
			41 40 ` + other + ` node /x/node_modules/.bin/next build`,
			"next build 41"},
		"turbo, its wrapper, its packages and their workers are one build": {`
			40 10 /srv node /x/node_modules/.bin/turbo run build
			41 40 /srv /x/node_modules/@turbo/linux-64/bin/turbo run build
			42 41 /srv/web npm_run_build
			43 42 /srv/web sh -c next_build
			44 43 /srv/web node /x/node_modules/.bin/next build
			45 44 /srv/web node /x/jest-worker/processChild.js
			46 41 /srv/spa node /x/node_modules/.bin/vite build`,
			"turbo build 40"},
		"two builds are two": {`
			40 10 /a node /x/.bin/next build
			50 1  /b node /x/.bin/vite build`,
			"next build 40, vite build 50"},
		"a worker that lost its build is none":  {`40 1 /a node /x/jest-worker/processChild.js`, ""},
		"a build whose parent cannot be seen":   {`40 39 /a next-build`, "next build 40"},
		"an unreadable directory is not own":    {`40 10 ? next-build`, "next build 40"},
		"own, left behind by an earlier step":   {`40 1 ` + workspace + `/web next-build`, ""},
		"own, in the private directory":         {`40 1 ` + ownJob + `/tmp/x next-build`, ""},
		"own, below the step, anywhere":         {`40 20 /srv next-build`, ""},
		"own, below hostguard":                  {`40 30 ? next-build`, ""},
		"a neighbour whose name begins as ours": {`40 1 ` + ownJob + `0/x next-build`, "next build 40"},
		"the ancestors are no blockers, nor what they build": {`
			10 1 /home/ci turbo run build
			40 10 ` + other + ` next-build`, ""},
		"parents in a circle": {`
			40 41 /a next-build
			41 40 /a sh`,
			"next build 40"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := blockersOf(t, gate(host(t, ours+tt.table))); got != tt.want {
				t.Errorf("blockers: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAStepOutsideTheWorkspaceStillFindsItsJob(t *testing.T) {
	table := host(t, ours+`
		25 20 /tmp bash
		30 25 /tmp hostguard wait-pressure
		40 20 /srv next-build`)
	if got := blockersOf(t, gate(table)); got != "" {
		t.Errorf("blockers: %s", got)
	}
}

func TestOutsideAJobOnlyAncestorsAreOwn(t *testing.T) {
	g := gate(host(t, ours+`
		20 10 /srv next-build
		40 20 /srv node /x/next build
		50 1  /srv next-build`))
	g.Own.Dirs = OwnDirs("/root", "", "", nil)
	if got := blockersOf(t, g); got != "next build 50" {
		t.Errorf("blockers: %s", got)
	}
}

func TestExcludedDirectoriesNeverCount(t *testing.T) {
	g := gate(host(t, ours+`
		40 1 /app/apps/web    next-build
		41 1 /app/apps/web/x  next-build
		42 1 /app/apps/web2   next-build
		43 1 /app             next-build`))
	g.Exclude = []string{"/nowhere", "/app/apps/web/"}
	if got := blockersOf(t, g); got != "next build 42, next build 43" {
		t.Errorf("blockers: %s", got)
	}
}

// moving is a table whose processes change between the list and the second look.
type moving struct{ listed, later processes }

func (m moving) Each(ctx context.Context, visit func(int, []string)) (Scope, error) {
	return m.listed.Each(ctx, visit)
}
func (m moving) Process(ctx context.Context, pid int) (Process, bool) {
	return m.later.Process(ctx, pid)
}
func (m moving) Usage(ctx context.Context) map[int]Usage { return m.later.Usage(ctx) }
func (m moving) Job(pid int) Job                         { return m.later.Job(pid) }

func TestPidsThatVanishOrAreTakenOverDoNotCount(t *testing.T) {
	g := gate(nil)
	g.Table = moving{
		listed: host(t, ours+"40 1 /a next-build\n 41 1 /a next-build\n 42 1 /a next-build"),
		later:  host(t, ours+"41 1 /a postgres\n 42 1 /a node x/next build"),
	}
	if got := blockersOf(t, g); got != "next build 42" {
		t.Errorf("blockers: %s", got)
	}
}

func TestALookThatFailsIsNoVerdict(t *testing.T) {
	g := gate(nil)
	g.Table = unreadable{}
	if v, err := g.Look(t.Context()); !errors.Is(err, errUnreadable) {
		t.Errorf("Look() = %v, %v", v, err)
	}
}

var errUnreadable = errors.New("unreadable")

type unreadable struct{ processes }

func (unreadable) Each(context.Context, func(int, []string)) (Scope, error) {
	return "", errUnreadable
}

// Each of these looks at its ancestors: without a limit the work grows with the
// square of the depth, and any user can start tens of thousands.
func TestATreeMadeToBeDeepIsCutOff(t *testing.T) {
	table := host(t, ours)
	for pid := 100; pid < 2000; pid++ {
		table[pid] = Process{PID: pid, Parent: pid - 1, Dir: "/a", Argv: []string{"next-build"}}
	}
	looks := tree{ctx: t.Context(), table: table, seen: map[int]Process{}}
	if n := len(looks.lineage(1999)); n != 100 {
		t.Errorf("%d ancestors were looked at", n)
	}
	if got := blockersOf(t, gate(table)); !strings.HasPrefix(got, "next build 100, ") {
		t.Errorf("blockers begin with %.40q", got)
	}
}

func TestOneBuildIsOneBlockerInAnyOrder(t *testing.T) {
	// Maps are walked in another order each time.
	table := host(t, ours+`
		60 10 /srv turbo build
		50 60 /srv next-build
		40 50 /srv vite build`)
	for range 50 {
		if got := blockersOf(t, gate(table)); got != "turbo build 60" {
			t.Fatalf("blockers: %s", got)
		}
	}
}

func TestVerdictSaysWhatWasLookedAt(t *testing.T) {
	start := time.Date(2026, 5, 21, 12, 0, 0, 0, time.UTC)
	table := host(t, ours)
	table[40] = Process{PID: 40, Parent: 1, Argv: []string{"next-build (secret)"}, Dir: "/a", Start: start}
	v, err := gate(table).Look(t.Context())
	want := []Blocker{{Tool: "next build", PID: 40, Since: start, Dir: "/a", CPU: time.Second, Memory: 1 << 20, Job: Job{RunID: "40"}}}
	if err != nil || !slices.Equal(v.Blockers, want) || v.Seen != 5 || v.Scope != WholeHost {
		t.Errorf("Look() = %+v, %v", v, err)
	}
}
