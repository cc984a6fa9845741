// Command hostguard keeps a shared CI host usable: it cleans what dead runners
// left behind, waits out the heavy builds of others, and keeps the host-wide
// build lock. See "hostguard help".
package main

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"hostguard/internal/cli"
	"hostguard/internal/privsep"
	"hostguard/operate"
	"hostguard/steps"
)

// The linker sets them: version from the file VERSION, commit from git.
var version, commit = "0.0.0-dev", ""

func main() {
	if len(os.Args) == 2 && os.Args[1] == privsep.Command {
		os.Exit(privsep.Serve(os.Stdin, os.Stdout, operate.Handlers()))
	}
	// A closed log must not kill us while we hold a lock: with a handler a
	// write to a closed pipe is an error, not a signal. (Ignoring SIGPIPE
	// instead would be inherited by the command of with-lock.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	os.Exit(cli.Main(cli.World{
		Program: os.Args[0], Args: os.Args[1:], Environ: os.Environ(), Getenv: os.Getenv,
		Version: version, Commit: commit,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Signals: signals, DefaultSignals: func() { signal.Stop(signals) },
	}, slices.Concat(steps.Commands(), operate.Commands())))
}
