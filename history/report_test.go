package history

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func TestTheReportAddsUp(t *testing.T) {
	outside := of(Hold, "deploy", "", 70, 80, EndReleased)
	outside.Who, outside.Plain = Who{}, true
	reserved := of(Reserved, "deploy", "", 80, 90, EndReleased)
	reserved.Who = Who{Person: "root, pid 1"}
	dead := of(Hold, "deploy", "docs#9", 50, 60, EndTakenOver)
	gaps := []Gap{{at(60 * 1), at(60 * 12)}, {at(60 * 100), at(60 * 104)}}
	r := record(7200, gaps,
		of(Hold, "deploy", "blog#1", 0, 20, EndReleased),
		of(Wait, "deploy", "shop#1", 5, 20, EndAcquired), // 15 for blog
		of(Hold, "deploy", "shop#1", 20, 30, EndReleased),
		of(Build, "next build", "docs#8", 30, 34, ""),
		of(Build, "docker build", "blog#2", 32, 36, ""),
		of(Pressure, "", "shop#2", 31, 36, EndAcquired),      // 5 for pressure
		of(Wait, "deploy", "shop#2", 52, 60.05, EndAcquired), // 8 for docs, much later
		dead,
		of(Hold, "deploy", "docs#10", 55, 62, EndReleased), // in a second slot
		of(Hold, "deploy", "shop#2", 60.1, 65, EndReleased),
		outside,
		of(Wait, "deploy", "blog#3", 75, 80, EndGaveUp), // 5 for other
		of(Wait, "deploy", "blog#4", 85, 90, EndAcquired),
		reserved,
		of(Hold, "other", "blog#5", 0, 1, EndReleased), // not in the time
	)
	p := r.Report(at(60 * 2).UTC())
	var b strings.Builder
	fmt.Fprintln(&b, p.Jobs, p.WaitedLong, p.Waited, p.Longest.Sentence(), p.MostFor, fmt.Sprintf("%.2f", p.MostShare))
	for _, w := range p.Repositories {
		fmt.Fprintln(&b, w.Repository, w.Jobs, w.WaitedLong, w.Waited, w.P50, w.P95, w.Max, w.For, w.Pressure, w.Other)
	}
	for _, o := range p.Takeovers {
		fmt.Fprintln(&b, "taken over", o.Who.Run, o.Next)
	}
	fmt.Fprintln(&b, p.Builds, p.Reserved, p.Unwatched, len(p.Holds), p.Holds[0].Who.Run, len(p.Locks))
	want := `9 5 38m3s wooo/shop build #1 waited 15m for wooo/blog build #1. {wooo/blog  build    } 0.39
wooo/shop 3 3 28m3s 8m3s 15m0s 15m0s map[wooo/blog:15m0s wooo/docs:8m3s] 5m0s 0s
wooo/blog 3 2 10m0s 5m0s 5m0s 5m0s map[] 0s 10m0s
 1 0 0s 0s 0s 0s map[] 0s 0s
wooo/docs 2 0 0s 0s 0s 0s map[] 0s 0s
taken over 9 6s
6m0s 10m0s 14m0s 6 1 1
`
	if got := b.String(); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestUseIsByTheHourOfTheZone(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Kolkata") // 5:30 h ahead
	if err != nil {
		t.Fatal(err)
	}
	// From 12:00 to 12:45 UTC, with a second slot meanwhile.
	r := record(86400, nil, of(Hold, "deploy", "shop#1", 0, 45, EndReleased),
		of(Hold, "deploy", "shop#2", 10, 20, EndReleased),
		of(Hold, "deploy", "shop#3", 30, 45, EndReleased))
	hours := r.Report(noon.In(zone)).Locks[0].Hours
	for i, share := range hours {
		if want := map[int]float64{17: 0.5, 18: 0.25}[i]; share != want { // 17:30 to 18:15
			t.Errorf("%02d:00: %v, want %v", i, share, want)
		}
	}
	// The clock of a zone is set forward, which has no 02:00 then.
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 29, 0, 0, 0, 0, berlin)
	hold := Interval{Kind: Hold, Name: "deploy", From: begin, Until: begin.Add(4 * time.Hour)}
	r = record(0, nil, hold)
	r.LastLook = begin.Add(23 * time.Hour)
	hours = r.Report(begin).Locks[0].Hours
	if hours[1] != 1 || hours[2] != 0 || hours[3] != 1 || hours[4] != 1 || hours[5] != 0 {
		t.Error(hours)
	}
}

func TestAWrongClockMakesNoEndlessReport(t *testing.T) {
	end := time.UnixMilli(253402300000000)
	r := record(0, nil, Interval{Kind: Hold, Name: "deploy", From: time.UnixMilli(0), Until: end})
	r.LastLook = end
	start := time.Now()
	p := r.Report(time.Unix(-1e9, 0))
	if p.Until.Sub(p.From) != mostTime || time.Since(start) > 5*time.Second {
		t.Error(p.From, p.Until, time.Since(start))
	}
}
