package operate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

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
			err := runPlan(ctx, s, changes, planOptions{apply: tt.apply}, "back")
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

// With -json stdout has the plan as docs/schema describes it, before and after it is made.
func TestAPlanIsPrintedAsJSON(t *testing.T) {
	compiled, err := jsonschema.NewCompiler().Compile("../docs/schema/plan.json")
	if err != nil {
		t.Fatal(err)
	}
	done := func(context.Context) error { return nil }
	for want, o := range map[string]planOptions{
		`{"version":1,"changes":["say \"x\""],"applied":false}`:               {json: true},
		`{"version":1,"changes":["say \"x\""],"applied":true,"undo":"unsay"}`: {json: true, apply: true},
	} {
		var out, prose bytes.Buffer
		s := cli.NewSession(cli.World{Stdout: &out, Stderr: &prose, Getenv: func(string) string { return "" }}, nil)
		var parsed planOptions
		if _, err := s.Read(parsed.Inputs(), []string{"-json"}); err != nil {
			t.Fatal(err)
		}
		if err := runPlan(t.Context(), s, []change{{text: `say "x"`, do: done}}, o, "unsay"); err != nil {
			t.Fatal(err)
		}
		if out.String() != want+"\n" {
			t.Errorf("got %s, want %s", out.String(), want)
		}
		value, err := jsonschema.UnmarshalJSON(&out)
		if err == nil {
			err = compiled.Validate(value)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAnEmptyPlanIsReported(t *testing.T) {
	var out bytes.Buffer
	s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}, nil)
	err := runPlan(t.Context(), s, nil, planOptions{apply: true}, "")
	if err != nil || out.String() != "nothing to change\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
