package docker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"

	"hostguard/pressure"
)

// The output of "docker top". The daemon runs ps on its host: pids are the host's,
// arguments are joined by spaces, with control characters made harmless.
//
// The first form bounds the arguments of a process; the ps of busybox takes only
// the second.
var topArguments = [][]string{
	{"-eo", "pid,ppid,etime,time,rss,args", "--cols", "4096"},
	{"-o", "pid,ppid,etime,time,rss,args"},
}

// atOnce is how many containers are read at the same time: ps takes the daemon some
// 20 ms each.
const atOnce = 8

// Processes returns the processes of all running containers but one, each with the
// directory that its container starts in, since the daemon does not report the
// process's own. unread counts the containers that could not be read.
func (e *Engine) Processes(ctx context.Context, except string) (list pressure.List, containers, unread int, err error) {
	running, err := e.client.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, 0, 0, e.explain(err)
	}
	running = slices.DeleteFunc(running, func(c container.Summary) bool { return c.ID == except })
	list = pressure.List{}
	var mu sync.Mutex
	var looks sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, c := range running {
		looks.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			processes, err := e.top(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unread++
			}
			for _, p := range processes {
				list[p.PID] = p
			}
		})
	}
	looks.Wait()
	return list, len(running), unread, nil
}

func (e *Engine) top(ctx context.Context, c container.Summary) (list []pressure.Listed, err error) {
	inDir := make(chan string, 1)
	go func() { // beside ps: a check has 200 ms, in which a busy daemon did not answer both
		dir := ""
		if inspected, err := e.client.ContainerInspect(ctx, c.ID); err == nil && inspected.Config != nil {
			dir = inspected.Config.WorkingDir
		}
		inDir <- dir
	}()
	var top container.TopResponse
	for _, arguments := range topArguments {
		if top, err = e.client.ContainerTop(ctx, c.ID, arguments); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, e.explain(err)
	}
	dir := <-inDir
	name := cmp.Or(nameOf(c), c.ID)
	now := time.Now()
	for _, line := range top.Processes {
		p, ok := parseTop(line, now)
		if !ok {
			return nil, fmt.Errorf("docker top of container %.12q: not a list of processes (%d columns)",
				c.ID, len(line))
		}
		p.Dir, p.Container = dir, name
		list = append(list, p)
	}
	return list, nil
}

// parseTop reads one line: pid, parent, age, CPU time, KiB, arguments.
func parseTop(line []string, now time.Time) (p pressure.Listed, ok bool) {
	if len(line) != 6 {
		return p, false
	}
	pid, errPID := strconv.Atoi(line[0])
	parent, errParent := strconv.Atoi(line[1])
	if errPID != nil || errParent != nil {
		return p, false
	}
	memory, _ := strconv.ParseInt(line[4], 10, 64)
	p.PID, p.Process.Parent = pid, parent
	p.Argv = strings.Fields(line[5])
	if age, ok := clock(line[2]); ok {
		p.Start = now.Add(-age).Truncate(time.Second)
	}
	p.CPU, _ = clock(line[3])
	p.Memory = memory << 10
	return p, true
}

// clock reads ps's [[days-]hours:]minutes:seconds.
func clock(text string) (d time.Duration, ok bool) {
	days, rest, found := strings.Cut(text, "-")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.Atoi(days)
	if err != nil {
		return 0, false
	}
	for part := range strings.SplitSeq(rest, ":") {
		value, err := strconv.Atoi(part)
		if err != nil {
			return 0, false
		}
		d = d*60 + time.Duration(value)*time.Second
	}
	return time.Duration(n)*24*time.Hour + d, true
}
