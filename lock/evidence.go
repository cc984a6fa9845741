package lock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Host is what can be looked up about the machine that this process runs on.
type Host interface {
	// Start returns when the living process pid started, in clock ticks since
	// boot. fs.ErrNotExist says that there is none; any other error, nothing.
	Start(pid int) (uint64, error)
	// Carries looks for a process whose environment holds the nonce in
	// HOSTGUARD_HOLD. complete tells that every process that started no
	// earlier than the given one could be read.
	Carries(nonce string, startedFrom uint64) (found, complete bool)
	// Uptime is the boot-time clock, which no clock step moves.
	Uptime() time.Duration
}

// Life is what evidence says of a holder. Unknown is never dead.
type Life int

const (
	Unknown Life = iota
	Alive
	Dead  // for ever
	Stale // unknown, and older than its stale-after
)

func (l Life) String() string { return [...]string{"unknown", "alive", "orphan", "stale"}[l] }

// Verdict is what was found out about one entry, and from what.
type Verdict struct {
	Life     Life
	Evidence string // a clause that can follow "because"
}

// judge finds out whether the holder of an entry lives. The first evidence that
// answers decides; age is asked last, and never against a proof of life.
//
// Pids and boot ids say something only about the same machine, boot and pid
// namespace; a holder in a container may have a boot id of its own (a VM).
func (m *Mutex) judge(e Entry) Verdict {
	h, ours := e.Holder()
	if !ours {
		return m.byAge(e, cmp.Or(m.Self.StaleAfter, DefaultStaleAfter), "nothing tells whether its owner lives")
	}
	out := "nothing that can be seen from here tells whether it lives"
	if e.label("version") == labelVersion {
		if v := m.byReboot(h); v.Life != Unknown {
			return v
		}
		if h.Command {
			v := m.byCommand(h)
			if v.Life != Unknown {
				return v
			}
			out = v.Evidence
		}
	}
	return m.byAge(e, cmp.Or(h.StaleAfter, MaxStaleAfter), out)
}

func (m *Mutex) byReboot(h Holder) Verdict {
	self := m.Self.Place
	if self.Machine != "" && self.Machine == h.Place.Machine && !self.Container && !h.Place.Container &&
		self.Boot != "" && h.Place.Boot != "" && self.Boot != h.Place.Boot {
		return Verdict{Dead, "the host was rebooted since"}
	}
	return Verdict{}
}

// byCommand judges a holder that runs a command under with-lock. The command
// inherits the nonce, for hostguard may have been killed while it runs on.
func (m *Mutex) byCommand(h Holder) Verdict {
	if !m.Self.Place.same(h.Place) || !h.Process.known() || h.Nonce == "" {
		return Verdict{Unknown, "its processes are out of sight from here"}
	}
	switch m.alive(h.Process) {
	case Alive:
		return Verdict{Alive, fmt.Sprintf("its hostguard process %d runs", h.Process.PID)}
	case Unknown:
		return Verdict{Unknown, fmt.Sprintf("its process %d could not be looked up", h.Process.PID)}
	}
	found, complete := m.Host.Carries(h.Nonce, h.Process.Start)
	switch {
	case found:
		return Verdict{Alive, fmt.Sprintf("its hostguard process %d is gone but its command runs on", h.Process.PID)}
	case !complete:
		return Verdict{Unknown, fmt.Sprintf("its hostguard process %d is gone, but some processes that may be its command's could not be read", h.Process.PID)}
	}
	return Verdict{Dead, fmt.Sprintf("its hostguard process %d is gone and no process of its command is left", h.Process.PID)}
}

// alive looks a process up by pid and start time.
func (m *Mutex) alive(p Process) Life {
	start, err := m.Host.Start(p.PID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Dead
	case err != nil:
		return Unknown
	case start != p.Start:
		return Dead // the pid was given to another
	}
	return Alive
}

func (m *Mutex) byAge(e Entry, stale time.Duration, otherwise string) Verdict {
	stale = min(stale, MaxStaleAfter)
	age := m.age(e)
	if age > stale {
		return Verdict{Stale, fmt.Sprintf("it is %s old and may be taken over after %s; %s", age.Round(time.Second), stale, otherwise)}
	}
	return Verdict{Unknown, otherwise}
}

// age is taken from the boot-time clock where both sides share it: a step of
// the clock would make a living holder old at once.
func (m *Mutex) age(e Entry) time.Duration {
	h, _ := e.Holder()
	if h.Uptime > 0 && h.Place.Boot != "" && h.Place.Boot == m.Self.Place.Boot {
		return m.Host.Uptime() - h.Uptime
	}
	return time.Since(e.Created)
}
