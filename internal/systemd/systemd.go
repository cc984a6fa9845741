// Package systemd reads units over D-Bus, and their log, and changes them by the
// systemctl command.
//
// It asks the system's manager or that of one user; neither is started by being
// asked. Where there is none, in a container or on another init, every answer is
// an error with that reason. Only Control changes anything.
package systemd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"hostguard/internal/actrunner"
	"hostguard/internal/safefile"
	"hostguard/runner"
)

// The managers.
const (
	System = "system"
	User   = "user"
)

const patience = 10 * time.Second

// bus is the part of the manager that is asked.
type bus interface {
	ListUnitsByPatternsContext(ctx context.Context, states, patterns []string) ([]dbus.UnitStatus, error)
	ListUnitFilesByPatternsContext(ctx context.Context, states, patterns []string) ([]dbus.UnitFile, error)
	GetUnitPropertiesContext(ctx context.Context, unit string) (map[string]any, error)
	GetUnitTypePropertiesContext(ctx context.Context, unit, unitType string) (map[string]any, error)
}

var _ bus = (*dbus.Conn)(nil)

// Units returns the loaded services and timers of a manager, and, loaded or not, the
// named ones and the services that would run a runner: one that is stopped for good
// is not loaded.
func Units(ctx context.Context, scope string, getenv func(string) string, named []string) ([]runner.Unit, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := connect(ctx, scope, getenv)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	units, err := read(ctx, conn, scope, named)
	if err != nil {
		return nil, fmt.Errorf("ask systemd of the %s: %w", scope, err)
	}
	return units, nil
}

// connect returns a connection to a manager.
func connect(ctx context.Context, scope string, getenv func(string) string) (*dbus.Conn, error) {
	address := "unix:path=/run/dbus/system_bus_socket"
	if scope == User {
		address = "unix:path=" + godbus.EscapeBusAddressValue(path.Join(runtimeDir(getenv), "bus"))
	}
	conn, err := dbus.NewConnection(func() (*godbus.Conn, error) {
		return godbus.Connect(address, godbus.WithContext(ctx))
	})
	if err != nil {
		return nil, fmt.Errorf("no systemd of the %s to ask: %w", scope, err)
	}
	return conn, nil
}

// runtimeDir returns where a user's manager listens.
func runtimeDir(getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); path.IsAbs(dir) {
		return dir
	}
	return "/run/user/" + strconv.Itoa(os.Getuid()) // sudo and cron set none
}

func read(ctx context.Context, b bus, scope string, named []string) ([]runner.Unit, error) {
	list, err := b.ListUnitsByPatternsContext(ctx, nil, []string{"*.service", "*.timer"})
	if err != nil {
		return nil, err
	}
	names := slices.Clone(named)
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, u := range list {
		add(u.Name)
	}
	files, err := b.ListUnitFilesByPatternsContext(ctx, nil, []string{"*.service"})
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if name := path.Base(f.Path); !strings.Contains(name, "@.") && !slices.Contains(names, name) && mayRun(f.Path) {
			add(name)
		}
	}
	units := make([]runner.Unit, 0, len(names))
	for _, name := range names {
		properties, err := b.GetUnitPropertiesContext(ctx, name)
		if err != nil && ctx.Err() != nil {
			return nil, err
		} else if err != nil {
			continue // it is gone since the list
		}
		u := runner.Unit{
			Name: name, Scope: scope, Load: text(properties, "LoadState"), Active: text(properties, "ActiveState"),
			Sub: text(properties, "SubState"), File: text(properties, "UnitFileState"),
		}
		u.Triggers, _ = properties["Triggers"].([]string)
		if strings.HasSuffix(name, ".service") {
			if service, err := b.GetUnitTypePropertiesContext(ctx, name, "Service"); err == nil {
				fill(&u, service)
			}
		} else if timer, err := b.GetUnitTypePropertiesContext(ctx, name, "Timer"); err == nil {
			u.Last, u.Next = moment(timer, "LastTriggerUSec"), next(timer)
		}
		units = append(units, u)
	}
	return units, nil
}

// maxUnitFile bounds what is read of a unit's file.
const maxUnitFile = 64 << 10

// mayRun reports whether a unit's file may run a runner: it names one, or a subcommand of
// one. What the unit does run is decided by what the manager says of it, once that has
// loaded the unit.
func mayRun(file string) bool {
	text, _ := safefile.Read(file, maxUnitFile)
	if bytes.Contains(bytes.ToLower(text), []byte("runner")) {
		return true
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ExecStart") && actrunner.MayBeDaemon(strings.Fields(line)) {
			return true
		}
	}
	return false
}

// moment returns a time of the wall clock; zero for never.
func moment(properties map[string]any, name string) time.Time {
	if usec, _ := properties[name].(uint64); usec > 0 && usec < math.MaxInt64 {
		return time.UnixMicro(int64(usec))
	}
	return time.Time{}
}

// next returns when a timer elapses. One that counts from the boot has that time in
// its own clock.
func next(timer map[string]any) time.Time {
	at := moment(timer, "NextElapseUSecRealtime")
	if usec, _ := timer["NextElapseUSecMonotonic"].(uint64); usec > 0 && usec < math.MaxInt64/1000 {
		var now unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
			after := time.Now().Add(time.Duration(usec)*time.Microsecond - time.Duration(now.Nano()))
			if at.IsZero() || after.Before(at) {
				at = after
			}
		}
	}
	return at
}

func text(properties map[string]any, name string) string {
	s, _ := properties[name].(string)
	return s
}

// fill sets what a service has beyond other units.
func fill(u *runner.Unit, service map[string]any) {
	u.KillMode = text(service, "KillMode")
	u.WorkDir = strings.TrimPrefix(text(service, "WorkingDirectory"), "!") // the mark of one that may be missing
	u.User = text(service, "User")
	pid, _ := service["MainPID"].(uint32)
	restarts, _ := service["NRestarts"].(uint32)
	u.MainPID, u.Restarts, u.Result = int(pid), int(restarts), text(service, "Result")
	if pid != 0 {
		u.Started = moment(service, "ExecMainStartTimestamp")
	}
	if stop, _ := service["TimeoutStopUSec"].(uint64); stop < math.MaxInt64/1000 { // else infinity
		u.StopTimeout = time.Duration(stop) * time.Microsecond
	}
	u.Environment, _ = service["Environment"].([]string)
	files, _ := service["EnvironmentFiles"].([][]any) // path, and whether it may be missing
	for _, f := range files {
		if len(f) != 2 {
			continue
		}
		path, _ := f[0].(string)
		if mayMiss, _ := f[1].(bool); mayMiss {
			path = "-" + path
		}
		u.EnvironmentFiles = append(u.EnvironmentFiles, path)
	}
	commands, _ := service["ExecStart"].([][]any) // path, arguments, and how it went
	for _, c := range commands {
		if len(c) > 1 {
			if argv, ok := c[1].([]string); ok && len(argv) > 0 {
				if program, _ := c[0].(string); path.IsAbs(program) { // "@" gives another name
					argv = slices.Concat([]string{program}, argv[1:])
				}
				u.Exec = append(u.Exec, argv)
			}
		}
	}
}

// Lingers reports whether a user's units start without a login.
func Lingers(user string) bool {
	if user == "" || strings.Contains(user, "/") {
		return false
	}
	_, err := os.Stat(path.Join("/var/lib/systemd/linger", user))
	return err == nil
}

const maxLog = 64 << 20 // bytes of one unit

// Log calls visit with each line that a unit has logged since then. It runs
// journalctl, as reading the journal's files needs a C library.
func Log(ctx context.Context, u runner.Unit, since time.Duration, visit func(line string)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	option := "--unit="
	if u.Scope == User {
		option = "--user-unit="
	}
	cmd := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat",
		fmt.Sprintf("--since=-%ds", int(since.Seconds())), option+u.Name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("journalctl is not installed here")
		}
		return fmt.Errorf("run journalctl: %w", err)
	}
	lines := bufio.NewScanner(io.LimitReader(out, maxLog))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		visit(lines.Text())
	}
	_, _ = io.Copy(io.Discard, out)
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		return fmt.Errorf("read the journal of %q: %w", u.Name, err)
	}
	return nil
}

// States returns the active state of units by one question: "active", "deactivating" and so
// on. One that is not loaded is "inactive".
func States(ctx context.Context, scope string, getenv func(string) string, names []string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := connect(ctx, scope, getenv)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	units, err := conn.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("ask systemd of the %s: %w", scope, err)
	}
	states := map[string]string{}
	for _, u := range units {
		states[u.Name] = u.ActiveState
	}
	return states, nil
}
