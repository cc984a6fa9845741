package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// report reports the progress of a task to the server. It is the hook of the job's logger.
type report struct {
	d      *daemon
	id     int64
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	state taskState
	rows  []logRow
	sent  int64 // rows that the server has
	deaf  bool  // what is logged from now on is lost
}

func newReport(d *daemon, t *task) *report {
	now := time.Now()
	return &report{d: d, id: t.ID, state: taskState{ID: t.ID, StartedAt: &now}}
}

// steps makes the report one of n steps.
func (r *report) steps(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		r.state.Steps = append(r.state.Steps, stepState{ID: int64(i)})
	}
}

// WithJobLogger implements the engine's JobLoggerFactory.
func (r *report) WithJobLogger() *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logger
}

// Levels implements logrus.Hook.
func (r *report) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (r *report) Fire(entry *logrus.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	step, inStep := entry.Data["stepNumber"].(int)
	inStep = inStep && step < len(r.state.Steps) && entry.Data["stage"] == "Main"
	if inStep && r.state.Steps[step].StartedAt == nil {
		now := time.Now()
		r.state.Steps[step].StartedAt, r.state.Steps[step].LogIndex = &now, int64(len(r.rows))
	}
	if entry.Data["raw_output"] == true || entry.Level <= logrus.InfoLevel {
		r.append(entry.Time, entry.Message)
		if inStep {
			r.state.Steps[step].LogLength = int64(len(r.rows)) - r.state.Steps[step].LogIndex
		}
	}
	if result, ok := entry.Data["stepResult"]; ok && inStep {
		ids, _ := entry.Data["stepID"].([]string)
		if len(ids) == 1 { // and not of a step of a composite action
			now := time.Now()
			r.state.Steps[step].StoppedAt = &now
			r.state.Steps[step].Result = "RESULT_" + strings.ToUpper(fmt.Sprint(result))
		}
	}
	return nil
}

// JobHook returns the path of a hook of the job's, for the engine of the new runner.
func (r *report) JobHook(when string) string {
	switch {
	case !r.d.hooks:
		return ""
	case when == "started":
		return r.d.Runner.Hooks.JobStarted
	}
	return r.d.Runner.Hooks.JobCompleted
}

// log adds a line of the runner's own.
func (r *report) log(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.append(time.Now(), line)
}

func (r *report) append(at time.Time, text string) {
	if r.deaf {
		return
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		r.rows = append(r.rows, logRow{at, line})
	}
}

// watch sends the log, and cancels the job once the server asks for that.
func (r *report) watch(ctx context.Context) {
	asked := time.Now()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(poll):
		}
		r.send(false)
		if time.Since(asked) < r.d.cancelAfter {
			continue
		}
		asked = time.Now()
		if r.update() == cancelled {
			r.mu.Lock()
			r.deaf = !r.d.lateLog
			r.mu.Unlock()
			say("task %d is cancelled", r.id)
			r.cancel(errCancelled)
		}
	}
}

// update sends the state and returns the result that the server has, if it has one.
func (r *report) update() string {
	r.mu.Lock()
	request := updateTaskRequest{State: r.state}
	request.State.Steps = append([]stepState(nil), r.state.Steps...)
	r.mu.Unlock()
	var response updateTaskResponse
	if err := r.d.client.call(context.Background(), "UpdateTask", request, &response); err != nil {
		say("update task %d: %v", r.id, err)
	}
	return response.State.Result
}

// send sends the rows of the log that the server has not.
func (r *report) send(noMore bool) {
	r.mu.Lock()
	request := updateLogRequest{TaskID: r.id, Index: r.sent, Rows: r.rows[r.sent:], NoMore: noMore}
	r.mu.Unlock()
	if len(request.Rows) == 0 && !noMore {
		return
	}
	var response updateLogResponse
	if err := r.d.client.call(context.Background(), "UpdateLog", request, &response); err != nil {
		say("update log of task %d: %v", r.id, err)
		return
	}
	r.mu.Lock()
	r.sent = response.AckIndex
	r.mu.Unlock()
}

// close sends the rest of the log and the result.
func (r *report) close(result string) {
	now := time.Now()
	r.mu.Lock()
	for i := range r.state.Steps {
		if r.state.Steps[i].Result == "" {
			r.state.Steps[i].Result = skipped
		}
	}
	r.state.Result, r.state.StoppedAt = result, &now
	r.mu.Unlock()
	r.send(true)
	r.update()
}
