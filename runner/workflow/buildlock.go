package workflow

import (
	"cmp"
	"fmt"
	"hostguard/runner/finding"
	"slices"
	"strings"
)

// CheckBuildLock reports what keeps runners that share one Docker daemon from serving
// these labels at once: jobs that build images without the host's lock, or with another
// lock than the other jobs. Jobs of several runners would then delete each other's
// containers ("RWLayer … is unexpectedly nil").
//
// A job whose labels are not known may want any of them. A workflow that a job calls is
// checked as a file of its own if it is in the same repository; one of another repository
// cannot be seen. defaultLock is the name of the lock if none is given. Jobs that take several
// locks at once exclude those that take one of these.
func CheckBuildLock(repositories []Repository, labels []string, defaultLock string) []finding.Finding {
	var all finding.List
	first, firstWhere := "", ""
	for _, r := range repositories {
		for _, w := range r.Workflows {
			for _, j := range w.Jobs {
				where := fmt.Sprintf("%.100q: %.100q job %.100q", r.Name, w.File, j.ID)
				add := func(fix, format string, args ...any) {
					all.Bad(3, fix, "%s %s", where, fmt.Sprintf(format, args...))
				}
				if j.Calls != "" && !strings.HasPrefix(j.Calls, "./") {
					add("write its jobs into a workflow of this repository",
						"calls the workflow %.100q of another repository, which may build images without the host's lock",
						j.Calls)
					continue
				}
				u := usesOf(j)
				if u.build == "" && u.unread == "" || !j.mayWant(labels) {
					continue
				}
				if u.unread != "" {
					add(unreadFix, "may build images without the host's lock: its shell text cannot be read (%s)",
						u.unread)
				}
				if u.bare != "" {
					add("put uses: wooo/hostguard/lock@v1.0.0 before it",
						"builds images (%s) without the host's lock", u.bare)
				}
				for _, lock := range u.locks {
					if lock == "" || strings.HasPrefix(lock, " (") {
						lock = defaultLock + lock
					}
					switch first = cmp.Or(first, lock); {
					case firstWhere == "":
						firstWhere = where
					case commonNames(first, lock) != "":
						first = commonNames(first, lock)
					default:
						add("give all the same lock-name and lock-backend",
							"takes the lock %.100q, and %s the lock %.100q: these two do not exclude each other",
							lock, firstWhere, first)
					}
				}
			}
		}
	}
	return all
}

// mayWant reports whether a job could run on a runner with one of the labels.
func (j Job) mayWant(labels []string) bool {
	return slices.ContainsFunc(j.RunsOn, func(d Demand) bool {
		return d.Unresolved != "" || slices.ContainsFunc(d.Labels, func(l string) bool { return slices.Contains(labels, l) })
	})
}

// commonNames returns the names that two lists of locks have in common.
func commonNames(a, b string) string {
	names := strings.Split(b, nameSeparator)
	return strings.Join(slices.DeleteFunc(strings.Split(a, nameSeparator), func(name string) bool {
		return !slices.Contains(names, name)
	}), nameSeparator)
}
