package runner

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"

	"github.com/nektos/act/pkg/common"
)

// newer is the state of a job that the new runner's engine has and the fork has not.
type newer struct {
	job       context.Context // done once the job is cancelled
	cancelled bool            // a step has ended or began thereafter
	hook      func(when string) string
}

// hashedName returns the name of a container.
func hashedName(parts []string) string {
	name := strings.Join(parts, "-")
	return fmt.Sprintf("%s-%x", name[:min(len(name), 63)], sha256.Sum256([]byte(name)))
}

// withHook runs the steps of a job after its hook, in a context that no cancel ends.
func (rc *RunContext) withHook(steps common.Executor) common.Executor {
	return func(ctx context.Context) error {
		rc.newer.job = ctx
		if hooks, ok := common.LoggerHook(ctx).(interface{ JobHook(when string) string }); ok {
			rc.newer.hook = hooks.JobHook
		}
		if err := rc.runHook(ctx, "started"); err != nil {
			return err
		}
		return steps(context.WithoutCancel(ctx))
	}
}

// stepContext returns the context of a step: a cancel ends the step that runs then.
func (rc *RunContext) stepContext(ctx context.Context) (context.Context, func()) {
	job := rc.newer.job
	if job == nil || job.Err() != nil {
		rc.newer.cancelled = job != nil
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(job, cancel)
	return ctx, func() {
		rc.newer.cancelled = job.Err() != nil
		stop()
		cancel()
	}
}

// status is the status of the job before its steps are considered.
func (rc *RunContext) status() string {
	for r := rc; r != nil; r = r.Parent {
		if r.newer.cancelled {
			return "cancelled"
		}
	}
	return "success"
}

// runHook runs a hook of the runner's in the job's environment.
func (rc *RunContext) runHook(ctx context.Context, when string) error {
	if rc.newer.hook == nil || rc.newer.hook(when) == "" {
		return nil
	}
	path := rc.newer.hook(when)
	env := maps.Clone(rc.GetEnv())
	rc.withGithubEnv(ctx, rc.getGithubContext(ctx), env)
	err := rc.JobContainer.Exec([]string{path}, env, "", "")(ctx)
	if err != nil {
		common.Logger(ctx).Errorf("job_%s hook %q: %v", when, path, err)
		common.SetJobError(ctx, err)
	}
	return err
}
