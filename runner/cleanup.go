package runner

import (
	"fmt"
	"path/filepath"
	"strings"
)

// The units that clean in the background, and the timer which they replace.
const (
	CleanupService  = "hostguard-clean-diag.service"
	CleanupTimer    = "hostguard-clean-diag.timer"
	OldCleanupTimer = "runner-diag-cleanup.timer"
)

// Cleanup describes the units that clean the roots of GitHub runners.
type Cleanup struct {
	Scope   string // system or user
	User    string // of a system unit
	Program string // hostguard
	Roots   []string
}

// confinement takes away what clean-diag does not need and any manager can take: it reads
// /proc, and reads and removes files. A refused system call is an error and not the end,
// because Go asks for more open files when it starts.
const confinement = `NoNewPrivileges=yes
UMask=0077
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
`

// noCapabilities is for services of plain users. Root needs capabilities to see the open
// files of another process that has some.
const noCapabilities = "CapabilityBoundingSet=\n"

// systemConfinement is what only the system's manager can take away. strict alone leaves
// /home, /root and /run/user writable (systemd 252).
const systemConfinement = `PrivateDevices=yes
PrivateNetwork=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectHome=read-only
ProtectSystem=strict
ReadWritePaths=`

// Service returns the text of the service. A system service may write only _diag of its
// roots. A user service may write where its user may: its manager could change that only in
// a user namespace (PrivateUsers, which systemd after 252 implies), from which the kernel
// does not show processes outside, so clean-diag could not see the open files of a
// worker. For the same reason the service does not hide processes (ProtectProc).
func (c Cleanup) Service() (string, error) {
	for _, path := range append([]string{c.Program}, c.Roots...) {
		if err := CheckUnitPath(path); err != nil {
			return "", err
		}
	}
	var t strings.Builder
	t.WriteString("# Written by hostguard runner cleanup-timer.\n" +
		"[Unit]\nDescription=Removal of left-over diagnostics of GitHub's runner\n\n[Service]\nType=oneshot\n")
	if c.Scope == "system" {
		fmt.Fprintf(&t, "User=%s\n", c.User)
	}
	for _, root := range c.Roots {
		fmt.Fprintf(&t, "ExecStart=%q clean-diag -runner-root %q\n", c.Program, root)
	}
	t.WriteString(confinement)
	if c.Scope != "system" {
		return t.String(), nil
	}
	if c.User != "root" {
		t.WriteString(noCapabilities)
	}
	t.WriteString(systemConfinement)
	for i, root := range c.Roots {
		if i > 0 {
			t.WriteByte(' ')
		}
		fmt.Fprintf(&t, "\"-%s\"", filepath.Join(root, "_diag"))
	}
	t.WriteString("\n")
	return t.String(), nil
}

// Timer returns the text of the timer.
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

// Cleanups returns the timers that clean on this host, hostguard's first.
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
