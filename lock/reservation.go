package lock

import "time"

// MaxReservation is the most that a claim can reserve a lock for: MaxStaleAfter, and as much again
// for waiting until it has others as well.
const MaxReservation = 2 * MaxStaleAfter

// Reserve returns c as the claim of a reservation by somebody, for d: it holds a lock that long,
// whatever becomes of the process, of the job and, where the store keeps entries, of this boot of
// the host. So it has nothing that shows whether they live, and no release by job or caller matches
// it. A hostguard that knows no reservations goes by its age, too: see labels.
func (c Claim) Reserve(d time.Duration, by string) Claim {
	job := Job{Server: c.Job.Server, Repository: c.Job.Repository, Workflow: c.Job.Workflow, Job: c.Job.Job,
		RunURL: c.Job.RunURL, Actor: by}
	return Claim{Nonce: c.Nonce, Place: c.Place, Process: c.Process, Job: job, Reason: c.Reason, Priority: c.Priority,
		StaleAfter: c.StaleAfter, Reserved: d}
}

// ReservedUntil returns when a reservation ends, by the store's clock; zero if c is none.
func (c Claim) ReservedUntil() time.Time {
	if c.Reserved == 0 {
		return time.Time{}
	}
	return c.Created.Add(min(c.Reserved, MaxReservation))
}

// byReservation judges a reservation by its age alone, which is proof either way: it was made to end.
func byReservation(c Claim, age time.Duration) Verdict {
	if age < min(c.Reserved, MaxReservation) {
		return Verdict{Alive, "its reservation has not ended"}
	}
	return Verdict{Dead, "its reservation has ended"}
}
