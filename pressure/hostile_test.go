package pressure

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestATitleAloneCountsWhileItWorks(t *testing.T) {
	const step = 10 * time.Second
	busyIf := func(busy bool) float64 { return map[bool]float64{true: 1}[busy] }
	for name, tt := range map[string]struct {
		share  func(at time.Duration) float64 // of a core that it uses
		memory int64
		rules  []Rule
		want   []bool // whether it counts, every 10 s
	}{
		"idle from the beginning": {share: func(time.Duration) float64 { return 0 },
			want: []bool{true, true, true, false, false, false, false}},
		"a build": {share: func(time.Duration) float64 { return 0.5 },
			want: []bool{true, true, true, true, true, true, true}},
		"a build on a crowded host": {share: func(time.Duration) float64 { return 0.03 },
			want: []bool{true, true, true, true, true, true, true}},
		"stops after 20 s": {share: func(at time.Duration) float64 { return busyIf(at < 20*time.Second) },
			want: []bool{true, true, true, true, true, false, false}},
		"works again": {share: func(at time.Duration) float64 { return busyIf(at >= 50*time.Second) },
			want: []bool{true, true, true, false, false, false, true}},
		"large": {share: func(time.Duration) float64 { return 0 }, memory: lightMemory,
			want: []bool{true, true, true, true, true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				table := sized{host(t, ours), map[int]Usage{}}
				table.processes[40] = Process{PID: 40, Parent: 1, Argv: []string{"next-build (v16.4.6)"}, Start: begin}
				table.processes[41] = Process{PID: 41, Parent: 40, Argv: []string{"worker"}, Start: begin}
				g := gate(nil)
				g.Table = table
				var used time.Duration
				for i, want := range tt.want {
					table.used[40] = Usage{Parent: 1, Memory: max(tt.memory, 1<<20)}
					table.used[41] = Usage{Parent: 40, CPU: used, Memory: 1 << 20}
					if got := blockersOf(t, g) != ""; got != want {
						t.Errorf("after %s: counts %v, want %v", time.Since(begin), got, want)
					}
					used += time.Duration(tt.share(time.Duration(i)*step) * float64(step))
					time.Sleep(step)
				}
			})
		})
	}
}

func TestOneLookAtATitleJudgesItsLife(t *testing.T) {
	for cpu, want := range map[time.Duration]string{0: "", time.Second: "", 2 * time.Minute: "next build 40"} {
		g := gate(nil)
		table := host(t, ours)
		table[40] = Process{PID: 40, Parent: 1, Argv: []string{"next-build"}, Start: time.Now().Add(-time.Hour)}
		g.Table = sized{table, map[int]Usage{40: {Parent: 1, CPU: cpu}}}
		if got := blockersOf(t, g); got != want {
			t.Errorf("%s in an hour: %q, want %q", cpu, got, want)
		}
	}
}

// The client of a Gradle waits for its daemon.
func TestAPatternCountsAsLongAsItRuns(t *testing.T) {
	rule, err := Pattern("gradle assemble")
	if err != nil {
		t.Fatal(err)
	}
	g := gate(nil)
	g.Rules = append(g.Rules, rule)
	table := host(t, ours)
	table[40] = Process{PID: 40, Parent: 1, Argv: []string{"gradle", "assemble"}, Start: time.Now().Add(-time.Hour)}
	g.Table = sized{table, map[int]Usage{40: {Parent: 1}}}
	if got := blockersOf(t, g); got != "gradle assemble 40" {
		t.Errorf("blockers: %q", got)
	}
}

// A ticket of another job names a process, whose user has no say over the others.
func TestAWaiterCountsForProcessesOfItsUserOnly(t *testing.T) {
	const other = "/home/ci/.cache/act/ffeeddccbbaa9988"
	table := host(t, ours+`
		40 10 `+other+` hostguard wait-pressure
		41 1  `+other+` next-build
		42 1  `+other+` vite build`)
	for pid, user := range map[int]int{40: 1001, 41: 1001, 42: 1002} {
		p := table[pid]
		p.User = user
		table[pid] = p
	}
	g := gate(table)
	g.Waiting = func() []Owner { return []Owner{{PID: 40, Dirs: []string{other}, OneUser: true}} }
	if got := blockersOf(t, g); got != "vite build 42" {
		t.Errorf("blockers: %q, want the other user's", got)
	}
}
