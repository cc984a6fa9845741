package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// client speaks the runners' protocol, in JSON.
type client struct {
	address     string
	uuid, token string
}

// The messages of the protocol, with those of their fields that are used.
type (
	runnerMessage struct {
		ID     int64    `json:"id,string"`
		UUID   string   `json:"uuid"`
		Token  string   `json:"token"`
		Name   string   `json:"name"`
		Labels []string `json:"labels"`
	}
	registerRequest struct {
		Name    string   `json:"name"`
		Token   string   `json:"token"`
		Version string   `json:"version"`
		Labels  []string `json:"labels"`
	}
	declareRequest struct {
		Version string   `json:"version"`
		Labels  []string `json:"labels"`
	}
	runnerResponse struct {
		Runner runnerMessage `json:"runner"`
	}
	fetchTaskRequest struct {
		TasksVersion int64 `json:"tasksVersion,string"`
	}
	fetchTaskResponse struct {
		Task         *task `json:"task"`
		TasksVersion int64 `json:"tasksVersion,string"`
	}
	task struct {
		ID              int64             `json:"id,string"`
		WorkflowPayload []byte            `json:"workflowPayload"`
		Context         map[string]any    `json:"context"`
		Secrets         map[string]string `json:"secrets"`
		Vars            map[string]string `json:"vars"`
		Needs           map[string]struct {
			Outputs map[string]string `json:"outputs"`
			Result  string            `json:"result"`
		} `json:"needs"`
	}
	stepState struct {
		ID        int64      `json:"id,string"`
		Result    string     `json:"result,omitempty"`
		StartedAt *time.Time `json:"startedAt,omitempty"`
		StoppedAt *time.Time `json:"stoppedAt,omitempty"`
		LogIndex  int64      `json:"logIndex,string"`
		LogLength int64      `json:"logLength,string"`
	}
	taskState struct {
		ID        int64       `json:"id,string"`
		Result    string      `json:"result,omitempty"`
		StartedAt *time.Time  `json:"startedAt,omitempty"`
		StoppedAt *time.Time  `json:"stoppedAt,omitempty"`
		Steps     []stepState `json:"steps,omitempty"`
	}
	updateTaskRequest struct {
		State   taskState         `json:"state"`
		Outputs map[string]string `json:"outputs,omitempty"`
	}
	updateTaskResponse struct {
		State taskState `json:"state"`
	}
	logRow struct {
		Time    time.Time `json:"time"`
		Content string    `json:"content"`
	}
	updateLogRequest struct {
		TaskID int64    `json:"taskId,string"`
		Index  int64    `json:"index,string"`
		Rows   []logRow `json:"rows,omitempty"`
		NoMore bool     `json:"noMore,omitempty"`
	}
	updateLogResponse struct {
		AckIndex int64 `json:"ackIndex,string"`
	}
)

// The results of tasks and steps.
const (
	success   = "RESULT_SUCCESS"
	failure   = "RESULT_FAILURE"
	cancelled = "RESULT_CANCELLED"
	skipped   = "RESULT_SKIPPED"
)

// call sends a request to a method of the server's and decodes its answer.
func (c client) call(ctx context.Context, method string, request, response any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := strings.TrimSuffix(c.address, "/") + "/api/actions/runner.v1.RunnerService/" + method
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("x-runner-uuid", c.uuid)
	r.Header.Set("x-runner-token", c.token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", method, answer.Status, bytes.TrimSpace(text))
	}
	return json.Unmarshal(text, response)
}
