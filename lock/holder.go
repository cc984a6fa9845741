package lock

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// Holder is who holds a lock or waits for it, as its entry's labels tell. What
// is read from labels was written by others and may be forged: it is shown
// quoted, and never used as a path to delete, a program to run or an address.
type Holder struct {
	Nonce  string // of the acquiring process
	Create string // fresh for every create

	Job     Job
	Place   Place
	Process Process // the acquiring process
	Command bool    // with-lock: the lock lives as long as that command

	Container string  // ID, once the same engine has shown that container
	JobDir    string  // the runner's private directory of this job
	Runner    Process // the runner or worker process above the job
	Parent    Process // who called, where there is no job
	Step      Process // the topmost process below the runner, or this one
	Cgroup    string  // control group, after the namespace that it is a name in

	Workspace  string
	Reason     string
	StaleAfter time.Duration
	Uptime     time.Duration // the host's boot-time clock at the announcement

	Priority string // PriorityHigh or PriorityNormal
}

// Job is what a runner tells a step about itself.
type Job struct {
	Server, Repository, Workflow, Job string
	RunID, RunNumber, Attempt, RunURL string
	Actor, Event, RunnerName          string
}

// Place tells hosts, boots and namespaces apart; empty is unknown.
type Place struct {
	Machine   string // machine id; recorded only where the engine is local
	Boot      string // boot id
	PIDs      string // pid namespace
	Mounts    string // mount namespace
	Container bool   // inside some container
}

// Process is a process that a later one of the same pid cannot be mistaken for.
type Process struct {
	PID   int
	Start uint64 // clock ticks from boot to its start; 0 is unknown
}

const labelVersion = "1"

// maxText is how long a label of ours can be: it may hold a path. Others' can
// have any length.
const maxText = 4096

const (
	kindLock   = "lock"
	kindTicket = "ticket"
	kindWake   = "wake"
)

// texts are the fields that are labels as they are.
func (h *Holder) texts() map[string]*string {
	return map[string]*string{
		"nonce": &h.Nonce, "create": &h.Create,
		"server": &h.Job.Server, "repository": &h.Job.Repository, "workflow": &h.Job.Workflow,
		"job": &h.Job.Job, "run-id": &h.Job.RunID, "run-number": &h.Job.RunNumber,
		"run-attempt": &h.Job.Attempt, "run-url": &h.Job.RunURL, "actor": &h.Job.Actor,
		"event": &h.Job.Event, "runner-name": &h.Job.RunnerName,
		"machine": &h.Place.Machine, "boot": &h.Place.Boot, "pid-namespace": &h.Place.PIDs,
		"mount-namespace": &h.Place.Mounts, "container-id": &h.Container, "job-dir": &h.JobDir,
		"cgroup": &h.Cgroup, "workspace": &h.Workspace, "reason": &h.Reason, "priority": &h.Priority,
	}
}

func (h *Holder) processes() map[string]*Process {
	return map[string]*Process{"process": &h.Process, "runner": &h.Runner, "parent": &h.Parent, "step": &h.Step}
}

func (h *Holder) durations() map[string]*time.Duration {
	return map[string]*time.Duration{"stale-after": &h.StaleAfter, "uptime": &h.Uptime}
}

func (h *Holder) flags() map[string]*bool {
	return map[string]*bool{"command": &h.Command, "in-container": &h.Place.Container}
}

const labelPrefix = "hostguard."

// labels writes h down. Empty fields are left out.
func (h Holder) labels(kind string) map[string]string {
	labels := map[string]string{labelPrefix + "version": labelVersion, labelPrefix + "kind": kind}
	set := func(name, value string) {
		if value != "" {
			labels[labelPrefix+name] = value
		}
	}
	for name, field := range h.texts() {
		set(name, *field)
	}
	for name, field := range h.processes() {
		if field.PID != 0 {
			set(name, fmt.Sprintf("%d@%d", field.PID, field.Start))
		}
	}
	for name, field := range h.durations() {
		if *field != 0 {
			set(name, field.String())
		}
	}
	for name, field := range h.flags() {
		if *field {
			set(name, "true")
		}
	}
	return labels
}

// waiter is h without what only the evidence about a holder needs: every release
// reads all tickets. A ticket is judged by its process and its container.
func (h Holder) waiter() Holder {
	h.Cgroup, h.StaleAfter = "", 0
	h.Runner, h.Parent, h.Step = Process{}, Process{}, Process{}
	h.Job.Server, h.Job.RunID, h.Job.RunNumber, h.Job.Attempt, h.Job.Event, h.Job.RunnerName = "", "", "", "", "", ""
	return h
}

// Holder reads an entry's labels. It is false for entries that are not
// hostguard's, such as a plain "docker network create NAME". Labels that cannot
// be read leave their field empty, which is unknown.
func (e Entry) Holder() (h Holder, ours bool) {
	if e.label("version") == "" {
		return Holder{}, false
	}
	for name, field := range h.texts() {
		if text := e.label(name); len(text) <= maxText {
			*field = text
		}
	}
	for name, field := range h.processes() {
		pid, start, _ := strings.Cut(e.label(name), "@")
		p, errPID := strconv.Atoi(pid)
		s, errStart := strconv.ParseUint(start, 10, 64)
		if errPID == nil && errStart == nil && p > 0 {
			*field = Process{p, s}
		}
	}
	for name, field := range h.durations() {
		if d, err := time.ParseDuration(e.label(name)); err == nil && d >= 0 {
			*field = d
		}
	}
	for name, field := range h.flags() {
		*field = e.label(name) == "true"
	}
	return h, true
}

func (e Entry) label(name string) string { return e.Labels[labelPrefix+name] }

// with returns labels and one more.
func with(labels map[string]string, name, value string) map[string]string {
	labels = maps.Clone(labels)
	labels[labelPrefix+name] = value
	return labels
}

// SameJob tells whether h and other are steps of one job: of the same private
// job directory, the same container, or the same worker of GitHub's runner.
// Run id and job name would not do: the legs of a matrix share them.
func (h Holder) SameJob(other Holder) bool {
	if h.Container != other.Container {
		return false
	}
	if h.Container != "" { // the job's own, or that of a runner of several jobs
		return h.JobDir == other.JobDir
	}
	if !h.Place.same(other.Place) {
		return false
	}
	if h.JobDir != "" || other.JobDir != "" {
		return h.JobDir == other.JobDir && h.Place.Mounts == other.Place.Mounts
	}
	if h.Runner.PID != 0 || other.Runner.PID != 0 {
		return h.Runner.known() && h.Runner == other.Runner
	}
	return false
}

// SameCaller tells whether, outside any job, the same shell ran both.
func (h Holder) SameCaller(other Holder) bool {
	return h.JobDir == "" && other.JobDir == "" && h.Container == "" && other.Container == "" &&
		h.Runner.PID == 0 && other.Runner.PID == 0 &&
		h.Place.same(other.Place) && h.Parent.known() && h.Parent == other.Parent
}

func (p Process) known() bool { return p.PID > 0 && p.Start > 0 }

// same tells that pids mean the same in both places.
func (p Place) same(other Place) bool {
	return p.Machine != "" && p.Boot != "" && p.PIDs != "" &&
		p.Machine == other.Machine && p.Boot == other.Boot && p.PIDs == other.PIDs
}
