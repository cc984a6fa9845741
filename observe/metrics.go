package observe

import (
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"hostguard/history"
)

// What the labels of metrics may be: every repository and every lock name costs memory here
// and in Prometheus, and whoever can make an entry can invent names.
const (
	maxRepositories = 50
	maxLocks        = 20
	others          = "other" // the label of all more
)

// Metrics are what /metrics shows. Its methods may be called by several goroutines.
type Metrics struct {
	mu                  sync.Mutex
	locks, repositories []string // that have a label of their own

	held, heldSeconds, gone, waiters, oldestWait *family
	waits, holds, takeovers, gaveUp              *family
	gateWaiters, gateWaits                       *family
	builds, stall, containers, runners           *family
	info, looks, lookErrors, lookSeconds         *family
	lastLook, writeErrors, historyBytes          *family
	all                                          []*family
}

// NewMetrics returns metrics of a host of which nothing has been seen.
func NewMetrics(version string) *Metrics {
	m := &Metrics{}
	add := func(f **family, name, kind, help string, labels ...string) {
		*f = newFamily("hostguard_"+name, kind, help, labels...)
		m.all = append(m.all, *f)
	}
	add(&m.held, "lock_held", gauge, "Whether the lock is held.", "lock")
	add(&m.heldSeconds, "lock_held_seconds", gauge, "How long its holder has had the lock.", "lock")
	add(&m.gone, "lock_orphaned", gauge, "Whether the lock's holder is gone: the next job takes it over.", "lock")
	add(&m.waiters, "lock_waiters", gauge, "How many jobs wait for the lock.", "lock")
	add(&m.oldestWait, "lock_longest_wait_seconds", gauge, "How long the job that has waited longest waits by now.",
		"lock")
	add(&m.waits, "lock_wait_seconds", histogram, "How long jobs waited for the lock, those that gave up too.",
		"lock", "repository")
	add(&m.holds, "lock_hold_seconds", histogram, "How long jobs held the lock.", "lock", "repository")
	add(&m.takeovers, "lock_takeovers_total", counter,
		"Locks taken over from a holder that was gone, by what proved it.", "lock", "evidence")
	add(&m.gaveUp, "lock_waits_given_up_total", counter, "Waits that ended without the lock.", "lock")
	add(&m.gateWaiters, "pressure_waiters", gauge, "How many jobs wait for the end of pressure.")
	add(&m.gateWaits, "pressure_wait_seconds", histogram, "How long jobs waited for the end of pressure.", "repository")
	add(&m.builds, "builds", gauge, "How many heavy builds run.")
	add(&m.stall, "stall_ratio", gauge, "Share of the last 10 s in which tasks waited for the resource.", "resource")
	add(&m.containers, "task_containers", gauge, "How many containers run a task.")
	add(&m.runners, "runner_state", gauge, "Whether the runner is in that state.", "runner", "state")
	add(&m.info, "build_info", gauge, "The version of the observer; the value is 1.", "version")
	add(&m.looks, "observer_looks_total", counter, "Looks that the observer took.")
	add(&m.lookErrors, "observer_look_errors_total", counter, "Looks that found no answer.")
	add(&m.lookSeconds, "observer_look_duration_seconds_total", counter, "Time that all looks took.")
	add(&m.lastLook, "observer_last_look_timestamp_seconds", gauge, "When the observer last saw the locks.")
	add(&m.writeErrors, "observer_history_errors_total", counter, "Looks that could not be written to the history.")
	add(&m.historyBytes, "observer_history_bytes", gauge, "Size of the history.")
	m.info.at(version).value = 1
	for _, f := range []*family{m.looks, m.lookErrors, m.lookSeconds, m.writeErrors, m.gateWaiters, m.builds} {
		f.at()
	}
	return m
}

// Write writes the metrics in the text format of Prometheus.
func (m *Metrics) Write(w io.Writer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return write(w, m.all)
}

// Looked counts a look, whether it had an answer or not.
func (m *Metrics) Looked(at time.Time, took time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks.at().value++
	m.lookSeconds.at().value += took.Seconds()
	if err != nil {
		m.lookErrors.at().value++
		return
	}
	m.lastLook.at().value = float64(at.UnixMilli()) / 1000
}

// Recorded sets the size of the history, after a look was written to it or could not be.
func (m *Metrics) Recorded(bytes int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.historyBytes.at().value = float64(bytes)
	if err != nil {
		m.writeErrors.at().value++
	}
}

// Saw takes over what a look has shown, and counts what has ended.
func (m *Metrics) Saw(l Look, open, ended []history.Interval) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range []*family{m.held, m.heldSeconds, m.gone, m.waiters, m.oldestWait, m.stall, m.runners} {
		f.reset()
	}
	for _, name := range m.locks { // one that is free is worth to be shown as such
		m.held.at(name)
		m.gone.at(name)
		m.waiters.at(name)
	}
	m.gateWaiters.at().value, m.builds.at().value = 0, 0
	m.containers.at().value = float64(len(l.Containers))
	for _, lock := range l.Locks {
		if name := m.lock(lock.Name); slices.ContainsFunc(lock.Holders, func(h Claimant) bool { return h.Gone }) {
			m.gone.at(name).value = 1
		}
	}
	for _, i := range open {
		lasted := i.Until.Sub(i.From).Seconds()
		switch i.Kind {
		case history.Hold:
			name := m.lock(i.Name)
			m.held.at(name).value = 1
			m.gone.at(name)
			m.heldSeconds.at(name).value = max(m.heldSeconds.at(name).value, lasted)
		case history.Wait:
			name := m.lock(i.Name)
			m.waiters.at(name).value++
			m.oldestWait.at(name).value = max(m.oldestWait.at(name).value, lasted)
		case history.Pressure:
			m.gateWaiters.at().value++
		case history.Build:
			m.builds.at().value++
		case history.Runner:
			m.runners.at(i.Name, i.End).value = 1
		}
	}
	for _, i := range ended {
		m.count(i)
	}
	for resource, percent := range map[string]int{"memory": l.Stall.Memory, "io": l.Stall.IO, "cpu": l.Stall.CPU} {
		if !l.Stall.Time.IsZero() && percent >= 0 {
			m.stall.at(resource).value = float64(percent) / 100
		}
	}
}

// count counts an interval that has ended.
func (m *Metrics) count(i history.Interval) {
	lasted := i.Until.Sub(i.From).Seconds()
	if i.End == history.EndUnseen {
		return // nobody knows how long it lasted
	}
	switch i.Kind {
	case history.Hold:
		m.holds.at(m.lock(i.Name), m.repository(i.Who)).observe(lasted)
		if i.End == history.EndTakenOver {
			m.takeovers.at(m.lock(i.Name), evidenceKind(i.Evidence)).value++
		}
	case history.Wait:
		m.waits.at(m.lock(i.Name), m.repository(i.Who)).observe(lasted)
		if i.End == history.EndGaveUp {
			m.gaveUp.at(m.lock(i.Name)).value++
		}
	case history.Pressure:
		m.gateWaits.at(m.repository(i.Who)).observe(lasted)
	}
}

func (m *Metrics) lock(name string) string { return bounded(&m.locks, name, maxLocks) }

// repository returns the label for somebody, who may be nobody's job.
func (m *Metrics) repository(who history.Who) string {
	if who.Repository == "" {
		return "none"
	}
	return bounded(&m.repositories, who.Repository, maxRepositories)
}

// bounded returns a name that has a label, or "other" once there are as many as may be.
func bounded(names *[]string, name string, most int) string {
	name = cut(name, maxLabel)
	if slices.Contains(*names, name) {
		return name
	}
	if len(*names) >= most {
		return others
	}
	*names = append(*names, name)
	return name
}

// evidenceKind returns what kind of evidence proved that a holder was gone. Its text names
// pids and times, of which each would be a label of its own.
func evidenceKind(text string) string {
	for _, kind := range []struct{ word, name string }{
		{" old and may be taken over", "age"}, {"rebooted", "reboot"}, {"job directory", "job directory"},
		{"container", "container"}, {"runner", "runner"}, {"worker", "runner"}, {"process", "process"}, {"run ", "run"},
	} {
		if strings.Contains(text, kind.word) {
			return kind.name
		}
	}
	return others
}
