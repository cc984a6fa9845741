package lockwire

import (
	"fmt"
	"slices"
	"testing"

	"hostguard/internal/cli"
)

func TestNamesBelongToTheBackendsInTheSamePosition(t *testing.T) {
	for _, test := range []struct {
		names, backends []string
		want            string // "" is wrong use
	}{
		{[]string{"deploy"}, nil, "[{deploy docker}]"},
		{[]string{"deploy", "build"}, nil, "[{build docker} {deploy docker}]"},
		{[]string{"deploy"}, []string{"gitea", "docker"}, "[{deploy docker} {deploy gitea}]"},
		{[]string{"deploy", "build"}, []string{"gitea", "docker"}, "[{build docker} {deploy gitea}]"},
		{[]string{"deploy", "build"}, []string{"file"}, "[{build file} {deploy file}]"},
		{[]string{"deploy", "build", "test"}, []string{"gitea", "docker"}, ""},
		{[]string{"deploy", "build"}, []string{"gitea", "docker", "file"}, ""},
	} {
		got, err := Several{test.names, BackendDocker}.In(test.backends)
		if test.want == "" {
			if cli.StatusOf(err) != cli.StatusUsage {
				t.Errorf("%q in %q: %v, %v, want wrong use", test.names, test.backends, got, err)
			}
		} else if fmt.Sprint(got) != test.want || err != nil {
			t.Errorf("%q in %q: %v, %v, want %s", test.names, test.backends, got, err, test.want)
		}
	}
}

// contention is a state of commands that each take locks one after the other: how many each has
// taken, or -1 when it has given them back.
type contention struct {
	wants [][]Options
	taken []int
}

func (c contention) next() (states []contention) {
	for i, n := range c.taken {
		step := contention{c.wants, slices.Clone(c.taken)}
		switch {
		case n < 0:
			continue
		case n == len(c.wants[i]):
			step.taken[i] = -1
		case !c.free(c.wants[i][n]):
			continue
		default:
			step.taken[i]++
		}
		states = append(states, step)
	}
	return states
}

func (c contention) free(lock Options) bool {
	for i, n := range c.taken {
		if n > 0 && slices.Contains(c.wants[i][:n], lock) {
			return false
		}
	}
	return true
}

// stuck reports whether commands that want locks in this order can come to wait for each other
// for ever, by every order of their steps. That one gives up only frees locks.
func stuck(wants [][]Options) bool {
	seen := map[string]bool{}
	for todo := []contention{{wants, make([]int, len(wants))}}; len(todo) > 0; {
		c := todo[0]
		todo = todo[1:]
		if key := fmt.Sprint(c.taken); !seen[key] {
			seen[key] = true
			next := c.next()
			if len(next) == 0 && slices.Max(c.taken) >= 0 {
				return true
			}
			todo = append(todo, next...)
		}
	}
	return false
}

// Three commands, each with any of four locks of two backends, written in any order.
func TestLocksInOrderNeverWaitInACircle(t *testing.T) {
	all := []Options{{"build", "docker"}, {"deploy", "docker"}, {"build", "gitea"}, {"test", "gitea"}}
	var sets [][]Options
	var choose func(chosen []Options)
	choose = func(chosen []Options) {
		sets = append(sets, chosen)
		for _, o := range all {
			if !slices.Contains(chosen, o) {
				choose(append(slices.Clone(chosen), o))
			}
		}
	}
	choose(nil)
	ordered := map[string]int{} // commands that want the same in the same order are one case
	for i, s := range sets {
		ordered[fmt.Sprint(InOrder(slices.Clone(s)))] = i
	}
	for _, i := range ordered {
		for _, j := range ordered {
			for _, k := range ordered {
				wants := [][]Options{InOrder(slices.Clone(sets[i])), InOrder(slices.Clone(sets[j])),
					InOrder(slices.Clone(sets[k]))}
				if stuck(wants) {
					t.Fatalf("%v can wait for each other", wants)
				}
			}
		}
	}
	written := 0
	for _, x := range sets {
		for _, y := range sets {
			if stuck([][]Options{x, y}) {
				written++
			}
		}
	}
	if written == 0 {
		t.Error("no two commands wait for each other in the order in which locks were written: the model sees nothing")
	}
	t.Logf("%d sets in order, %d of %d pairs that wait for each other as written", len(ordered), written,
		len(sets)*len(sets))
}
