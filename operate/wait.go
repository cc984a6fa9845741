package operate

import (
	"context"
	"time"

	"hostguard/internal/cli"
	"hostguard/runner/config"
)

const (
	pollEvery   = 2 * time.Second  // for requests to the server
	lookEvery   = 2 * time.Second  // for running jobs
	reportEvery = 30 * time.Second // for lines about an unchanged wait
)

// untilIdle waits until busy, which describes the running jobs, returns "".
func untilIdle(ctx context.Context, s *cli.Session, wait time.Duration, busy func() string) error {
	start, last, reported := time.Now(), "", time.Time{}
	for {
		is := busy()
		switch waited := time.Since(start); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case is == "":
			return nil
		case waited >= wait:
			return cli.Refusedf("jobs still run after %s: %s", cli.Short(waited), is)
		case is != last || time.Since(reported) >= reportEvery:
			s.Print("waiting %s of %s: %s", cli.Short(waited), config.Duration(wait), is)
			last, reported = is, time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(lookEvery, max(0, wait-time.Since(start)))):
		}
	}
}

// until calls try until it succeeds or the limit has passed, and returns its last error.
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
		case <-time.After(min(pollEvery, max(0, limit-time.Since(start)))):
		}
	}
}
