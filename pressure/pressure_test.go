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
		"but a go test or a make above us runs anything": {`
			10 1 /home/ci go test ./e2e
			1 0 / make -j 2
			40 10 ` + other + ` next-build
			41 10 ` + other + ` go build ./...`,
			"next build 40, go build 41"},
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

func TestVerdictReportsWhatWasLookedAt(t *testing.T) {
	start := time.Now().Add(-10 * time.Second)
	table := host(t, ours)
	table[40] = Process{PID: 40, Parent: 1, Argv: []string{"next-build (secret)"}, Dir: "/a", Start: start}
	v, err := gate(table).Look(t.Context())
	want := []Blocker{
		{
			Tool: "next build", PID: 40, Since: start, Dir: "/a", CPU: time.Second, Memory: 1 << 20,
			Job: Job{RunID: "40"},
		},
	}
	if err != nil || !slices.Equal(v.Blockers, want) || v.Seen != 5 || v.Scope != WholeHost {
		t.Errorf("Look() = %+v, %v", v, err)
	}
}

// sized is a table of processes that have used something.
type sized struct {
	processes
	used map[int]Usage
}

func (s sized) Usage(ctx context.Context) map[int]Usage {
	all := s.processes.Usage(ctx)
	for pid, u := range s.used {
		u.Parent = s.processes[pid].Parent
		all[pid] = u
	}
	return all
}

func TestLightToolsCountAboveAWeight(t *testing.T) {
	table := ours + "40 1 /a npm_run_check\n 41 40 /a node /x/.bin/tsc -b\n 42 41 /a node worker.js"
	for name, tt := range map[string]struct {
		used map[int]Usage
		want string
	}{
		"small":               {nil, ""},
		"long at work":        {map[int]Usage{41: {CPU: 20 * time.Second}}, "tsc 41"},
		"its worker is":       {map[int]Usage{42: {CPU: 20 * time.Second}}, "tsc 41"},
		"what it is below is": {map[int]Usage{40: {CPU: time.Hour}}, ""},
		"large":               {map[int]Usage{41: {Memory: 1 << 30}}, "tsc 41"},
	} {
		t.Run(name, func(t *testing.T) {
			g := gate(nil)
			g.Table = sized{host(t, table), tt.used}
			if got := blockersOf(t, g); got != tt.want {
				t.Errorf("blockers: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestALightToolInsideAHeavyBuildIsThatBuild(t *testing.T) {
	g := gate(nil)
	g.Table = sized{host(t, ours+"40 1 /a turbo build\n 41 40 /a node /x/.bin/tsc"), map[int]Usage{41: {CPU: time.Hour}}}
	if got := blockersOf(t, g); got != "turbo build 40" {
		t.Errorf("blockers: %q", got)
	}
}

func TestAProgramThatHidesItsArgumentsIsJudgedByWhatItDoes(t *testing.T) {
	for name, tt := range map[string]struct {
		parent []string
		age    time.Duration
		cpu    time.Duration
		want   string
	}{
		"a build, by its shell":            {[]string{"sh", "-c", "webpack --mode production"}, time.Hour, 0, "webpack 41"},
		"a server, by its shell":           {[]string{"sh", "-c", "webpack serve"}, time.Second, time.Second, ""},
		"from a script, and works":         {[]string{"bash", "-e", "x.sh"}, time.Minute, 16 * time.Second, "webpack 41"},
		"from a script, and mostly waits":  {[]string{"bash", "-e", "x.sh"}, time.Minute, 14 * time.Second, ""},
		"from a script, and has begun now": {[]string{"bash", "-e", "x.sh"}, time.Second, 0, "webpack 41"},
	} {
		t.Run(name, func(t *testing.T) {
			table := host(t, ours)
			table[40] = Process{PID: 40, Parent: 1, Argv: tt.parent}
			table[41] = Process{PID: 41, Parent: 40, Argv: []string{"webpack"}, Start: time.Now().Add(-tt.age)}
			g := gate(nil)
			g.Table = sized{table, map[int]Usage{41: {CPU: tt.cpu}}}
			if got := blockersOf(t, g); got != tt.want {
				t.Errorf("blockers: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheWorkersOfAServerAreNoBuild(t *testing.T) {
	table := host(t, ours+"41 40 /a webpack\n 42 41 /a webpack")
	table[40] = Process{PID: 40, Parent: 1, Argv: []string{"sh", "-c", "webpack serve"}}
	if got := blockersOf(t, gate(table)); got != "" {
		t.Errorf("blockers: %q", got)
	}
}

func TestABuildIsDescribedByItsWholeTree(t *testing.T) {
	g := gate(nil)
	g.Table = sized{host(t, ours+`
		40 10 /a node /x/.bin/turbo build
		41 40 /a x
		42 41 /a next-build
		43 41 /a y
		50 10 /b z`),
		map[int]Usage{
			40: {CPU: 1, Memory: 10}, 41: {CPU: 2, Memory: 20}, 42: {CPU: 4, Memory: 40},
			43: {CPU: 8, Memory: 80}, 50: {CPU: 100, Memory: 100},
		}}
	v, err := g.Look(t.Context())
	if err != nil || len(v.Blockers) != 1 || v.Blockers[0].CPU != 15 || v.Blockers[0].Memory != 150 {
		t.Errorf("Look() = %+v, %v", v, err)
	}
}

func TestPidsInACircleHaveASum(t *testing.T) {
	got := sums(map[int]Usage{1: {2, 1, 1}, 2: {1, 1, 1}, 3: {2, 1, 1}, 4: {4, 1, 1}})
	if len(got) != 4 || got[3].CPU != 1 {
		t.Errorf("sums: %+v", got)
	}
}

func TestOnlySoManyBlockersAreLookedIntoClosely(t *testing.T) {
	table := host(t, ours)
	for pid := 100; pid < 200; pid++ {
		table[pid] = Process{PID: pid, Parent: 1, Dir: "/a", Argv: []string{"next-build"}}
	}
	v, err := gate(table).Look(t.Context())
	if err != nil || len(v.Blockers) != 100 ||
		v.Blockers[MostDescribed-1].Job.RunID == "" || v.Blockers[MostDescribed].Job.RunID != "" {
		t.Errorf("%d blockers, %v", len(v.Blockers), err)
	}
}

// others is Docker's answer in a container.
func others(list List, err error) func(context.Context) (List, Scope, error) {
	return func(context.Context) (List, Scope, error) { return list, "asked", err }
}

// inside is a table that shows a container only.
type inside struct{ processes }

func (i inside) Each(ctx context.Context, visit func(int, []string)) (Scope, error) {
	_, err := i.processes.Each(ctx, visit)
	return OnlyContainer, err
}

func TestInAContainerTheOthersAreAskedFor(t *testing.T) {
	g := gate(nil)
	g.Table = inside{host(t, ours)}
	const task = "GITEA-ACTIONS-TASK-17_WORKFLOW-ci_JOB-web"
	g.Elsewhere = others(List{
		900: {Process{PID: 900, Argv: []string{"npm", "run", "build"}, Container: task}, Usage{CPU: 1, Memory: 1}},
		901: {
			Process{PID: 901, Parent: 900, Argv: []string{"next-build", "(v16.4.6)"}, Dir: "/src", Container: task},
			Usage{CPU: 2, Memory: 2},
		},
		902: {Process{PID: 902, Parent: 901, Argv: []string{"node", "worker.js"}, Container: task}, Usage{CPU: 4, Memory: 4}},
		910: {Process{PID: 910, Argv: []string{"vite", "build"}, Dir: "/app/apps/web", Container: "image"}, Usage{}},
		30:  {Process{PID: 30, Argv: []string{"vite", "build"}, Container: "another"}, Usage{}}, // no pid of ours
	}, nil)
	g.Exclude = []string{"/app/apps/web"}
	v, err := g.Look(t.Context())
	want := []Blocker{
		{Tool: "vite build", PID: 30, Container: "another"},
		{
			Tool: "next build", PID: 901, Dir: "/src", CPU: 6, Memory: 6, Container: task,
			Job: Job{Workflow: "ci", Job: "web", Task: "17"},
		},
	}
	if err != nil || !slices.Equal(v.Blockers, want) || v.Scope != "asked" || v.Seen != 9 {
		t.Errorf("Look() = %+v, %v", v, err)
	}
}

func TestWhoSeesNothingJudgesByMemoryAndStall(t *testing.T) {
	low := Reading{At: time.Now(), Available: 1 << 30, Installed: 16 << 30}
	for name, tt := range map[string]struct {
		table  Table
		others func(context.Context) (List, Scope, error)
		limits Limits
		want   bool
		scope  string
	}{
		"without Docker": {inside{host(t, ours)}, others(nil, errors.New("no Docker")), Limits{}, false,
			"this container only, builds outside it are out of sight; no Docker; judged by memory and stall"},
		"nobody to ask":     {inside{host(t, ours)}, nil, Limits{}, false, ""},
		"own limits hold":   {inside{host(t, ours)}, nil, Limits{MinMemory: 1 << 20}, true, ""},
		"with Docker":       {inside{host(t, ours)}, others(nil, nil), Limits{}, true, "asked"},
		"on the whole host": {host(t, ours), others(nil, errors.New("asked")), Limits{}, true, "the whole host"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &Gate{
				Table: tt.table, Rules: Known(), Limits: tt.limits, Elsewhere: tt.others,
				Meter: func() Reading { return low },
			}
			v, err := g.Look(t.Context())
			if err != nil || v.Clear() != tt.want || tt.scope != "" && string(v.Scope) != tt.scope {
				t.Errorf("Look() = %+v, %v", v, err)
			}
		})
	}
}

func (t processes) Private(pid int) int64 { return 1 << 20 }
func (m moving) Private(pid int) int64    { return m.later.Private(pid) }
func (s sized) Private(pid int) int64     { return s.used[pid].Memory }
