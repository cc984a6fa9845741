package observe

import (
	"fmt"
	"strings"
)

// UnitName is the name of the observer's unit.
const UnitName = "hostguard-observe.service"

// Unit returns the text of the unit that runs a program as observer, for the system's manager
// or a user's.
//
// Who can ask Docker can do everything with it, and the observer has to: it is confined so
// that a mistake of it writes nothing but its history. It is no dynamic user, whose history
// nobody else could read. Root keeps two capabilities, which only read: without them nobody
// sees which processes work in a job's directory. The service sees the host's processes,
// homes and /tmp, for jobs are there, and it has the host's network to be asked. A user's
// manager could take away more in a user namespace only, from which no process outside is seen.
func Unit(program string, system bool) string {
	var t strings.Builder
	fmt.Fprintf(&t, `# Written by hostguard install.
[Unit]
Description=History of who held hostguard's locks and who waited
After=docker.service

[Service]
ExecStart=%q observe
Restart=on-failure
RestartSec=10
SuccessExitStatus=143
Nice=5
MemoryMax=512M
TasksMax=64
NoNewPrivileges=yes
UMask=0022
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
`, program)
	wantedBy := "default.target"
	if system {
		wantedBy = "multi-user.target"
		t.WriteString(`CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH
StateDirectory=hostguard
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectHome=read-only
ProtectSystem=strict
`)
	}
	fmt.Fprintf(&t, "\n[Install]\nWantedBy=%s\n", wantedBy)
	return t.String()
}
