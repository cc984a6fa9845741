package pressure

import (
	"context"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// working is a table of processes that use cores and memory since they began.
type working struct {
	processes
	begun  time.Time
	cores  map[int]float64
	memory map[int]int64 // shared or not
	shared map[int]int64
	looked *int
}

func (w working) Usage(context.Context) map[int]Usage {
	*w.looked++
	all := map[int]Usage{}
	for pid, p := range w.processes {
		all[pid] = Usage{p.Parent, time.Duration(w.cores[pid] * float64(time.Since(w.begun))), w.memory[pid]}
	}
	return all
}

func (w working) Private(pid int) int64 { return w.memory[pid] - w.shared[pid] }

const (
	theirJob = "/home/ci/.cache/act/ffeeddccbbaa9988"
	theirs   = theirJob + "/hostexecutor"
	gib      = 1 << 30
)

// busyHost is the host of these tests, with 8 cores and 64 GiB.
var busyHost = Reading{Cores: 8, Running: 5, Installed: 64 * gib, Available: 8 * gib}

// weighed is one case: 41, mostly below 40, uses cores and holds memory.
type weighed struct {
	table   string
	in      string // the container of 40 and 41
	cores   float64
	memory  int64 // GiB
	exclude string
	host    *Reading // busyHost if nil
	want    string
}

const (
	theirStep = "40 10 " + theirs + " bash -e step.sh\n 41 40 " + theirs + "/x train --epochs 9\n"
	inside40  = "40 1 / sleep\n 41 40 /w train"
)

var (
	two  = &Reading{Cores: 2}
	rest = &Reading{Running: 1, Cores: 8, Installed: 64 * gib, Available: gib} // nothing runs
)

func TestAnotherJobCountsByItsWeight(t *testing.T) {
	for name, tt := range map[string]weighed{
		"two cores of eight":       {table: theirStep, cores: 2, want: "heavy job 40"},
		"all that a core gives":    {table: theirStep, cores: 0.95, host: two, want: "heavy job 40"},
		"less than a quarter":      {table: theirStep, cores: 1.7},
		"less than a core":         {table: theirStep, cores: 0.8, host: two},
		"unknown cores":            {table: theirStep, cores: 8, host: &Reading{Running: 9}},
		"nothing runs":             {table: theirStep, cores: 8, host: &Reading{Cores: 2, Running: 1}},
		"a quarter of the memory":  {table: theirStep, memory: 16, want: "heavy job 40"},
		"less of it":               {table: theirStep, memory: 15},
		"memory, and nothing runs": {table: theirStep, memory: 16, host: rest, want: "heavy job 40"},
		"unknown memory":           {table: theirStep, memory: 16, host: &Reading{Running: 1, Cores: 8}},
		"a worker of GitHub's": {table: "40 1 /r/_work /r/bin/Runner.Worker spawnclient 1\n 41 40 / train", cores: 2,
			want: "heavy job 40"},
		"left behind in a job's directory": {table: "41 1 " + theirs + " train", cores: 2, want: "heavy job 41"},
		"of a person in that directory": {table: "40 1 / sshd: ci@pts/0\n 42 40 / -bash\n 41 42 " + theirs + " train",
			cores: 8},
		"of a person elsewhere":  {table: "41 1 /home/me train", cores: 8, memory: 60},
		"a server of the runner": {table: "41 1 /home/ci train", cores: 8},
		"our own job":            {table: "41 20 / train", cores: 8},
		"left behind by our own": {table: "41 1 " + ownJob + "/tmp train", cores: 8},
		"in a job's container":   {table: inside40, in: "job", cores: 2, want: "heavy job 40"},
		"in another container":   {table: inside40, in: "web", cores: 8},
		"our job's service":      {table: inside40, in: "own", cores: 8},
		"a container of GitHub's": {table: "40 1 /__w/a sh\n 41 40 /__w/a train", in: "web", cores: 2,
			want: "heavy job 40"},
		"a build that counts already": {table: theirStep + "42 41 " + theirs + " node /x/.bin/next build", memory: 20,
			want: "next build 42"},
		"what is excluded":    {table: theirStep, cores: 2, exclude: theirs + "/x"},
		"all of it excluded":  {table: theirStep, cores: 2, exclude: theirs},
		"beside the excluded": {table: theirStep, cores: 2, exclude: theirs + "/y", want: "heavy job 40"},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, tt.look) })
	}
}

func (tt weighed) look(t *testing.T) {
	table := working{host(t, ours+tt.table), time.Now(), map[int]float64{41: tt.cores},
		map[int]int64{41: tt.memory * gib},
		nil, new(int)}
	id := map[string]string{"job": strings.Repeat("0a", 32), "web": strings.Repeat("1b", 32),
		"own": strings.Repeat("2c", 32)}
	for _, pid := range []int{40, 41} {
		if p, ok := table.processes[pid]; ok && tt.in != "" {
			p.Container = id[tt.in]
			table.processes[pid] = p
		}
	}
	g := gate(table.processes)
	g.Table, g.ByWeight, g.Own.Task = table, true, "7"
	if tt.exclude != "" {
		g.Exclude = []string{tt.exclude}
	}
	g.Named = func(_ context.Context, of string) string {
		return map[string]string{id["job"]: "GITEA-ACTIONS-TASK-8_WORKFLOW-ci_JOB-x", id["web"]: "web",
			id["own"]: "GITEA-ACTIONS-TASK-7_WORKFLOW-ci_JOB-x-db"}[of]
	}
	g.Meter = func() Reading {
		if tt.host == nil {
			return busyHost
		}
		return *tt.host
	}
	time.Sleep(time.Hour)
	begin := time.Now()
	if got := blockersOf(t, g); got != tt.want {
		t.Errorf("blockers: %q, want %q", got, tt.want)
	}
	if took := time.Since(begin); took > shortest {
		t.Errorf("a look takes %s", took)
	}
}

func TestTheWeightOfAJobIsThatOfItsTree(t *testing.T) {
	for name, tt := range map[string]struct {
		cores          map[int]float64
		memory, shared map[int]int64
		exclude        []string
		want           string
	}{
		"its parts together":   {cores: map[int]float64{40: 1, 41: 0.5, 42: 0.5}, want: "heavy job 40"},
		"the runner itself":    {cores: map[int]float64{10: 8}},
		"of its parts, memory": {memory: map[int]int64{41: 10 * gib, 42: 10 * gib}, want: "heavy job 40"},
		"memory that is shared": {memory: map[int]int64{41: 10 * gib, 42: 10 * gib},
			shared: map[int]int64{41: 9 * gib, 42: 9 * gib}},
		"besides the excluded": {cores: map[int]float64{40: 2, 41: 2}, exclude: []string{theirs + "/x"},
			want: "heavy job 40"},
		"but not enough": {cores: map[int]float64{40: 1, 41: 2}, exclude: []string{theirs + "/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := working{host(t, ours+theirStep+"42 40 / x"), time.Now(), tt.cores, tt.memory, tt.shared,
					new(int)}
				g := gate(table.processes)
				g.Table, g.ByWeight, g.Exclude, g.Meter = table, true, tt.exclude, func() Reading { return busyHost }
				time.Sleep(time.Hour)
				if got := blockersOf(t, g); got != tt.want {
					t.Errorf("blockers: %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestAHeavyJobIsDescribedAndMayOnlyBeShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := working{host(t, ours+"40 10 "+theirs+" bash"), time.Now(), map[int]float64{40: 3},
			map[int]int64{40: gib},
			nil, new(int)}
		time.Sleep(time.Minute)
		g := gate(table.processes)
		g.Table, g.Meter = table, func() Reading { return busyHost }
		v, err := g.Look(t.Context())
		if err != nil || !v.Clear() || len(v.Heavy) != 1 {
			t.Fatalf("Look() = %+v, %v", v, err)
		}
		b := v.Heavy[0]
		cpu := (3 * (time.Minute + shortest)).Seconds()
		if b.Tool != HeavyJob || b.Dir != theirs || b.Cores < 2.9 || b.Cores > 3.1 || b.Memory != gib ||
			b.CPU.Seconds() != cpu || b.Job.RunID != "40" {
			t.Errorf("%+v", b)
		}
	})
}

// A sample takes as long as the look.
func TestACrowdIsSampledOnlyBesideARunnerOrAContainer(t *testing.T) {
	for argv, want := range map[string]int{
		"postgres": 0, "vi act_runner daemon": 0,
		"/opt/act_runner-0.2.11-linux-amd64 daemon": 2, "/r/bin/Runner.Worker spawnclient": 2,
		"/usr/bin/containerd-shim-runc-v2 -namespace moby": 2, "/usr/bin/conmon --api-version 1": 2,
	} {
		synctest.Test(t, func(t *testing.T) {
			table := working{processes{}, time.Now(), nil, nil, nil, new(int)}
			for pid := range crowd {
				table.processes[1+pid] = Process{PID: 1 + pid, Argv: []string{"node-exporter"}}
			}
			table.processes[7] = Process{PID: 7, Argv: strings.Fields(argv)}
			g := &Gate{Table: table, Rules: Known(), Meter: func() Reading { return busyHost }}
			if got := blockersOf(t, g); got != "" || *table.looked != want {
				t.Errorf("beside %s: %q, and %d samples, want %d", argv, got, *table.looked, want)
			}
		})
	}
}

// The second look has one before it: it takes no pause, and judges the time between.
func TestLaterLooksJudgeTheTimeBetweenThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := working{host(t, ours+"40 10 "+theirs+" bash"), time.Now(), map[int]float64{40: 3}, nil, nil, new(int)}
		running := 1
		g := gate(table.processes)
		g.Table, g.ByWeight = table, true
		g.Meter = func() Reading { return Reading{Cores: 8, Running: running} }
		if got := blockersOf(t, g); got != "" || *table.looked != 0 {
			t.Errorf("where nothing runs: %q, and all processes were read %d times", got, *table.looked)
		}
		running = 4
		for range 3 {
			time.Sleep(10 * time.Second)
			if got := blockersOf(t, g); got != "heavy job 40" {
				t.Errorf("blockers: %q", got)
			}
		}
		if *table.looked != 4 {
			t.Errorf("all processes were read %d times", *table.looked)
		}
		table.cores[40] = 0
		time.Sleep(10 * time.Second)
		if got := blockersOf(t, g); got != "" {
			t.Errorf("once it rests: %q", got)
		}
	})
}

// A process that ends leaves its time to its parent, and its children to another one.
func TestTimeOfTheEndedIsNotUsedAgain(t *testing.T) {
	first := sample{used: map[int]Usage{
		1: {0, 5, 0}, 2: {1, 10, 0}, 3: {2, 1000, 0}, 4: {3, 500, 0}, 5: {3, 70, 0}, 9: {1, 1, 0},
	}}
	for name, tt := range map[string]struct {
		now  map[int]Usage
		want map[int]time.Duration // of the trees
	}{
		"all live on": {
			map[int]Usage{1: {0, 6, 0}, 2: {1, 12, 0}, 3: {2, 1003, 0}, 4: {3, 504, 0}, 5: {3, 75, 0}, 9: {1, 1, 0}},
			map[int]time.Duration{1: 15, 2: 14, 3: 12, 4: 4, 5: 5, 9: 0}},
		"a child has ended": {
			map[int]Usage{1: {0, 5, 0}, 2: {1, 10, 0}, 3: {2, 1507, 0}, 5: {3, 70, 0}, 9: {1, 1, 0}},
			map[int]time.Duration{1: 7, 2: 7, 3: 7, 5: 0, 9: 0}},
		"and its parent too, whose other child is taken in": {
			map[int]Usage{1: {0, 5, 0}, 2: {1, 1513, 0}, 5: {9, 71, 0}, 9: {1, 1, 0}},
			map[int]time.Duration{1: 4, 2: 3, 5: 1, 9: 1}},
		"nobody has asked for it": {
			map[int]Usage{1: {0, 5, 0}, 2: {1, 10, 0}, 9: {1, 1, 0}},
			map[int]time.Duration{1: 0, 2: 0, 9: 0}},
		"a new one": {
			map[int]Usage{1: {0, 5, 0}, 2: {1, 10, 0}, 3: {2, 1000, 0}, 4: {3, 500, 0}, 5: {3, 70, 0}, 6: {5, 8, 0},
				9: {1, 1, 0}},
			map[int]time.Duration{1: 8, 2: 8, 3: 8, 4: 0, 5: 8, 6: 8, 9: 0}},
		"a pid that was taken over": {
			map[int]Usage{1: {0, 5, 0}, 2: {1, 10, 0}, 3: {2, 2, 0}, 9: {1, 1, 0}},
			map[int]time.Duration{1: 0, 2: 0, 3: 0, 9: 0}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[int]time.Duration{}
			for pid, u := range sums(sample{used: tt.now}.since(first)) {
				got[pid] = u.CPU
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	circle := sample{used: map[int]Usage{7: {8, 1, 0}, 8: {7, 1, 0}}}
	if got := (sample{used: map[int]Usage{}}).since(circle); len(got) != 0 {
		t.Errorf("pids in a circle: %v", got)
	}
}
