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
	if until := c.ReservedUntil(); !until.IsZero() {
		fmt.Fprintf(&b, "reserved until %s by ", until.UTC().Format("2006-01-02 15:04Z"))
	} else {
		b.WriteString("held by ")
	}
	if c.Job.Repository == "" {
		fmt.Fprintf(&b, "process %d outside any workflow", c.Process.PID)
	} else {
		fmt.Fprintf(&b, "%.200q", c.Job.Repository)
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
