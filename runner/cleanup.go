package runner

import (
	"fmt"
	"path/filepath"
	"strings"
)

// The units that clean in the background, and the timer that they replace.
const (
	CleanupService  = "hostguard-clean-diag.service"
	CleanupTimer    = "hostguard-clean-diag.timer"
	OldCleanupTimer = "runner-diag-cleanup.timer"
)

// Cleanup is the cleaning of GitHub runners' roots by a timer.
type Cleanup struct {
	Scope   string // system or user
	User    string // of a system unit
	Program string // hostguard
	Roots   []string
}

// Service is the text of its service. It may write nothing but _diag of its
// roots; /proc stays as it is, since what a process has open is not removed.
func (c Cleanup) Service() (string, error) {
	for _, path := range append([]string{c.Program}, c.Roots...) {
		if err := CheckUnitPath(path); err != nil {
			return "", err
		}
	}
	var t strings.Builder
	t.WriteString("# Written by hostguard runner cleanup-timer.\n[Unit]\nDescription=Removal of left-over diagnostics of GitHub's runner\n\n[Service]\nType=oneshot\n")
	if c.Scope == "system" {
		fmt.Fprintf(&t, "User=%s\n", c.User)
	} else {
		t.WriteString("# Without it the manager of a user ignores ProtectSystem.\nPrivateUsers=yes\n")
	}
	for _, root := range c.Roots {
		fmt.Fprintf(&t, "ExecStart=%q clean-diag -runner-root %q\n", c.Program, root)
	}
	t.WriteString("NoNewPrivileges=yes\nProtectSystem=strict\nReadWritePaths=")
	for i, root := range c.Roots {
		if i > 0 {
			t.WriteByte(' ')
		}
		fmt.Fprintf(&t, "\"-%s\"", filepath.Join(root, "_diag"))
	}
	t.WriteString("\n")
	return t.String(), nil
}

// Timer is the text of its timer.
func (c Cleanup) Timer() string {
	return `# Written by hostguard runner cleanup-timer.
[Unit]
Description=Removal of left-over diagnostics of GitHub's runner

[Timer]
OnBootSec=5min
OnUnitActiveSec=5min

[Install]
WantedBy=timers.target
`
}

// Cleanups are the timers that clean here, the one of hostguard first.
func (h Host) Cleanups() []Unit {
	var timers []Unit
	for _, name := range []string{CleanupTimer, OldCleanupTimer} {
		for _, u := range h.Units {
			if u.Name == name && u.Load == "loaded" {
				timers = append(timers, u)
			}
		}
	}
	return timers
}
