package operate

import (
	"time"

	"hostguard/history"
)

// The JSON of a report. Times are in seconds.

type jobJSON struct {
	Repository string `json:"repository,omitempty"`
	Workflow   string `json:"workflow,omitempty"`
	Job        string `json:"job,omitempty"`
	Run        string `json:"run,omitempty"`
	RunURL     string `json:"run_url,omitempty"`
	Actor      string `json:"actor,omitempty"`
	Person     string `json:"person,omitempty"`
}

func jobOf(w history.Who) jobJSON {
	return jobJSON{Repository: w.Repository, Workflow: w.Workflow, Job: w.Job, Run: w.Run, RunURL: w.RunURL,
		Actor: w.Actor, Person: w.Person}
}

type waitJSON struct {
	jobJSON
	From   time.Time `json:"from"`
	Waited float64   `json:"waited_seconds"`
	Why    string    `json:"why"`
}

type repositoryJSON struct {
	Repository string             `json:"repository"`
	Jobs       int                `json:"jobs"`
	WaitedLong int                `json:"waited_more_than_a_minute"`
	Waited     float64            `json:"waited_seconds"`
	P50        float64            `json:"p50_seconds"`
	P95        float64            `json:"p95_seconds"`
	Max        float64            `json:"max_seconds"`
	For        map[string]float64 `json:"waited_for_seconds"`
	Pressure   float64            `json:"waited_for_pressure_seconds"`
	Other      float64            `json:"waited_for_other_seconds"`
}

type intervalJSON struct {
	jobJSON
	Lock     string    `json:"lock,omitempty"`
	What     string    `json:"what,omitempty"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Seconds  float64   `json:"seconds"`
	Usual    float64   `json:"usual_seconds,omitempty"`
	Evidence string    `json:"evidence,omitempty"`
	Next     *float64  `json:"next_held_after_seconds,omitempty"`
}

func intervalOf(i history.Interval) intervalJSON {
	return intervalJSON{jobJSON: jobOf(i.Who), Lock: i.Name, What: i.What, From: i.From, Until: i.Until,
		Seconds: i.Until.Sub(i.From).Seconds(), Evidence: i.Evidence}
}

type lockJSON struct {
	Lock  string      `json:"lock"`
	Hours [24]float64 `json:"share_by_hour"`
}

func reportJSON(is *history.Report) any {
	all := struct {
		Version      int              `json:"version"` // of this format
		Host         string           `json:"host"`
		From         time.Time        `json:"from"`
		Until        time.Time        `json:"until"`
		Jobs         int              `json:"jobs"`
		WaitedLong   int              `json:"waited_more_than_a_minute"`
		Waited       float64          `json:"waited_seconds"`
		Longest      *waitJSON        `json:"longest_wait,omitempty"`
		Repositories []repositoryJSON `json:"repositories"`
		Holds        []intervalJSON   `json:"longest_holds"`
		Takeovers    []intervalJSON   `json:"takeovers"`
		Reservations []intervalJSON   `json:"reservations"`
		Builds       float64          `json:"heavy_builds_seconds"`
		Unwatched    []intervalJSON   `json:"not_watched"`
		Locks        []lockJSON       `json:"locks"`
	}{
		Version: 1, Host: is.Host, From: is.From, Until: is.Until, Jobs: is.Jobs, WaitedLong: is.WaitedLong,
		Waited: is.Waited.Seconds(), Builds: is.Builds.Seconds(),
		Repositories: []repositoryJSON{}, Holds: []intervalJSON{}, Takeovers: []intervalJSON{},
		Reservations: []intervalJSON{}, Unwatched: []intervalJSON{}, Locks: []lockJSON{},
	}
	if a := is.Longest; a != nil {
		all.Longest = &waitJSON{jobOf(a.Who), a.From, a.Total.Seconds(), a.Sentence()}
	}
	for _, w := range is.Repositories {
		r := repositoryJSON{Repository: w.Repository, Jobs: w.Jobs, WaitedLong: w.WaitedLong,
			Waited: w.Waited.Seconds(),
			P50:    w.P50.Seconds(), P95: w.P95.Seconds(), Max: w.Max.Seconds(), For: map[string]float64{},
			Pressure: w.Pressure.Seconds(), Other: w.Other.Seconds()}
		for name, d := range w.For {
			r.For[name] = d.Seconds()
		}
		all.Repositories = append(all.Repositories, r)
	}
	for _, h := range is.Holds {
		hold := intervalOf(h.Interval)
		hold.Usual = h.Usual.Seconds()
		all.Holds = append(all.Holds, hold)
	}
	for _, t := range is.Takeovers {
		taken := intervalOf(t.Interval)
		if next := t.Next.Seconds(); next >= 0 {
			taken.Next = &next
		}
		all.Takeovers = append(all.Takeovers, taken)
	}
	for _, i := range is.Reservations {
		all.Reservations = append(all.Reservations, intervalOf(i))
	}
	for _, g := range is.Gaps {
		all.Unwatched = append(all.Unwatched, intervalJSON{From: g.From, Until: g.Until,
			Seconds: g.Until.Sub(g.From).Seconds()})
	}
	for _, u := range is.Locks {
		all.Locks = append(all.Locks, lockJSON(u))
	}
	return all
}
