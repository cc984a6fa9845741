package lockwire

import (
	"cmp"
	"slices"
	"strings"

	"hostguard/internal/cli"
	"hostguard/lock"
)

// Backends are the kinds of store.
var Backends = []string{BackendDocker, BackendFile, BackendGitea, BackendSwarm}

// maxLocks bounds the locks that one command takes: each is a wait of its own.
const maxLocks = 8

// Several names locks that one command takes together, and the kind of store that they are in.
type Several struct {
	Names   []string // as they were written
	Backend string
}

// Inputs returns the table of the options.
func (o *Several) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "lock-name", Kind: cli.Distinct(&o.Names, maxLocks, lock.CheckName), Default: DefaultLockName,
			Arg: "NAME,...", Text: "the lock, or up to 8 to take together"},
		backendInput(&o.Backend),
	}
}

// String returns the names as an input lists them.
func (o Several) String() string { return strings.Join(o.Names, ", ") }

// In returns the locks in some backends, or without any in the one of the input, in the order in
// which every command takes them. Several backends have a name each, or all the same one.
func (o Several) In(backends []string) ([]Options, error) {
	if len(backends) == 0 {
		backends = []string{o.Backend}
	}
	var all []Options
	switch {
	case len(backends) == 1:
		for _, name := range o.Names {
			all = append(all, Options{Lock: name, Backend: backends[0]})
		}
	case len(o.Names) == 1 || len(o.Names) == len(backends):
		for i, backend := range backends {
			all = append(all, Options{Lock: o.Names[i%len(o.Names)], Backend: backend})
		}
	default:
		return nil, cli.Usagef("-backends has %d backends and -lock-name %d names: give one name for all of them, or "+
			"a name for each, in the same order", len(backends), len(o.Names))
	}
	return InOrder(all), nil
}

// InOrder sorts locks into the one order in which all commands take several: by backend, then by
// name. Who holds one of them then waits only for later ones, so that nobody waits in a circle.
func InOrder(locks []Options) []Options {
	slices.SortFunc(locks, Options.Compare)
	return locks
}

// Compare returns which of two locks is taken first: a negative number for o.
func (o Options) Compare(other Options) int {
	return cmp.Or(strings.Compare(o.Backend, other.Backend), strings.Compare(o.Lock, other.Lock))
}
