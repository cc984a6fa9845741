package pressure

import (
	"strings"
	"testing"
	"time"
)

func TestStallIsTheShareSinceTheLookBefore(t *testing.T) {
	start := time.Now()
	at := func(seconds, stalled float64) Reading {
		return Reading{At: start.Add(time.Duration(seconds * float64(time.Second))),
			Memory: Stall{true, 7, time.Hour + time.Duration(stalled*float64(time.Second))}}
	}
	var m meter
	for i, tt := range []struct {
		reading Reading
		want    float64
	}{
		{at(0, 0), 7}, // the kernel's own average
		{at(10, 2), 20},
		{at(20, 2), 0},
		{at(21, 3), 100},
		{at(22, 1), 0}, // another machine's, after a move
		{at(22, 5), 7}, // no time has passed
	} {
		load, over := m.judge(tt.reading, Limits{})
		if got := load.MemoryStall; !got.Known || got.Value != tt.want || len(over) > 0 {
			t.Errorf("look %d: %+v, %q, want %v", i, got, over, tt.want)
		}
	}
	if load, _ := m.judge(Reading{At: start.Add(time.Minute)}, Limits{MaxMemoryStall: 1}); load.MemoryStall.Known {
		t.Errorf("a stall that cannot be read is %+v", load.MemoryStall)
	}
}

func TestLimitsAreLeftLowerThanTheyAreEntered(t *testing.T) {
	var m meter
	at := time.Now()
	pressed := func(stall float64, available int64) bool {
		at = at.Add(10 * time.Second)
		// By the average: the meter has nothing to compare with.
		m.last = Reading{}
		_, over := m.judge(Reading{At: at, IO: Stall{true, stall, 0}, Available: available, Installed: 1000},
			Limits{MaxIOStall: 50, MinMemory: 100})
		return len(over) > 0
	}
	for i, tt := range []struct {
		stall     float64
		available int64
		want      bool
	}{
		{50, 100, false}, // at the limit is within it
		{51, 500, true},
		{45, 500, true},                                   // below the limit, but not far
		{40, 500, true}, {39, 500, true}, {0, 500, false}, // the third good look in a row
		{45, 500, false},                              // and now the limit holds again
		{0, 99, true}, {0, 109, true}, {0, 110, true}, // memory alike
		{0, 99, true}, {0, 200, true}, {0, 200, true}, // counted anew
		{60, 200, true}, {0, 200, true}, {0, 200, true}, {0, 200, false},
	} {
		if got := pressed(tt.stall, tt.available); got != tt.want {
			t.Errorf("look %d, %v%% and %d: pressed %v, want %v", i, tt.stall, tt.available, got, tt.want)
		}
	}
}

func TestTheProcessorNeverDecides(t *testing.T) {
	var m meter
	r := Reading{At: time.Now(), CPU: Stall{true, 100, 0}, Load1: 500, Available: 1, Installed: 1000}
	_, over := m.judge(r, Limits{MaxIOStall: 1, MaxMemoryStall: 1})
	if len(over) > 0 {
		t.Errorf("over: %q", over)
	}
}

func TestWhatIsOverALimitIsNamed(t *testing.T) {
	var m meter
	r := Reading{
		At: time.Now(), Available: 3 << 29, Installed: 4 << 30,
		Memory: Stall{true, 30, 0}, IO: Stall{true, 70.4, 0},
	}
	_, over := m.judge(r, Limits{MinMemory: 2 << 30, MaxMemoryStall: 20, MaxIOStall: 62.5})
	want := "1.5 GiB of memory left, want 2.0 GiB; memory stall 30%, want at most 20%; I/O stall 70.4%, want at most 62.5%"
	if got := strings.Join(over, "; "); got != want {
		t.Errorf("over: %s", got)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 10 << 20: "10 MiB",
		3 << 29: "1.5 GiB", 5 << 50: "5120 TiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}
