package steps

import "context"

// Modes: what a step does with a refusal or a failure of its own.
const (
	warnOnly = "warn-only" // says it and goes on
	hardFail = "hard-fail" // says it and fails
)

// soften applies a mode to what a step ended in. Under warn-only a refusal and
// a failure become a warning; wrong use and an interruption never do.
func (s *session) soften(ctx context.Context, mode string, err error) error {
	status := statusOf(err)
	if mode != warnOnly || ctx.Err() != nil || status != StatusRefused && status != StatusFailed {
		return err
	}
	s.Warning("%s: %s (mode is %s: going on)", s.name, oneLine(err), warnOnly)
	return nil
}
