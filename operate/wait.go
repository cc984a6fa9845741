package operate

import (
	"context"
	"time"

	"hostguard/internal/cli"
	"hostguard/runner/config"
)

const (
	askEvery  = 2 * time.Second  // the server, while something has to be seen there
	lookEvery = 2 * time.Second  // for jobs, while a restart waits for their end
	sayEvery  = 30 * time.Second // what it waits for, if that does not change
)

// untilIdle waits until no job runs here, as far as busy tells.
func untilIdle(ctx context.Context, s *cli.Session, wait time.Duration, busy func() string) error {
	start, said, saidAt := time.Now(), "", time.Time{}
	for {
		is := busy()
		switch waited := time.Since(start); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case is == "":
			return nil
		case waited >= wait:
			return cli.Refusedf("jobs run after %s: %s", cli.Short(waited), is)
		case is != said || time.Since(saidAt) >= sayEvery:
			s.Say("waiting %s of %s: %s", cli.Short(waited), config.Duration(wait), is)
			said, saidAt = is, time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(lookEvery, max(0, wait-time.Since(start)))):
		}
	}
}

// until tries until it works; the last error tells why not in time.
func until(ctx context.Context, limit time.Duration, try func() error) error {
	start := time.Now()
	for {
		err := try()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		if waited := time.Since(start); waited >= limit {
			return cli.Refusedf("after %s: %w", cli.Short(waited), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(askEvery, max(0, limit-time.Since(start)))):
		}
	}
}
