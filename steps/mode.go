package steps

import "context"

const (
	warnOnly = "warn-only"
	hardFail = "hard-fail"
)

// soften turns a refusal and a failure into a warning under warn-only. Wrong
// use and interruption stay what they are.
func (s *session) soften(ctx context.Context, mode string, err error) error {
	status := statusOf(err)
	if mode != warnOnly || ctx.Err() != nil || status != StatusRefused && status != StatusFailed {
		return err
	}
	s.Warning("%s: %s; going on (mode warn-only)", s.name, err)
	return nil
}
