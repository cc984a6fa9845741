package pressure

import (
	"context"
	"time"
)

// Attempt is one of the looks of Wait.
type Attempt struct {
	Number, Of int
	Waited     time.Duration // since the first look began
	Verdict
}

// Wait looks up to attempts times, interval apart, until a look is clear, and
// returns the last one. Each look is reported. A look that fails ends the wait,
// and so does ctx, with its cause.
func Wait(ctx context.Context, attempts int, interval time.Duration,
	look func(context.Context) (Verdict, error), report func(Attempt)) (Attempt, error) {
	begin := time.Now()
	for number := 1; ; number++ {
		verdict, err := look(ctx)
		last := Attempt{Number: number, Of: attempts, Waited: time.Since(begin), Verdict: verdict}
		if ctx.Err() != nil {
			return last, context.Cause(ctx)
		}
		if err != nil {
			return last, err
		}
		report(last)
		if verdict.Clear() || number >= attempts {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}
