package lock

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// Claim is how an entry describes its maker: a lock's holder, or a waiter. It is
// read from labels, which others write and may forge: it is printed quoted, and
// never used as a path to delete, a program to run or an address.
type Claim struct {
	Nonce   string    // of the process that made the entry
	Create  string    // fresh for every create
	Created time.Time // when the entry was created, by the store's clock

	Job     Job
	Place   Place
	Process Process // that made the entry
	Command bool    // with-lock: the lock lives as long as that command
	Alone   bool    // with Command: there is only Process, which starts no other

	Container string  // ID, once the same engine has shown that it is this one
	Started   string  // start time of that container, as the engine writes it
	JobDir    string  // the runner's private directory of this job
	Actions   bool    // "act" was in that directory; it goes first when the directory is removed
	Runner    Process // the runner or worker process above the job
	Parent    Process // the caller, where there is no job
	Step      Process // the topmost process below the runner, or this one
	Cgroup    string  // control group, after the namespace in which it has that name
	Net       string  // with-lock: the network namespace of the socket that its command inherits
	Limit     bool    // with-lock: its command inherits a resource limit made of the nonce
	Tracking  string  // the mark of GitHub's runner on this job's processes

	Workspace  string
	Reason     string
	StaleAfter time.Duration
	Reserved   time.Duration // for so long it holds the lock whatever lives; 0 is no reservation
	Uptime     time.Duration // the host's boot-time clock at the announcement

	Priority string // PriorityHigh or PriorityNormal
	Slots    int    // of the lock, as its maker counts them; 0 is 1
	Share    bool   // it shares the lock with others who do
}

// Job identifies a job, as the runner describes it to the job's steps.
type Job struct {
	Server, Repository, Workflow, Job string
	RunID, RunNumber, Attempt, RunURL string
	Actor, Event, RunnerName          string

	// Task is unique to one attempt of one job of one server. The job itself
	// claims it, so it distinguishes jobs and proves nothing.
	Task string
}

// SameTask reports whether both are one task of one repository. Their runs and servers
// are compared where both are known.
func (j Job) SameTask(other Job) bool {
	return j.Task != "" && j.Task == other.Task && j.Repository != "" && j.Repository == other.Repository &&
		(j.RunID == "" || other.RunID == "" || j.RunID == other.RunID) &&
		(j.Server == "" || other.Server == "" || j.Server == other.Server)
}

// Place is a host, its boot and the namespaces of a process. Empty is unknown.
type Place struct {
	Machine   string // machine id, which not every machine has
	Boot      string // boot id, which identifies the machine as well
	PIDs      string // pid namespace
	Times     string // time namespace, to which start times and uptimes belong; "" is the first
	Mounts    string // mount namespace
	Network   string // network namespace; of a waiter only if it hears its bell there
	Container bool   // inside some container
	Local     bool   // the engine is on this machine
}

// Process identifies a process, also against a later one of the same pid.
type Process struct {
	PID   int
	Start uint64 // in clock ticks since boot; 0 is unknown
}

const labelVersion = "1"

// maxText bounds a label, which may be a path. Labels of others can have any length.
const maxText = 4096

// The kinds of entries that hostguard makes.

const (
	kindLock   = "lock"
	kindTicket = "ticket"
	kindWake   = "wake"
	kindNote   = "note"
)

// texts returns the fields that are written unchanged, by label.
func (c *Claim) texts() map[string]*string {
	return map[string]*string{
		"nonce": &c.Nonce, "create": &c.Create,
		"server": &c.Job.Server, "repository": &c.Job.Repository, "workflow": &c.Job.Workflow,
		"job": &c.Job.Job, "run-id": &c.Job.RunID, "run-number": &c.Job.RunNumber,
		"run-attempt": &c.Job.Attempt, "run-url": &c.Job.RunURL, "actor": &c.Job.Actor,
		"event": &c.Job.Event, "runner-name": &c.Job.RunnerName, "task": &c.Job.Task,
		"machine": &c.Place.Machine, "boot": &c.Place.Boot, "pid-namespace": &c.Place.PIDs,
		"time-namespace": &c.Place.Times, "mount-namespace": &c.Place.Mounts,
		"network-namespace": &c.Place.Network,
		"container-id":      &c.Container, "container-started": &c.Started, "job-dir": &c.JobDir,
		"cgroup": &c.Cgroup, "net-namespace": &c.Net, "tracking": &c.Tracking,
		"workspace": &c.Workspace, "reason": &c.Reason, "priority": &c.Priority,
	}
}

func (c *Claim) processes() map[string]*Process {
	return map[string]*Process{"process": &c.Process, "runner": &c.Runner, "parent": &c.Parent, "step": &c.Step}
}

func (c *Claim) durations() map[string]*time.Duration {
	return map[string]*time.Duration{"stale-after": &c.StaleAfter, "reserved": &c.Reserved, "uptime": &c.Uptime}
}

func (c *Claim) flags() map[string]*bool {
	return map[string]*bool{
		"command": &c.Command, "alone": &c.Alone, "in-container": &c.Place.Container,
		"local": &c.Place.Local, "limit": &c.Limit, "actions-dir": &c.Actions, "share": &c.Share,
	}
}

const labelPrefix = "hostguard."

// labels returns c as the labels of an entry. Empty fields are left out.
func (c Claim) labels(kind string) map[string]string {
	labels := map[string]string{labelPrefix + "version": labelVersion, labelPrefix + "kind": kind}
	if c.Reserved > 0 { // c's own is what it grants to locks made without hostguard
		c.StaleAfter = min(c.Reserved, MaxStaleAfter)
	}
	set := func(name, value string) {
		if value != "" && len(value) <= maxText { // nobody would read a longer one
			labels[labelPrefix+name] = value
		}
	}
	for name, field := range c.texts() {
		set(name, *field)
	}
	for name, field := range c.processes() {
		if field.PID != 0 {
			set(name, fmt.Sprintf("%d@%d", field.PID, field.Start))
		}
	}
	for name, field := range c.durations() {
		if *field != 0 {
			set(name, field.String())
		}
	}
	for name, field := range c.flags() {
		if *field {
			set(name, "true")
		}
	}
	if c.Slots > 1 {
		set("slots", strconv.Itoa(c.Slots))
	}
	return labels
}

// fresh returns c for a new entry, with a nonce of its own and the time on the
// host's boot-time clock.
func (s *Space) fresh(c Claim) Claim {
	c.Create, c.Uptime = NewNonce(), s.Host.Uptime()
	return c
}

// ofWaiter returns c without the fields that only the evidence about a holder needs,
// because every release reads all tickets. A waiter is judged by its process and container.
func (c Claim) ofWaiter() Claim {
	c.Cgroup, c.Net, c.Tracking, c.Limit, c.StaleAfter, c.Reserved = "", "", "", false, 0, 0
	c.Actions, c.Runner, c.Parent, c.Step = false, Process{}, Process{}, Process{}
	c.Job.Server, c.Job.RunID, c.Job.RunNumber, c.Job.Attempt, c.Job.Event, c.Job.RunnerName = "", "", "", "", "", ""
	return c
}

// Claim reads an entry's labels. ours is false for entries that hostguard did not
// make, such as that of a plain "docker network create NAME". A label that cannot
// be read leaves its field empty, which is unknown.
func (e Entry) Claim() (c Claim, ours bool) {
	if e.plain() {
		return Claim{}, false
	}
	c.Created = e.Created
	for name, field := range c.texts() {
		if text := e.label(name); len(text) <= maxText {
			*field = text
		}
	}
	for name, field := range c.processes() {
		pid, start, _ := strings.Cut(e.label(name), "@")
		p, errPID := strconv.Atoi(pid)
		s, errStart := strconv.ParseUint(start, 10, 64)
		if errPID == nil && errStart == nil && p > 0 {
			*field = Process{p, s}
		}
	}
	for name, field := range c.durations() {
		if d, err := time.ParseDuration(e.label(name)); err == nil && d >= 0 {
			*field = d
		}
	}
	for name, field := range c.flags() {
		*field = e.label(name) == "true"
	}
	if n, err := strconv.Atoi(e.label("slots")); err == nil && n > 1 {
		c.Slots = n
	}
	return c, true
}

func (e Entry) label(name string) string { return e.Labels[labelPrefix+name] }

// plain reports whether e was made without hostguard, by a client that follows no protocol.
func (e Entry) plain() bool { return e.label("version") == "" }

// madeBy reports whether the process that c describes made e. A missing nonce matches
// no process.
func (e Entry) madeBy(c Claim) bool { return c.Nonce != "" && e.label("nonce") == c.Nonce }

// with returns a copy of labels with one more.
func with(labels map[string]string, name, value string) map[string]string {
	labels = maps.Clone(labels)
	labels[labelPrefix+name] = value
	return labels
}

// SameJob reports whether c and other are steps of one job: of the same private
// job directory or the same worker of GitHub's runner, in the same container if
// any, or of the same task in one container. A missing identity equals nothing, not
// even another missing one. Names are not compared: the legs of a matrix share
// them, and everything that runs in one container shares the container's.
func (c Claim) SameJob(other Claim) bool {
	if c.Container != other.Container || c.Container == "" && !c.Place.same(other.Place) {
		return false
	}
	if c.JobDir != "" || other.JobDir != "" {
		return c.JobDir == other.JobDir && c.Place.Mounts == other.Place.Mounts
	}
	if c.Runner.PID != 0 || other.Runner.PID != 0 {
		return c.Runner.known() && c.Runner == other.Runner && c.Place.same(other.Place)
	}
	return c.Container != "" && c.Job.SameTask(other.Job)
}

// SameCaller reports whether, outside any job, the same shell ran both.
func (c Claim) SameCaller(other Claim) bool {
	return c.OutsideJobs() && other.OutsideJobs() && c.Container == other.Container &&
		c.Place.same(other.Place) && c.Parent.known() && c.Parent == other.Parent
}

// OutsideJobs reports whether no runner started c, but a shell, cron or a service.
func (c Claim) OutsideJobs() bool { return c.JobDir == "" && c.Runner.PID == 0 && c.Job.RunID == "" }

// ownContainer reports whether c's container exists for c's job alone and lives as
// long. Its steps are started from outside, so no runner is seen above them.
func (c Claim) ownContainer() bool {
	return c.Container != "" && !c.Command && c.JobDir == "" && c.Runner.PID == 0 && c.Job.RunID != ""
}

func (p Process) known() bool { return p.PID > 0 && p.Start > 0 }

// local reports whether the engine was on that machine. The first version recorded
// the machine only then.
func (p Place) local() bool { return p.Local || p.Machine != "" }

// same reports whether pids and start times mean the same in both places.
func (p Place) same(other Place) bool {
	return p.local() && other.local() && p.sameMachine(other) && p.Boot != "" && p.Boot == other.Boot &&
		p.PIDs != "" && p.PIDs == other.PIDs && p.Times == other.Times
}

// sameMachine returns false where machine ids prove two machines. Many machines have
// none, and those made from one image may share theirs.
func (p Place) sameMachine(other Place) bool {
	return p.Machine == "" || other.Machine == "" || p.Machine == other.Machine
}
