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

// Service is the text of its service. That of the system may write nothing but
// _diag of its roots. A user's is not kept from writing: that manager can only do
// that in a user namespace (PrivateUsers, which later versions than 252 imply),
// from which the kernel lets nobody look into the processes outside, and then
// clean-diag does not see what a worker has open. For the same reason nothing
// here hides processes (ProtectProc).
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
	}
	for _, root := range c.Roots {
		fmt.Fprintf(&t, "ExecStart=%q clean-diag -runner-root %q\n", c.Program, root)
	}
	t.WriteString("NoNewPrivileges=yes\n")
	if c.Scope != "system" {
		return t.String(), nil
	}
	// strict alone leaves /home, /root and /run/user as they are (systemd 252).
	t.WriteString("ProtectSystem=strict\nProtectHome=read-only\nReadWritePaths=")
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
