// Command runner is a runner of Gitea Actions for tests: it speaks the runners'
// protocol with a real Gitea, and runs the tasks with Gitea's fork of act.
//
// The runners' own modules are not served, so it plays them, in the manner of the
// name that it is called by:
//
//   - act_runner, the classic: the fork as it is. Steps have a terminal and a session
//     of their own; a cancel ends all steps, "if: always()" or not; node posts run,
//     and their log is lost; a job's timeout-minutes is not obeyed, and
//     runner.timeout ends a job without posts; GITHUB_RUN_ATTEMPT is empty,
//     RUNNER_NAME and GITEA_RUN_ID are absent. SIGTERM waits for the job, whatever
//     shutdown_timeout allows.
//   - gitea-runner, the new: built with the fork that package hostguard/e2e/rig/gitea
//     has changed. Steps have a pipe and a process group of their own, which a cancel
//     kills as a whole; steps with "if: always()" run after a cancel; both timeouts
//     are obeyed and posts run; attempts are counted, RUNNER_NAME and GITEA_RUN_ID
//     set. hooks.job_started and job_completed run in the job's environment and
//     container, without arguments, and fail the job if they fail; post_task_script
//     and health_check run on the host. After shutdown_timeout a job is killed and
//     reported as a success. It takes a file lock beside its registration, and
//     removes job directories that are a day old when it is idle.
//   - forgejo-runner: the classic engine, but a cancel takes effect within 0.3 s, and
//     containers, variables and directories have Forgejo's names.
//
// All of them let the labels of the configuration overwrite those of the
// registration, as "generate-config" then does by its default labels; inherit the
// environment to host jobs; leave the directory of a job behind when they are killed.
//
// Not played: the cache and artifact servers, job summaries, ephemeral runners, and
// how long a runner waits between two questions: it asks ten times a second.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// generation is what differs between the runners.
type generation struct {
	name string // of the program

	containers  string        // prefix of their names, with the task's ID
	hooks       bool          // it runs those of the configuration
	cancelAfter time.Duration // how often it asks whether its task was cancelled
	countsRuns  bool          // it sets GITHUB_RUN_ATTEMPT, RUNNER_NAME and GITEA_RUN_ID
	lateLog     bool          // it reports what is logged after a cancel
	timeouts    bool          // a timeout is like a cancel
	kills       bool          // a job that outlasts the shutdown_timeout
	locks       bool          // its registration
	generate    string        // the subcommand that writes a configuration
}

var generations = map[string]generation{
	"act_runner": {
		containers: "GITEA-ACTIONS-TASK-%d", cancelAfter: 500 * time.Millisecond, generate: "generate-config",
	},
	"gitea-runner": {
		containers: "GITEA-ACTIONS-TASK-%d", cancelAfter: 2 * time.Second, generate: "config generate",
		hooks: true, countsRuns: true, lateLog: true, timeouts: true, kills: true, locks: true,
	},
	"forgejo-runner": {
		containers: "FORGEJO-ACTIONS-TASK-%d", cancelAfter: 150 * time.Millisecond, generate: "generate-config",
	},
}

func main() {
	name := filepath.Base(os.Args[0])
	g, ok := generations[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: call it act_runner, gitea-runner or forgejo-runner\n", name)
		os.Exit(2)
	}
	g.name = name
	if err := g.run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "level=error msg=%q\n", err.Error())
		os.Exit(1)
	}
}

func (g generation) run(args []string) error {
	if len(args) == 0 {
		return errors.New("want register, daemon or " + g.generate)
	}
	switch args[0] {
	case "register":
		return g.register(args[1:])
	case "daemon", "one-job":
		stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer cancel()
		return g.daemon(stop, args[1:], args[0] == "one-job")
	case "generate-config", "config":
		_, err := os.Stdout.WriteString(g.defaults())
		return err
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// say writes a line of the runner's log.
func say(format string, args ...any) {
	fmt.Printf("time=%q level=info msg=%q\n", time.Now().Format(time.RFC3339), fmt.Sprintf(format, args...))
}
