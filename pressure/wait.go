package pressure

import (
	"context"
	"math/rand/v2"
	"time"
)

// Attempt describes one of the looks of Wait.
type Attempt struct {
	Number, Of int
	Waited     time.Duration // since the first look began
	Verdict
}

// Wait looks up to attempts times, interval apart, until a look is clear, and
// returns the last one. Each look is reported. A look that fails ends the wait,
// and so does ctx, with its cause.
//
// After a wait it looks once more, after a random delay, before it returns: all who
// wait for the same build would start at its end, and so the later ones see the
// first. That look is not an attempt.
func Wait(ctx context.Context, attempts int, interval time.Duration,
	look func(context.Context) (Verdict, error), report func(Attempt)) (Attempt, error) {
	begin := time.Now()
	pressed := false
	for number := 1; ; number++ {
		verdict, err := look(ctx)
		if err == nil && pressed && verdict.Clear() {
			if err = pause(ctx, rand.N(interval/2+1)); err == nil {
				verdict, err = look(ctx)
			}
		}
		last := Attempt{Number: number, Of: attempts, Waited: time.Since(begin), Verdict: verdict}
		if ctx.Err() != nil {
			return last, context.Cause(ctx)
		}
		if err != nil {
			return last, err
		}
		report(last)
		pressed = !verdict.Clear()
		if !pressed || number >= attempts {
			return last, nil
		}
		if err := pause(ctx, interval); err != nil {
			return last, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
