package operate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"hostguard/internal/cli"
)

// A host of switches, each thrown by one change of a plan. Whatever fails, all are
// as they were before, or all are thrown.
func TestAPlanIsCarriedOutOrUndone(t *testing.T) {
	for name, tt := range map[string]struct {
		apply      bool
		fails      int // the change that does; 0: none
		interrupts int // the change during which somebody presses Ctrl-C
		stuck      int // the change that cannot be undone
		on         string
		want       string
	}{
		"printed only": {on: "...", want: "nothing is changed yet; run it again with -apply"},
		"applied":      {apply: true, on: "###", want: `done; undo with "back"`},
		"the first fails": {apply: true, fails: 1, on: "...",
			want: "change 1 of 3: disk full; everything is as it was before"},
		"the last fails": {apply: true, fails: 3, on: "...",
			want: "change 3 of 3: disk full; everything is as it was before"},
		"interrupted": {apply: true, interrupts: 1, on: "...",
			want: "warning: everything is as it was before"},
		"interrupted at the end": {apply: true, interrupts: 3, on: "###", want: "done"},
		"fails and cannot undo": {apply: true, fails: 3, stuck: 2, on: ".#.",
			want: "could not undo everything: change 2: stuck; the rest is as it was before"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			on := []byte("...")
			var changes []change
			for i := range on {
				changes = append(changes, change{
					text: fmt.Sprintf("throw switch %d", i+1),
					do: func(context.Context) error {
						on[i] = '#' // a change that fails may have been half done
						if tt.interrupts == i+1 {
							cancel(&cli.Interrupted{Signal: syscall.SIGINT})
						}
						if tt.fails == i+1 {
							return errors.New("disk full")
						}
						return nil
					},
					undo: func(ctx context.Context) error {
						if ctx.Err() != nil {
							return ctx.Err()
						}
						if tt.stuck == i+1 {
							return errors.New("stuck")
						}
						on[i] = '.'
						return nil
					},
				})
			}
			var out bytes.Buffer
			s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}, nil)
			err := runPlan(ctx, s, changes, tt.apply, `"back"`)
			if printed := fmt.Sprint(out.String(), err); !strings.Contains(printed, tt.want) {
				t.Errorf("it prints %s, want %s", printed, tt.want)
			}
			if wants := tt.fails > 0 || tt.interrupts == 1; (err != nil) != wants {
				t.Errorf("error %v", err)
			}
			if string(on) != tt.on {
				t.Errorf("the switches are %s, want %s", on, tt.on)
			}
		})
	}
}

func TestAnEmptyPlanIsReported(t *testing.T) {
	var out bytes.Buffer
	s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}, nil)
	if err := runPlan(t.Context(), s, nil, true, ""); err != nil || out.String() != "nothing to change\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
