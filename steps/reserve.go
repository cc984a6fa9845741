package steps

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

const helpReserve = `usage: hostguard reserve -for TIME -reason TEXT [FLAG...]

Waits its turn for the lock like acquire-lock, and leaves it held for the given time,
without a process: for maintenance, which all who wait and "hostguard status" show
with its end. By then it frees itself. A reboot does not free it, with lock-backend
file it does. To free it earlier, give release-lock the ID that is printed.

Several locks are reserved together, as acquire-lock takes them: the last for the
given time, the ones before it longer by what the timeout leaves for the wait. Of a lock
with slots one slot is reserved, and jobs go on in the others: reserve it once for each.

{inputs}

exit status: 0 reserved, 1 not free in time, 2 wrong use, 3 no Docker or no
permission, 130 or 143 interrupted (and everything undone).

example: hostguard reserve -for 1h -reason "kernel update" -priority high
`

// reserve is one run of reserve.
type reserve struct {
	acquireOptions
	time time.Duration
}

// Inputs returns the table of inputs. A reservation is never stale.
func (r *reserve) Inputs() []cli.Input {
	acquire := slices.DeleteFunc(r.acquireOptions.Inputs(), func(in cli.Input) bool { return in.Name == "stale-after" })
	return append([]cli.Input{{Name: "for", Kind: cli.Duration(&r.time, time.Minute, lock.MaxStaleAfter),
		FlagOnly: true, Text: "how long to hold the lock, 1m to 24h"}}, acquire...)
}

func (r *reserve) Run(ctx context.Context, s *cli.Session) error {
	switch {
	case r.time == 0:
		return cli.Usagef("-for must say how long to hold lock %q, such as 1h", r.String())
	case r.share:
		return cli.Usagef("share is true: others that share lock %q would go on; reserve it with -share=false",
			r.String())
	case r.reason == "":
		return cli.Usagef("-reason must say what lock %q is reserved for: all who wait see it", r.String())
	}
	s.PrintInputs()
	noticeOtherLock(s)
	all, err := r.In(nil)
	if err != nil {
		return err
	}
	last := all[len(all)-1].Lock
	by := cmp.Or(s.Getenv("GITHUB_ACTOR"), s.Getenv("SUDO_USER"), userName())
	times := map[*member]time.Duration{}
	r.claim = func(ctx context.Context, l *member) lock.Claim {
		d := r.time
		if deadline, ok := ctx.Deadline(); ok && l.Lock != last {
			d += time.Until(deadline).Round(time.Second)
		}
		times[l] = d
		return l.store.Self.Reserve(d, by)
	}
	set, err := r.take(ctx, s, func([]*lockwire.Store) error { return nil })
	if err != nil {
		return err
	}
	taken := set.taken()
	if len(taken) < len(set) { // and whoever holds it gives it back before the reservation ends
		return errors.Join(cli.Usagef("this job or a with-lock above holds a lock of %q already; reserve it elsewhere",
			r.String()), set.giveBack(ctx))
	}
	for _, l := range taken {
		l.m.Finish()
		s.Print("reserved lock %q until %s (id %s)%s", l.Lock, l.since.Add(times[l]).UTC().Format("2006-01-02 15:04Z"),
			l.held.ID, r.placeOf(l.held))
	}
	s.Print("free it earlier with: hostguard release-lock -lock-name %s -lock-backend %s -lock-id %s", taken.names(),
		r.Backend, taken.ids())
	return nil
}
