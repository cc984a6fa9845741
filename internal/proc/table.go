package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v3/common"
	"github.com/shirou/gopsutil/v3/process"

	"hostguard/internal/hexid"
	"hostguard/pressure"
)

// Table is the process table that this process sees. It only reads: no signal
// is sent, not even signal 0. A process that ends while it is read is left out;
// a zombie has no arguments.
type Table struct{}

var _ pressure.Table = Table{}

// root is where the kernel shows processes. It is not taken from HOST_PROC, as
// gopsutil would: pids of another namespace prove nothing about this process.
const root = "/proc"

func rooted(ctx context.Context) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{common.HostProcEnvKey: root})
}

// Each calls visit with the arguments of every process. Pids and arguments are
// all it reads: process.Processes() takes four times as long.
func (Table) Each(ctx context.Context, visit func(pid int, argv []string)) (pressure.Scope, error) {
	pids, err := process.PidsWithContext(rooted(ctx))
	if err != nil {
		return "", fmt.Errorf("list processes in %s: %w", root, err)
	}
	scope := pressure.WholeHost
	if !slices.Contains(pids, 1) { // hidepid=2
		scope = pressure.OnlyReadable
	}
	var buf [argvLimit]byte
	for _, pid := range pids {
		argv, err := readArgv(int(pid), buf[:])
		switch {
		case err == nil:
			visit(int(pid), argv)
		case errors.Is(err, fs.ErrPermission): // hidepid=1
			scope = pressure.OnlyReadable
		}
	}
	if !firstPIDNamespace() {
		scope = pressure.OnlyContainer
	}
	return scope, nil
}

// Process reads one process; false means that it is gone, or that its pid is another
// process's by now. gopsutil would read the kernel's boot time twice for each, which
// takes longer than all the rest.
func (Table) Process(ctx context.Context, pid int) (pressure.Process, bool) {
	host := Host{root}
	stat, err := host.stat(pid)
	if err != nil {
		return pressure.Process{}, false
	}
	dir, _ := (&process.Process{Pid: int32(pid)}).CwdWithContext(rooted(ctx)) // refused for processes of other users
	mounts, _ := os.Readlink(pathOf(pid, "ns/mnt"))
	cgroup, _ := readSome(pathOf(pid, "cgroup"), cgroupLimit)
	argv, err := readArgv(pid, make([]byte, argvLimit))
	if err != nil {
		return pressure.Process{}, false
	}
	if again, err := host.stat(pid); err != nil || again.start != stat.start {
		return pressure.Process{}, false
	}
	user := -1
	if info, err := os.Stat(pathOf(pid, "")); err == nil {
		user = int(info.Sys().(*syscall.Stat_t).Uid)
	}
	return pressure.Process{
		PID: pid, Parent: stat.parent, Argv: argv, Dir: dir, User: user,
		Start:  booted().Add(time.Duration(stat.start) * (time.Second / ticks)),
		Mounts: mounts, Cgroup: string(cgroup), Container: containerOf(string(cgroup)),
	}, true
}

// booted returns when this machine was booted, to convert starts to times. It is read
// once: the same process has to have the same start at every look.
var booted = sync.OnceValue(func() time.Time { return time.Now().Add(-Host{}.Uptime()) })

// ticks are the clock ticks of a second in the kernel's interfaces (USER_HZ), on
// every Linux that Go runs on.
const ticks = 100

// cgroupLimit is for a line of PATH_MAX for each of the hierarchies that a
// kernel can have. Names of cgroups are text of whoever makes them.
const cgroupLimit = 64 << 10

func pathOf(pid int, file string) string { return root + "/" + strconv.Itoa(pid) + "/" + file }

// containerOf returns the ID of a container in the path of a cgroup, such as
// /docker/<id> or /system.slice/docker-<id>.scope; the innermost one, for
// containers run in containers.
func containerOf(cgroup string) (id string) {
	for name := range strings.FieldsFuncSeq(cgroup, func(c rune) bool { return strings.ContainsRune("/-.:\n", c) }) {
		if hexid.Is(name, 64) {
			id = name
		}
	}
	return id
}

// argvLimit bounds what is read of one process, at more than any class path.
// Without a bound any user can exhaust our memory: prctl(PR_SET_MM_MAP) lets a process
// declare gigabytes of itself to be its arguments (measured on Linux 6.18: 3 GB
// from /proc/PID/cmdline as nobody), and gopsutil's CmdlineSlice reads them all.
const argvLimit = 64 << 10

// readArgv reads the arguments of a process, up to the last that fits. A
// process that changes its title leaves NULs behind, which are no arguments.
//
// By plain system calls: an os.File asks for three more, which is half of what
// a look at thousands of processes takes.
func readArgv(pid int, buf []byte) ([]string, error) {
	fd, err := syscall.Open(pathOf(pid, "cmdline"), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	n, _ := syscall.Read(fd, buf) // an error is a process that ended: no arguments
	syscall.Close(fd)
	text := buf[:max(0, n)]
	if n == len(buf) {
		text = text[:bytes.LastIndexByte(text, 0)+1]
	}
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 {
		return nil, nil
	}
	return strings.Split(string(text), "\x00"), nil
}

// firstPIDNamespace reports whether all processes of the machine can be seen. A
// file such as /.dockerenv proves nothing about containers that share the host's
// pids.
func firstPIDNamespace() bool {
	name, err := os.Readlink(root + "/self/ns/pid")
	return err == nil && name == initPIDs
}
