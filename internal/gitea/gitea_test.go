package gitea

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostguard/lock"
)

// now is the server's clock, whatever ours shows.
var now = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)

func before(d time.Duration) string { return now.Add(-d).Format(time.RFC3339) }

func run(status, completed string) string {
	return fmt.Sprintf(`{"id": 26, "status": %q, "completed_at": %q}`, status, completed)
}

func jobs(list ...string) string {
	return fmt.Sprintf(`{"total_count": %d, "jobs": [%s]}`, len(list), strings.Join(list, ","))
}

func leg(name, status, completed string) string {
	return fmt.Sprintf(`{"id": 1, "run_id": 26, "name": %q, "status": %q, "completed_at": %q}`, name, status, completed)
}

const unset = "1970-01-01T00:00:00Z"

func TestWhetherARunGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		run, jobs string
		status    int
		want      lock.Life
		evidence  string
	}{
		"its job is running": {run: run("in_progress", unset), jobs: jobs(leg("deploy", "in_progress", unset)),
			want: lock.Alive, evidence: "its job is still running"},
		"ended": {run: run("completed", before(2*time.Minute)), want: lock.Dead,
			evidence: "its run ended 2m0s ago"},
		"just cancelled": {run: run("completed", before(59*time.Second)), want: lock.Unknown,
			evidence: "less than 1m0s ago"},
		"ended, no time":      {run: run("completed", unset), want: lock.Unknown, evidence: "does not report when"},
		"ended in the future": {run: run("completed", before(-time.Hour)), want: lock.Unknown, evidence: "less than"},
		"others go on without it": {run: run("in_progress", unset), jobs: jobs(leg("test", "in_progress", unset),
			leg("deploy", "completed", before(time.Hour))), want: lock.Dead, evidence: "its job ended 1h0m0s ago"},
		"one leg ended, one runs": {run: run("in_progress", unset), jobs: jobs(leg("deploy", "in_progress", unset),
			leg("deploy", "completed", before(time.Hour))), want: lock.Unknown, evidence: "some jobs with its name"},
		"queued again": {run: run("queued", unset), jobs: jobs(leg("deploy", "queued", unset)), want: lock.Unknown,
			evidence: "has yet to run"},
		"no job of its name": {run: run("in_progress", unset), jobs: jobs(leg("test", "in_progress", unset)),
			want: lock.Unknown, evidence: "no job with its name"},
		"not found": {run: `{"message":"not found"}`, status: 404, want: lock.Unknown, evidence: "not found"},
		"not allowed": {run: `{"message":"user does not exist [uid: 0, name: ]"}`, status: 401,
			want: lock.Unknown, evidence: "does not report"},
		"broken": {run: `oops`, status: 500, want: lock.Unknown, evidence: "does not report"},
		"HTML": {run: "<html>\n::set-env name=x::y</html>", want: lock.Unknown,
			evidence: "does not report"},
		"echoes the token": {run: "Authorization: token secret", status: 500, want: lock.Unknown, evidence: "[token]"},
		"endless":          {run: strings.Repeat(" ", maxAnswer+1), want: lock.Unknown, evidence: "more than"},
		"more legs than listed": {run: run("in_progress", unset), jobs: strings.Replace(jobs(leg("deploy", "completed",
			before(time.Hour))), ": 1,", ": 51,", 1), want: lock.Unknown, evidence: "more jobs than one answer"},
		"another run": {run: strings.Replace(run("completed", before(time.Hour)), "26", "27", 1),
			want: lock.Unknown, evidence: "about another run"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, "1.26.0", func(w http.ResponseWriter, r *http.Request) {
				if c.status != 0 {
					w.WriteHeader(c.status)
				}
				if strings.HasSuffix(r.URL.Path, "/jobs") {
					fmt.Fprint(w, c.jobs)
				} else {
					fmt.Fprint(w, c.run)
				}
			})
			job := lock.Job{Repository: "wooo/api", RunID: "26", Job: "deploy"}
			life, evidence := New(server.URL, "secret", 10*time.Second).Run(t.Context(), job)
			if life != c.want || !strings.Contains(evidence, c.evidence) {
				t.Errorf("%s because %s, want %s because %q", life, evidence, c.want, c.evidence)
			}
			if strings.Contains(evidence, "\n") || strings.Contains(evidence, "secret") {
				t.Errorf("the evidence shows too much: %q", evidence)
			}
		})
	}
}

// serve is a Gitea that answers about one run.
func serve(t *testing.T, version string, run http.HandlerFunc) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"version": %q}`, version)
	})
	mux.HandleFunc("/api/v1/repos/wooo/api/actions/runs/26", run)
	mux.HandleFunc("/api/v1/repos/wooo/api/actions/runs/26/jobs", run)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token secret" {
			t.Errorf("asked with %q", r.Header.Get("Authorization"))
		}
		w.Header().Set("Date", now.Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestAnOlderServerIsNotAsked(t *testing.T) {
	server := serve(t, "1.25.3", func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	job := lock.Job{Repository: "wooo/api", RunID: "26"}
	life, evidence := New(server.URL, "secret", 10*time.Second).Run(t.Context(), job)
	if life != lock.Unknown {
		t.Errorf("%s because %s", life, evidence)
	}
}

func TestTheTokenGoesNowhereElse(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked for %s", r.URL)
	}))
	defer other.Close()
	server := serve(t, "1.26.0", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	job := lock.Job{Repository: "wooo/api", RunID: "26"}
	life, evidence := New(server.URL, "secret", 10*time.Second).Run(t.Context(), job)
	if life != lock.Unknown {
		t.Errorf("%s because %s", life, evidence)
	}
}

func TestASlowServerHoldsNobodyUp(t *testing.T) {
	answer := make(chan struct{})
	asked := make(chan struct{}, 9)
	server := serve(t, "1.26.0", func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		fmt.Fprint(w, run("completed", before(time.Hour)))
	})
	s := New(server.URL, "secret", 0)
	job := lock.Job{Repository: "wooo/api", RunID: "26", Job: "deploy"}
	for range 3 {
		life, evidence := s.Run(t.Context(), job)
		if life != lock.Unknown || !strings.Contains(evidence, "not answered yet") {
			t.Errorf("%s because %s", life, evidence)
		}
	}
	<-asked
	s.mu.Lock()
	answered := s.jobs[job].underWay
	s.mu.Unlock()
	close(answer)
	<-answered
	if life, evidence := s.Run(t.Context(), job); life != lock.Dead {
		t.Errorf("%s because %s", life, evidence)
	}
	if len(asked) != 0 {
		t.Errorf("asked %d times more", len(asked))
	}
}

func TestLabelsThatNameNoRunAreNotAskedAfter(t *testing.T) {
	for _, job := range []lock.Job{
		{Repository: "wooo", RunID: "26"}, {Repository: "wooo/api", RunID: "../../admin"},
		{Repository: "wooo/api"}, {Repository: "wooo/api", RunID: "-1"},
	} {
		if life, _ := New("http://127.0.0.1:1", "secret", time.Second).Run(t.Context(), job); life != lock.Unknown {
			t.Errorf("%+v: %s", job, life)
		}
	}
}
