package operate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hostguard/internal/cli"
)

// change is one change to the host, of a plan.
//
// A failed do may have done a part of it: undo is called after it too, and restores the
// former state in either case. A nil undo means that there is nothing to undo, as after
// a wait.
type change struct {
	text string // its description, in one line
	do   func(context.Context) error
	undo func(context.Context) error
}

// planOptions are the inputs of the commands that make a plan.
type planOptions struct{ apply, json bool }

// Inputs returns the table of the options.
func (o *planOptions) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "apply", Kind: cli.Bool(&o.apply), FlagOnly: true, Text: "make the changes"},
		cli.JSONInput(&o.json),
	}
}

// planReport is what a plan prints with -json.
type planReport struct {
	Version int      `json:"version"` // of this format
	Changes []string `json:"changes"`
	Applied bool     `json:"applied"`
	Undo    string   `json:"undo,omitempty"` // the command that undoes them later
}

// undoTime bounds the undo of one change.
const undoTime = time.Minute

// runPlan prints a plan, and with apply makes its changes in order; back is the command
// that undoes them later. At the first failure, or when it is interrupted, it undoes the
// changes made so far, the last first, and reports whether that succeeded.
func runPlan(ctx context.Context, s *cli.Session, changes []change, o planOptions, back string) error {
	report := planReport{Version: 1, Changes: []string{}}
	for _, c := range changes {
		report.Changes = append(report.Changes, c.text)
	}
	if o.json && (!o.apply || len(changes) == 0) {
		return s.JSON(report)
	}
	if len(changes) == 0 {
		s.Print("nothing to change")
		return nil
	}
	for i, c := range changes {
		s.Print("  %d. %s", i+1, c.text)
	}
	if !o.apply {
		s.Print("nothing is changed yet; run it again with -apply")
		return nil
	}
	for i, c := range changes {
		err := context.Cause(ctx)
		begun := i
		if err == nil {
			err = c.do(ctx)
			begun++
		}
		if err != nil {
			return fmt.Errorf("change %d of %d: %w; %s", i+1, len(changes), err, rollBack(ctx, s, changes[:begun]))
		}
		s.Print("  %d. done", i+1)
	}
	s.Print("done; undo with %q", back)
	if report.Applied, report.Undo = true, back; o.json {
		return s.JSON(report)
	}
	return nil
}

// rollBack undoes changes and returns the resulting state of the host. After an
// interruption it also prints the state, since the error of the interruption hides it.
func rollBack(ctx context.Context, s *cli.Session, changes []change) (state string) {
	var errs []error
	for i := len(changes) - 1; i >= 0; i-- {
		if changes[i].undo == nil {
			continue
		}
		undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		err := changes[i].undo(undoing)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("change %d: %w", i+1, err))
		}
	}
	state = "everything is as it was before"
	if len(errs) > 0 {
		state = fmt.Sprintf("could not undo everything: %s; the rest is as it was before",
			cli.OneLine(errors.Join(errs...)))
	}
	if ctx.Err() != nil {
		s.Warning("%s", state)
	}
	return state
}
