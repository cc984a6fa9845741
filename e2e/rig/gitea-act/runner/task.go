package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/nektos/act/pkg/common"
	"github.com/nektos/act/pkg/model"
	"github.com/nektos/act/pkg/runner"
	"github.com/sirupsen/logrus"
)

// Why the steps of a job are ended.
var (
	errCancelled = errors.New("the server has cancelled the task")
	errTimeout   = errors.New("the job has timed out")
	errShutdown  = errors.New("the runner stops")
)

// run runs a task and reports how it ended.
func (d *daemon) run(ctx context.Context, t *task) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	report := newReport(d, t)
	report.cancel = cancel
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		report.watch(ctx)
	}()
	err := d.execute(ctx, t, report)
	cause := context.Cause(ctx)
	cancel(nil)
	<-watching
	result := success
	switch {
	case errors.Is(cause, errCancelled):
		result = cancelled
	case errors.Is(cause, errShutdown): // reported so by the new runner
	case err != nil:
		result = failure
	}
	if err != nil {
		report.log(err.Error())
	}
	report.close(result)
	say("task %d ended: %s", t.ID, result)
	if d.hooks && d.Runner.PostTaskScript != "" {
		d.postTask(t, result)
	}
}

// execute runs the one job of the task's workflow.
func (d *daemon) execute(ctx context.Context, t *task, report *report) error {
	plan, job, err := t.plan()
	if err != nil {
		return err
	}
	report.steps(len(job.Steps))
	preset := t.context()
	env := maps.Clone(d.Runner.Envs)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, d.variables(t))
	if d.countsRuns {
		preset.RunAttempt = t.string("run_attempt")
	}
	level := logrus.InfoLevel
	c := &runner.Config{
		Workdir:               d.workspace(t),
		ActionCacheDir:        d.Host.WorkdirParent,
		LogOutput:             true,
		JobLoggerLevel:        &level,
		EventName:             preset.EventName,
		PresetGitHubContext:   preset,
		Env:                   env,
		Secrets:               t.Secrets,
		Vars:                  t.Vars,
		Token:                 preset.Token,
		GitHubInstance:        strings.TrimSuffix(d.Address, "/"),
		DefaultActionInstance: t.string("gitea_default_actions_url"),
		PlatformPicker:        func(runsOn []string) string { return image(d.Labels, runsOn) },
		AutoRemove:            true,
		NoSkipCheckout:        true,
		ContainerNamePrefix:   fmt.Sprintf(d.containers, t.ID),
		ContainerMaxLifetime:  d.Runner.Timeout,
		ContainerNetworkMode:  container.NetworkMode(d.Container.Network),
		ContainerOptions:      d.Container.Options,
		ContainerDaemonSocket: socket(d.Container.DockerHost),
		ValidVolumes:          slices.Clone(d.Container.ValidVolumes),
	}
	r, err := runner.New(c)
	if err != nil {
		return err
	}
	timeout := d.Runner.Timeout
	if d.timeouts {
		if minutes, err := strconv.ParseFloat(job.TimeoutMinutes, 64); err == nil && minutes > 0 {
			timeout = min(timeout, time.Duration(minutes*float64(time.Minute)))
		}
		ends := time.AfterFunc(timeout, func() { report.cancel(errTimeout) })
		defer ends.Stop()
	} else {
		// The engine runs no posts after a deadline.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	ctx = common.WithLoggerHook(ctx, report)
	ctx = runner.WithJobLoggerFactory(ctx, report)
	return r.NewPlanExecutor(plan)(ctx)
}

// plan returns the plan of the job, with the results of the jobs that it needs.
func (t *task) plan() (*model.Plan, *model.Job, error) {
	workflow, err := model.ReadWorkflow(bytes.NewReader(t.WorkflowPayload))
	if err != nil {
		return nil, nil, err
	}
	ids := workflow.GetJobIDs()
	if len(ids) != 1 {
		return nil, nil, fmt.Errorf("want a workflow of one job, have %q", ids)
	}
	job := workflow.GetJob(ids[0])
	for id, need := range t.Needs {
		result := strings.ToLower(strings.TrimPrefix(need.Result, "RESULT_"))
		workflow.Jobs[id] = &model.Job{Outputs: need.Outputs, Result: result}
	}
	if err := workflow.Jobs[ids[0]].RawNeeds.Encode(slices.Sorted(maps.Keys(t.Needs))); err != nil {
		return nil, nil, err
	}
	plan, err := model.CombineWorkflowPlanner(workflow).PlanJob(ids[0])
	if err != nil {
		return nil, nil, err
	}
	if last := len(plan.Stages) - 1; last > 0 {
		plan.Stages = plan.Stages[last:] // what it needs has run
	}
	return plan, job, nil
}

// string returns a value of the task's context.
func (t *task) string(key string) string {
	s, _ := t.Context[key].(string)
	return s
}

func (t *task) context() *model.GithubContext {
	event, _ := t.Context["event"].(map[string]any)
	token := t.Secrets["GITEA_TOKEN"]
	if token == "" {
		token = t.string("token")
	}
	return &model.GithubContext{
		Event:           event,
		RunID:           t.string("run_id"),
		RunNumber:       t.string("run_number"),
		Actor:           t.string("actor"),
		Repository:      t.string("repository"),
		EventName:       t.string("event_name"),
		Sha:             t.string("sha"),
		Ref:             t.string("ref"),
		RefName:         t.string("ref_name"),
		RefType:         t.string("ref_type"),
		HeadRef:         t.string("head_ref"),
		BaseRef:         t.string("base_ref"),
		Token:           token,
		RepositoryOwner: t.string("repository_owner"),
		RetentionDays:   t.string("retention_days"),
	}
}

// variables returns the variables that the runner sets for every job.
func (d *daemon) variables(t *task) map[string]string {
	v := map[string]string{
		"GITEA_ACTIONS":                "true",
		"GITEA_ACTIONS_RUNNER_VERSION": d.version(),
		"ACTIONS_RUNTIME_URL":          strings.TrimSuffix(d.Address, "/") + "/api/actions_pipeline/",
		"ACTIONS_RUNTIME_TOKEN":        t.string("gitea_runtime_token"),
		"ACTIONS_RESULTS_URL":          strings.TrimSuffix(d.Address, "/"),
	}
	if d.countsRuns {
		v["RUNNER_NAME"], v["GITEA_RUN_ID"] = d.Name, t.string("run_id")
	}
	if d.name == "forgejo-runner" {
		v["FORGEJO_ACTIONS"] = "true"
	}
	return v
}

// workspace returns the path of the repository in a job's container, and what a post-task
// script is given for a job of the host, too.
func (d *daemon) workspace(t *task) string {
	return path.Join(d.Container.WorkdirParent, t.string("repository"))
}

// socket returns the socket of the daemon that the jobs' containers see.
func socket(configured string) string {
	if configured != "" {
		return configured
	}
	return os.Getenv("DOCKER_HOST")
}

// postTask runs the script on the host, without the environment of the runner.
func (d *daemon) postTask(t *task, result string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.Runner.PostTaskScript)
	for name, value := range d.Runner.Envs {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env,
		"GITEA_TASK_ID="+strconv.FormatInt(t.ID, 10),
		"GITEA_RUN_ID="+t.string("run_id"),
		"GITEA_REPOSITORY="+t.string("repository"),
		"GITEA_WORKSPACE="+d.workspace(t),
		"GITEA_JOB_RESULT="+strings.ToLower(strings.TrimPrefix(result, "RESULT_")),
	)
	out, err := cmd.CombinedOutput()
	say("post-task script of task %d: %v: %s", t.ID, err, out)
}
