package main

import (
	"errors"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hostguard": main,
		// A process that scripts start under the names of real programs.
		"Runner.Worker": func() { time.Sleep(time.Minute) },
	})
}

// TestScript runs every script over the real main. A script's environment has
// no variable of a runner unless the script sets it.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "steps/testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// Under -race every exit would sleep for a second.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

// status N COMMAND ... runs a command and wants exactly this exit status.
// testscript itself only tells zero from the rest.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [arg ...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%q: exit status %d, want %d", args[1:], got, want)
	}
}
