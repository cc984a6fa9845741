package lockwire

import (
	"fmt"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/lock"
)

// DescribeHolder returns a clause about an entry, for people.
func DescribeHolder(e lock.Entry, now time.Time) string {
	c, ours := e.Claim()
	if !ours {
		return "held by an entry made without hostguard, since " + cli.Since(e.Created, now)
	}
	var b strings.Builder
	until := c.ReservedUntil()
	if until.IsZero() {
		b.WriteString("held")
	} else {
		fmt.Fprintf(&b, "reserved until %s", until.UTC().Format("2006-01-02 15:04Z"))
	}
	switch {
	case c.Job.Repository != "":
		fmt.Fprintf(&b, " by %.200q", c.Job.Repository)
	case until.IsZero(): // of a reservation its process shows nothing
		fmt.Fprintf(&b, " by %s", personOf(c))
	}
	for _, part := range []struct{ word, value string }{
		{"workflow", c.Job.Workflow}, {"job", c.Job.Job}, {"run", c.Job.RunURL}, {"by", c.Job.Actor},
		{"reason", c.Reason},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, ", %s %.200q", part.word, part.value)
		}
	}
	switch {
	case c.Share:
		b.WriteString(", shared")
	case c.Slots > 1 && e.Slot() > 0:
		fmt.Fprintf(&b, ", slot %d of %d", e.Slot(), c.Slots)
	}
	fmt.Fprintf(&b, ", since %s", cli.Since(e.Created, now))
	return b.String()
}

// String returns the person as "root (pid 4160, bash), from a shell".
func (p person) String() string {
	if p.user == "" {
		return fmt.Sprintf("process %d, from a shell", p.pid)
	}
	return fmt.Sprintf("%s (pid %d, %s), from a shell", cli.Word(p.user), p.pid, cli.Word(p.program))
}
