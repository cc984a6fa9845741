package proc

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"hostguard/lock"
)

// Person returns whose process it is and the name of its program, such as root and bash; false
// where there is no such process any more. A process gives itself any name.
func (h Host) Person(p lock.Process) (name, program string, seen bool) {
	start, err := h.Start(p.PID)
	if p.Start == 0 || err != nil || start != p.Start {
		return "", "", false
	}
	uid := h.userOf(p.PID)
	comm, err := os.ReadFile(filepath.Join(h.Proc, strconv.Itoa(p.PID), "comm"))
	if uid < 0 || err != nil {
		return "", "", false
	}
	name = "user " + strconv.Itoa(uid)
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		name = u.Username
	}
	return name, strings.TrimSuffix(string(comm), "\n"), true
}
