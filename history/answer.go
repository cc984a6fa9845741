package history

import "time"

// Unwatched is the kind of a part of a wait in which nobody watched and of which no hold
// or build is known.
const Unwatched Kind = "unwatched"

// Answer is why a job waited: what was in the way, in the order in which it was.
type Answer struct {
	Host  string // where
	Who   Who    // the job that waited
	Lock  string // the last one that it waited for; empty if it waited for pressure alone
	From  time.Time
	Until time.Time     // of an open one the last look
	Total time.Duration // at least, if End is EndUnseen: the parts add up to it
	Open  bool          // it still waits
	End   string        // as of an interval
	Parts []Part
	Place int // in the lock's queue when it came; 0 if that is not known
	// WatchedAgain is when somebody watched again after EndUnseen, if ever.
	WatchedAgain time.Time
}

// Part is the time of a wait that has one cause.
type Part struct {
	Kind        Kind // Hold, Reserved, Build, Unwatched, or empty if no cause was seen
	Name        string
	Who         Who
	What        string
	Plain       bool
	End         string // of the cause, as far as it was seen
	Evidence    string
	From, Until time.Time     // clipped to the wait
	Time        time.Duration // in which it was the cause, at most from From until Until
	Held        time.Duration // how long the cause lasted, beyond the wait too
	Usual       time.Duration // how long holds of that job usually last; 0 if that is not known
}
