package operate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hostguard/internal/cli"
)

// change is one thing that a command of the operator would do to the host.
//
// A failed do may have done a part: undo is called after it, too, and makes it
// as it was before in either case. Where undo is nil nothing has to be taken
// back, as after a wait.
type change struct {
	say  string // what becomes of what, in one line
	do   func(context.Context) error
	undo func(context.Context) error
}

// applyInput is the flag that makes a plan happen.
func applyInput(v *bool) cli.Input {
	return cli.Input{Name: "apply", Kind: cli.Bool(v), FlagOnly: true, Text: "make the changes"}
}

// undoTime bounds taking back one change.
const undoTime = time.Minute

// carryOut prints a plan, and with apply makes its changes one after the other.
// back is how a person goes back later. It stops at the first failure, or when
// it is interrupted, takes back what was done, the last first, and says whether
// that has left all as it was.
func carryOut(ctx context.Context, s *cli.Session, changes []change, apply bool, back string) error {
	if len(changes) == 0 {
		s.Say("nothing to change")
		return nil
	}
	for i, c := range changes {
		s.Say("  %d. %s", i+1, c.say)
	}
	if !apply {
		s.Say("nothing is changed yet; run it again with -apply")
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
			return fmt.Errorf("change %d of %d: %w; %s", i+1, len(changes), err, takeBack(ctx, s, changes[:begun]))
		}
		s.Say("  %d. done", i+1)
	}
	s.Say("done; the way back is %s", back)
	return nil
}

// takeBack returns how it has left the host. It says so as well: the text of an
// interruption hides that of an error.
func takeBack(ctx context.Context, s *cli.Session, changes []change) (state string) {
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
		state = fmt.Sprintf("could not take back all of it: %s; the rest is as it was before",
			cli.OneLine(errors.Join(errs...)))
	}
	if ctx.Err() != nil {
		s.Warning("%s", state)
	}
	return state
}
