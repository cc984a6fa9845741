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
	Nonce   string    // of the acquiring process
	Create  string    // fresh for every create
	Created time.Time // of the entry that this was read from, by the store's clock

	Job     Job
	Place   Place
	Process Process // the acquiring process
	Command bool    // with-lock: the lock lives as long as that command
	Alone   bool    // with Command: the acquiring process itself, which starts no other

	Container string  // ID, once the same engine has shown that it is this one
	Started   string  // when that container was, in the engine's words
	JobDir    string  // the runner's private directory of this job
	Actions   bool    // "act" was in that directory, which is gone once the directory is being removed
	Runner    Process // the runner or worker process above the job
	Parent    Process // who called, where there is no job
	Step      Process // the topmost process below the runner, or this one
	Cgroup    string  // control group, after the namespace that it is a name in
	Net       string  // with-lock: the network namespace of the socket that its command inherits
	Limit     bool    // with-lock: its command inherits a resource limit made of the nonce
	Tracking  string  // what GitHub's runner marks this job's processes with

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

	// Task is unique to one attempt of one job of one server. The job itself says
	// so: it tells jobs apart and proves nothing.
	Task string
}

// SameTask reports whether both are one task of one repository. A run is compared
// where both know it.
func (j Job) SameTask(other Job) bool {
	return j.Task != "" && j.Task == other.Task && j.Repository != "" && j.Repository == other.Repository &&
		(j.RunID == "" || other.RunID == "" || j.RunID == other.RunID)
}

// Place tells hosts, boots and namespaces apart; empty is unknown.
type Place struct {
	Machine   string // machine id, which not every machine has
	Boot      string // boot id, which tells the machine as well
	PIDs      string // pid namespace
	Times     string // time namespace, which start times and uptimes are of; "" is the first
	Mounts    string // mount namespace
	Container bool   // inside some container
	Local     bool   // the engine is on this machine
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
	kindNote   = "note"
)

// texts are the fields that are labels as they are.
func (h *Holder) texts() map[string]*string {
	return map[string]*string{
		"nonce": &h.Nonce, "create": &h.Create,
		"server": &h.Job.Server, "repository": &h.Job.Repository, "workflow": &h.Job.Workflow,
		"job": &h.Job.Job, "run-id": &h.Job.RunID, "run-number": &h.Job.RunNumber,
		"run-attempt": &h.Job.Attempt, "run-url": &h.Job.RunURL, "actor": &h.Job.Actor,
		"event": &h.Job.Event, "runner-name": &h.Job.RunnerName, "task": &h.Job.Task,
		"machine": &h.Place.Machine, "boot": &h.Place.Boot, "pid-namespace": &h.Place.PIDs,
		"time-namespace": &h.Place.Times, "mount-namespace": &h.Place.Mounts,
		"container-id": &h.Container, "container-started": &h.Started, "job-dir": &h.JobDir,
		"cgroup": &h.Cgroup, "net-namespace": &h.Net, "tracking": &h.Tracking,
		"workspace": &h.Workspace, "reason": &h.Reason, "priority": &h.Priority,
	}
}

func (h *Holder) processes() map[string]*Process {
	return map[string]*Process{"process": &h.Process, "runner": &h.Runner, "parent": &h.Parent, "step": &h.Step}
}

func (h *Holder) durations() map[string]*time.Duration {
	return map[string]*time.Duration{"stale-after": &h.StaleAfter, "uptime": &h.Uptime}
}

func (h *Holder) flags() map[string]*bool {
	return map[string]*bool{
		"command": &h.Command, "alone": &h.Alone, "in-container": &h.Place.Container, "local": &h.Place.Local, "limit": &h.Limit, "actions-dir": &h.Actions,
	}
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
	h.Cgroup, h.Net, h.Tracking, h.Limit, h.StaleAfter = "", "", "", false, 0
	h.Actions, h.Runner, h.Parent, h.Step = false, Process{}, Process{}, Process{}
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
	h.Created = e.Created
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
// job directory or the same worker of GitHub's runner, in the same container if
// any, or in one container of the same task. An identity that is missing equals nothing, not even another missing one.
// Names would not do: the legs of a matrix share them, and all that is run in one
// container shares that.
func (h Holder) SameJob(other Holder) bool {
	if h.Container != other.Container || h.Container == "" && !h.Place.same(other.Place) {
		return false
	}
	if h.JobDir != "" || other.JobDir != "" {
		return h.JobDir == other.JobDir && h.Place.Mounts == other.Place.Mounts
	}
	if h.Runner.PID != 0 || other.Runner.PID != 0 {
		return h.Runner.known() && h.Runner == other.Runner && h.Place.same(other.Place)
	}
	return h.Container != "" && h.Job.SameTask(other.Job)
}

// SameCaller tells whether, outside any job, the same shell ran both.
func (h Holder) SameCaller(other Holder) bool {
	return h.OutsideJobs() && other.OutsideJobs() && h.Container == other.Container &&
		h.Place.same(other.Place) && h.Parent.known() && h.Parent == other.Parent
}

// OutsideJobs tells that no runner started h: a shell or cron did, or a service.
func (h Holder) OutsideJobs() bool { return h.JobDir == "" && h.Runner.PID == 0 && h.Job.RunID == "" }

// ownContainer tells that the container was made for h's job alone, and lives as
// long: its steps are run in it from outside, so that no runner is seen above.
func (h Holder) ownContainer() bool {
	return h.Container != "" && !h.Command && h.JobDir == "" && h.Runner.PID == 0 && h.Job.RunID != ""
}

func (p Process) known() bool { return p.PID > 0 && p.Start > 0 }

// local tells that the engine was local. The first version recorded the machine
// only then.
func (p Place) local() bool { return p.Local || p.Machine != "" }

// same tells that pids and start times mean the same in both places.
func (p Place) same(other Place) bool {
	return p.local() && other.local() && p.sameMachine(other) && p.Boot != "" && p.Boot == other.Boot &&
		p.PIDs != "" && p.PIDs == other.PIDs && p.Times == other.Times
}

// sameMachine is false where machine ids tell two machines apart. Many have none,
// and one that was made from another's image may have its.
func (p Place) sameMachine(other Place) bool {
	return p.Machine == "" || other.Machine == "" || p.Machine == other.Machine
}
