package docker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever may use the Docker socket, as a job may, makes containers of any name and number,
// with labels of any length, and may even put his own program in the daemon's place.

// answering connects to a daemon that answers every request but a ping.
func answering(t *testing.T, answer http.HandlerFunc) *Engine {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		if !strings.HasSuffix(r.URL.Path, "/_ping") {
			answer(w, r)
		}
	}))
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(func() { go server.Close() }) // waits for its handlers
	e, err := Connect(t.Context(), func(name string) string {
		return map[string]string{"DOCKER_HOST": "tcp://" + server.Listener.Addr().String()}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// about returns an answer about a running container with a label of so many megabytes.
func about(label int) http.HandlerFunc {
	id := strings.Repeat("a", 64)
	return func(w http.ResponseWriter, r *http.Request) {
		list := strings.HasSuffix(r.URL.Path, "/containers/json")
		out := bufio.NewWriter(w)
		defer out.Flush()
		if list {
			_, _ = io.WriteString(out, "[")
		}
		fmt.Fprintf(out, `{"Id": %q, "Name": "/gitea-runner", "State": `, id)
		if list {
			_, _ = io.WriteString(out, `"running", "Names": ["/gitea-runner"], "Labels": {"x": "`)
		} else {
			_, _ = io.WriteString(out, `{"Status": "running"}, "HostConfig": {}, "Config": {"Labels": {"x": "`)
		}
		for range label {
			if _, err := io.WriteString(out, strings.Repeat("x", 1<<20)); err != nil {
				return
			}
		}
		_, _ = io.WriteString(out, `"}}`+map[bool]string{true: "]", false: "}"}[list])
	}
}

func TestLongAnswersAreNotKept(t *testing.T) {
	if c, err := answering(t, about(10)).Runner(t.Context(), "gitea-runner"); err != nil || c.Status != "running" {
		t.Errorf("10 MB: %+v, %v", c, err)
	}
	const long = "its answer is longer than 32 MiB"
	for name, ask := range map[string]func(*Engine) error{
		"inspect": func(e *Engine) error { _, err := e.Runner(t.Context(), "gitea-runner"); return err },
		"list":    func(e *Engine) error { _, err := e.Tasks(t.Context()); return err },
	} {
		e := answering(t, about(500))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := ask(e)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), long) {
			t.Errorf("%s of 500 MB: %v", name, err)
		}
		if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 300 { // with that of the daemon here
			t.Errorf("%s of 500 MB took %d MB", name, allocated)
		}
	}
}

func TestTheErrorOfADaemonFitsIntoALine(t *testing.T) {
	e := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, strings.Repeat("x", 900_000))
	})
	if _, err := e.Runner(t.Context(), "gitea-runner"); err == nil || len(err.Error()) > 2*maxError {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	if err := e.SetRestart(t.Context(), "x", "no"); err == nil || len(err.Error()) > 2*maxError {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// The ID of a container is a part of later requests: it must not name another one.
func TestAContainerWithAnOddIDIsNone(t *testing.T) {
	for _, id := range []string{"", "gitea-runner", "../../containers/other", strings.Repeat("a", 63) + "/"} {
		e := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"Id": %q, "Name": "/gitea-runner", "State": {"Status": "running"}, "HostConfig": {}}`, id)
		})
		if c, err := e.Runner(t.Context(), "gitea-runner"); err == nil {
			t.Errorf("%+v", c)
		}
	}
}

// Whoever asks only for the jobs does not look into each of very many runners.
func TestVeryManyRunners(t *testing.T) {
	const many = 5000
	var inspected atomic.Int64
	e := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/containers/json") {
			inspected.Add(1)
			time.Sleep(20 * time.Millisecond)
			about(0)(w, r)
			return
		}
		_, _ = io.WriteString(w, `[{"Names": ["/GITEA-ACTIONS-TASK-1_WORKFLOW-ci_JOB-web"], "State": "running"}`)
		for i := range many {
			fmt.Fprintf(w, `,{"Id": "%064x", "Names": ["/r%d"], "Image": "gitea/act_runner", "State": "running"}`, i, i)
		}
		_, _ = io.WriteString(w, "]")
	})
	if tasks, err := e.Tasks(t.Context()); err != nil || len(tasks) != 1 || inspected.Load() > 0 {
		t.Errorf("tasks %v, %v; %d looks", tasks, err, inspected.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if runners, _, err := e.Runners(ctx); err == nil {
		t.Errorf("%d of %d runners, as if there were no more", len(runners), many)
	}
}

// A daemon that sends a byte now and then does not hold up a command.
func TestADaemonThatDribbles(t *testing.T) {
	t.Parallel()
	e := answering(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	})
	var asked sync.WaitGroup // all at once: each waits for as long as it may
	for name, ask := range map[string]func() error{
		"inspect":   func() error { _, err := e.Runner(t.Context(), "gitea-runner"); return err },
		"list":      func() error { _, err := e.Tasks(t.Context()); return err },
		"processes": func() error { _, err := e.ContainerProcesses(t.Context(), "x"); return err },
		"restart":   func() error { return e.SetRestart(t.Context(), "x", "no") },
		"signal":    func() error { return e.SignalContainer(t.Context(), "x", "SIGINT") },
		"log":       func() error { _, err := e.LastLog(t.Context(), "x", time.Now(), 5); return err },
	} {
		ended := make(chan error, 1)
		go func() { ended <- ask() }()
		asked.Go(func() {
			select {
			case err := <-ended:
				if err == nil && name != "signal" {
					t.Errorf("%s: no error", name)
				}
			case <-time.After(2 * containerTimeout):
				t.Errorf("%s: it waits for the daemon", name)
			}
		})
	}
	asked.Wait()
}
