// Package history is what happened on a host, as intervals: who held a lock, who waited for
// it and for whom, which heavy builds ran, and when nobody looked. The observer writes it
// (Writer), and "why", "report" and the page read it (Read). From it comes the answer why a
// job waited (Explain). Values go in and verdicts come out: the package knows no store, no
// daemon and no clock but the ones that it is given.
package history

import "time"

// Kind is what an interval is about.
type Kind string

const (
	Hold      Kind = "hold"      // Name is the lock that Who held
	Wait      Kind = "wait"      // Name is the lock that Who waited for
	Pressure  Kind = "pressure"  // Who waited at the pressure gate; Name is empty
	Build     Kind = "build"     // a heavy build ran; Name is what it is, such as "next build"
	Container Kind = "container" // a task container; Name is its name
	Runner    Kind = "runner"    // Name is a runner, End its state: up, draining, drained or stopped
	Reserved  Kind = "reserved"  // a lock that an operator reserved
)

// The ways in which an interval ends. A runner's is the state that it was in.
const (
	EndReleased  = "released"   // of a hold
	EndTakenOver = "taken over" // of a hold: Evidence is what proved that its holder was gone
	EndAcquired  = "acquired"   // of a wait: it got the lock, or the gate's clearance
	EndGaveUp    = "gave up"    // of a wait: its time was over, or its job was cancelled
	EndUnseen    = "unseen"     // the observer ended first: Until is its last look
)

// Interval is one thing that lasted. Its texts come from labels, which others write.
type Interval struct {
	ID    string // stable, unique in a history; of a lock's holder or waiter from the entry's ID
	Kind  Kind
	Name  string
	Who   Who
	What  string // why it holds or waits, such as "image build"; of a build where it runs
	From  time.Time
	Until time.Time // of an open interval the last look that saw it
	Open  bool      // it had not ended then
	End   string    // one of the ends above; empty while it is open

	Evidence string // of a hold: why its holder counts as alive, or as gone
	Plain    bool   // of a hold: a plain "docker network create" by nobody knows whom
}

// Who is a job, as its claim describes it, or somebody's shell.
type Who struct {
	Repository, Workflow, Job string
	Run                       string // the run's number
	RunURL                    string
	Actor                     string
	Person                    string // outside jobs: who and where, such as "root, pid 28719"
}

// Stall is how much of the time tasks stood still, in percent, over the 10 s before Time
// (/proc/pressure). A negative value is unknown.
type Stall struct {
	Time            time.Time
	Memory, IO, CPU int
}
