// Command gitea-act runs the workflow of the repository in the current folder
// with Gitea's fork of act, set up as act_runner sets it up. The fork's own
// command line cannot: it has no server for short names of actions, and its job
// containers end at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nektos/act/pkg/model"
	"github.com/nektos/act/pkg/runner"
	"github.com/sirupsen/logrus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	server := flag.String("server", "", "the `URL` of the Gitea that the runner is registered with")
	actions := flag.String("actions", "", "the `URL` that short names of actions belong to, by that Gitea's "+
		"DEFAULT_ACTIONS_URL")
	workflow := flag.String("W", "", "the `file` of the workflow")
	platforms, env, secrets := pairs{}, pairs{}, pairs{}
	flag.Var(platforms, "P", "what a label stands for, `LABEL=IMAGE` or LABEL=-self-hosted")
	flag.Var(env, "env", "a variable of the job, `NAME=VALUE`")
	flag.Var(secrets, "secret", "a secret, `NAME=VALUE`; GITEA_TOKEN is the job's token")
	flag.Parse()

	planner, err := model.NewWorkflowPlanner(*workflow, true)
	if err != nil {
		return err
	}
	plan, err := planner.PlanEvent("push")
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	level := logrus.InfoLevel
	r, err := runner.New(&runner.Config{
		EventName:             "push",
		Workdir:               dir,
		ActionCacheDir:        filepath.Join(cache, "act"),
		LogOutput:             true,
		JobLoggerLevel:        &level,
		Env:                   env,
		Secrets:               secrets,
		GitHubInstance:        *server,
		DefaultActionInstance: *actions,
		Platforms:             platforms,
		AutoRemove:            true,
		NoSkipCheckout:        true,
		ContainerNamePrefix:   "GITEA-ACTIONS-TASK-1",
		ContainerMaxLifetime:  3 * time.Hour,
		ContainerDaemonSocket: os.Getenv("DOCKER_HOST"),
	})
	if err != nil {
		return err
	}
	return r.NewPlanExecutor(plan)(ctx)
}

// pairs is a flag that may be given several times.
type pairs map[string]string

func (p pairs) String() string { return "" }

func (p pairs) Set(pair string) error {
	name, value, found := strings.Cut(pair, "=")
	if !found {
		return errors.New("want NAME=VALUE")
	}
	p[name] = value
	return nil
}
