package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is what a site's job left in the files of one half.
type result struct {
	site       string
	outputs    map[string]int
	begin, end time.Time // of its build
}

// results returns the results of both sites; the one that built first comes first.
func (d *demo) results(half string) (first, second result, err error) {
	var results []result
	for _, site := range sites {
		r, err := d.result(half, site)
		if err != nil {
			return first, second, err
		}
		results = append(results, r)
	}
	slices.SortFunc(results, func(a, b result) int { return a.begin.Compare(b.begin) })
	return results[0], results[1], nil
}

func (d *demo) result(half, site string) (r result, err error) {
	r = result{site: site, outputs: map[string]int{}}
	text, err := os.ReadFile(d.path(half + "/" + site + ".outputs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if r.outputs[name], err = strconv.Atoi(value); err != nil {
			return r, fmt.Errorf("%s: output %s is %q, want a number", site, name, value)
		}
	}
	if r.begin, err = d.moment(half + "/" + site + ".begin"); err != nil {
		return r, err
	}
	r.end, err = d.moment(half + "/" + site + ".end")
	return r, err
}

// moment reads what "date +%s.%N" wrote.
func (d *demo) moment(name string) (time.Time, error) {
	text, err := os.ReadFile(d.path(name))
	if err != nil {
		return time.Time{}, err
	}
	seconds, nanoseconds, _ := strings.Cut(strings.TrimSpace(string(text)), ".")
	s, errS := strconv.ParseInt(seconds, 10, 64)
	ns, errNS := strconv.ParseInt(nanoseconds, 10, 64)
	return time.Unix(s, ns), errors.Join(errS, errNS)
}

// summaryWithout reports what happened without hostguard.
func (d *demo) summaryWithout() error {
	first, second, err := d.results("without")
	if err != nil {
		return err
	}
	for _, r := range []result{first, second} {
		d.log.say("  %s    built for %s", r.site, lasted(r))
	}
	overlap := min(first.end.Sub(second.begin), lasted(second))
	if overlap <= 0 {
		return errors.New("the builds did not overlap without hostguard")
	}
	d.log.say("  overlap   %v: both built at the same time", overlap.Round(100*time.Millisecond))
	return nil
}

// summaryWith reports what happened with hostguard, and fails where that is not what
// hostguard is for.
func (d *demo) summaryWith() error {
	first, second, err := d.results("with")
	if err != nil {
		return err
	}
	var wrong []error
	for _, name := range leftOvers {
		if _, err := os.Stat(filepath.Join(d.path("runner"), name)); err == nil {
			wrong = append(wrong, fmt.Errorf("%s was not removed", name))
		}
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(d.path("runner"), name)); err != nil {
			wrong = append(wrong, fmt.Errorf("%s had to stay: %w", name, err))
		}
	}
	if removed := first.outputs["removed"] + second.outputs["removed"]; removed != len(leftOvers) {
		wrong = append(wrong, fmt.Errorf("the jobs say that they removed %d files, want %d", removed, len(leftOvers)))
	}
	d.log.say("  clean     %d left-over logs of a dead runner removed, %d other files left alone", len(leftOvers),
		len(others))

	for _, r := range []result{first, second} {
		seconds := r.outputs["pressure-seconds"]
		if seconds == 0 {
			wrong = append(wrong, fmt.Errorf("%s did not wait for the vite build", r.site))
		}
		d.log.say("  pressure  %s waited %d s for the vite build of a third repository", r.site, seconds)
	}

	d.log.say("  lock      %s came first, after %d s, and built for %s", first.site, first.outputs["lock-seconds"],
		lasted(first))
	d.log.say("            %s waited %d s for it, then built for %s", second.site, second.outputs["lock-seconds"],
		lasted(second))
	status, err := d.status()
	if err != nil {
		wrong = append(wrong, err)
	}
	d.log.say("            kept by %s", status.Store)
	for _, lock := range status.Locks {
		if lock.Name == d.lock && len(lock.Holders)+len(lock.Waiters) > 0 {
			wrong = append(wrong, fmt.Errorf("the lock was not given back: %v", lock))
		}
	}

	if gap := second.begin.Sub(first.end); gap >= 0 {
		d.log.say("  overlap   none, the second build began %v after the first was done", gap.Round(time.Millisecond))
	} else {
		wrong = append(wrong, fmt.Errorf("the builds overlapped for %v", -gap))
	}
	return errors.Join(wrong...)
}

// status returns what "hostguard status" prints about the lock's store.
func (d *demo) status() (status struct {
	Store string
	Locks []struct {
		Name             string
		Holders, Waiters []any
	}
}, err error) {
	out, err := d.hostguard([]string{"status", "-json"})
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal(out, &status)
}

func lasted(r result) time.Duration { return r.end.Sub(r.begin).Round(100 * time.Millisecond) }
