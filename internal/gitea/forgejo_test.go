package gitea

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostguard/lock"
	"hostguard/runner/workflow"
)

const forgejo14 = "14.0.0+gitea-1.22.0"

func TestForgejosVersion(t *testing.T) {
	for version, want := range map[string][2]string{
		forgejo14:                             {"14.0.0", "1.22.0"},
		"7.0.16-dev-12-0123abc+gitea-1.21.11": {"7.0.16-dev-12-0123abc", "1.21.11"},
		"15.0.1":                              {"15.0.1", "1.22.0"},
		"1.26.0+dev-rig":                      {"", "1.26.0+dev-rig"},
		"1.27.0-rc0":                          {"", "1.27.0-rc0"},
		"1.21.11-2":                           {"", "1.21.11-2"}, // Forgejo too, with Gitea's API of that number
		"+gitea-1.22.0":                       {"", "+gitea-1.22.0"},
		"":                                    {"", ""},
		"<html>":                              {"", "<html>"},
	} {
		if forgejo, api := forgejoVersion(version); forgejo != want[0] || api != want[1] {
			t.Errorf("%q: %q, %q", version, forgejo, api)
		}
	}
}

// Before, the list was "not Gitea's; is it a proxy's page?".
func TestForgejosRunners(t *testing.T) {
	i := api(t, forgejo14, map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "token "+canary {
				t.Errorf("asked with %q", r.Header.Get("Authorization"))
			}
			w.Header().Set("X-Total-Count", "4")
			if r.URL.Query().Get("page") == "1" {
				fmt.Fprint(w, `[{"id": 3, "uuid": "u", "name": "box", "labels": ["docker", "awoooi-host"], "status":
						"active"},
					{"id": 4, "name": "new", "labels": null, "status": "idle", "version": "v12.0.0"}]`)
			} else {
				fmt.Fprint(w, `[{"id": 5, "name": "old", "labels": [], "status": "offline"}, {"id": 6, "name": "odd"}]`)
			}
		},
	})
	pool, err := i.Runners(nil)
	want := workflow.Pool{Whole: true, Runners: []workflow.Runner{
		{ID: 3, Name: "box", Labels: []string{"docker", "awoooi-host"}, Online: true, Busy: true},
		{ID: 4, Name: "new", Labels: []string{}, Online: true},
		{ID: 5, Name: "old", Labels: []string{}}, {ID: 6, Name: "odd", Labels: []string{}},
	}}
	if diff := cmp.Diff(want, pool); err != nil || diff != "" {
		t.Error(err, diff)
	}
	scope, err := i.ScopeOf(4, "new", []string{"wooo/awoooi"})
	if err != nil || !scope.Whole() || i.Forgejo() != "14.0.0" {
		t.Error(scope, err)
	}
}

func TestForgejosRunnersOfScopes(t *testing.T) {
	one := func(id int) http.HandlerFunc {
		return answer(200, fmt.Sprintf(`[{"id": %d, "name": "r", "labels": [], "status": "idle"}]`, id))
	}
	i := api(t, forgejo14, map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners":             answer(403, `{"message":"required=[read:admin]"}`),
		"/api/v1/repos/wooo/awoooi/actions/runners": one(1), "/api/v1/orgs/wooo/actions/runners": one(2),
	})
	// Without a total the list ends with an empty page.
	pages := map[string]bool{}
	i.asker.http.Transport = emptyAfterTheFirst{i.asker.http.Transport, pages}
	pool, err := i.Runners([]string{"wooo/awoooi"})
	if err == nil || !strings.Contains(err.Error(), "does not let the token do that (403") || len(pool.Runners) != 2 {
		t.Error(pool, err)
	}
}

// emptyAfterTheFirst answers all pages but the first with an empty list.
type emptyAfterTheFirst struct {
	http.RoundTripper
	seen map[string]bool
}

func (e emptyAfterTheFirst) RoundTrip(r *http.Request) (*http.Response, error) {
	if q := r.URL.Query(); q.Get("page") != "" && q.Get("page") != "1" {
		recorder := httptest.NewRecorder()
		fmt.Fprint(recorder, "[]")
		return recorder.Result(), nil
	}
	return e.RoundTripper.RoundTrip(r)
}

// What Forgejo does not have is named as that, and never as a proxy's page.
func TestWhatForgejoDoesNotHave(t *testing.T) {
	i := api(t, forgejo14, map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners/": func(http.ResponseWriter, *http.Request) { t.Error("asked") },
		"/api/v1/admin/actions/runners":  answer(200, `{"runners": 3}`),
	})
	_, disabled := i.Registered(3, "box", "wooo/awoooi")
	_, token := i.RegistrationToken(Scope{})
	_, list := i.RunnersOf(Scope{})
	removed := i.RemoveRunner(Scope{}, 3, "box")
	for _, err := range []error{disabled, token, removed} {
		if err == nil || !strings.Contains(err.Error(), `not supported with Forgejo ("14.0.0" at`) {
			t.Error(err)
		}
	}
	if list == nil || !strings.Contains(list.Error(), "is Forgejo \"14.0.0\", whose answer is not known") {
		t.Error(list)
	}
	for _, err := range []error{disabled, token, list} {
		if strings.Contains(fmt.Sprint(err), "proxy") || strings.Contains(fmt.Sprint(err), canary) {
			t.Error(err)
		}
	}
	// An older one lists no runners.
	i = api(t, "11.0.0+gitea-1.22.0", map[string]http.HandlerFunc{"/api/v1/admin/actions/runners": answer(404, "{}")})
	if _, err := i.RunnersOf(Scope{}); !errors.Is(err, errNone) {
		t.Error(err)
	}
}

// Forgejo reads its own directory first, Gitea not at all.
func TestWorkflowsOfForgejo(t *testing.T) {
	handlers := map[string]http.HandlerFunc{
		"/api/v1/repos/wooo/awoooi/contents/.forgejo/workflows":  answer(200, `[{"name": "f.yml", "type": "file"}]`),
		"/api/v1/repos/wooo/awoooi/raw/.forgejo/workflows/f.yml": answer(200, "jobs: {}"),
		"/api/v1/repos/wooo/old/contents/.forgejo/workflows":     answer(404, "{}"),
		"/api/v1/repos/wooo/old/contents/.gitea/workflows":       answer(200, `[{"name": "g.yml", "type": "file"}]`),
		"/api/v1/repos/wooo/old/raw/.gitea/workflows/g.yml":      answer(200, "jobs: {}"),
	}
	for _, c := range []struct{ version, repository, want string }{
		{forgejo14, "wooo/awoooi", "f.yml"}, {forgejo14, "wooo/old", "g.yml"}, {"1.26.0", "wooo/awoooi", "cd.yaml"},
	} {
		var names []string
		visit := func(name string, _ []byte) { names = append(names, name) }
		err := api(t, c.version, handlers).WorkflowFiles(c.repository, visit)
		if got := strings.Join(names, " "); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestAServerOfAnotherKind(t *testing.T) {
	server := httptest.NewServer(answer(404, `{"message":"Not Found","documentation_url":"https://docs.example"}`))
	defer server.Close()
	_, err := NewInventory(t.Context(), server.URL, NewToken(canary))
	if err == nil || !strings.Contains(err.Error(), "is neither Gitea nor Forgejo (404)") {
		t.Error(err)
	}
}

func TestWhetherARunOfForgejoGoesOn(t *testing.T) {
	run := func(status, stopped string) string {
		return fmt.Sprintf(`{"id": 26, "index_in_repo": 4, "status": %q, "started": %q, "stopped": %q}`, status,
			before(time.Hour), stopped)
	}
	another := strings.Replace(run("success", before(time.Hour)), "26", "27", 1)
	for name, c := range map[string]struct {
		run      string
		status   int
		want     lock.Life
		evidence string
	}{
		"running":         {run("running", unset), 200, lock.Unknown, "its run is still running"},
		"waits again":     {run("waiting", unset), 200, lock.Unknown, "its run is still running"},
		"of another kind": {run("paused", before(time.Hour)), 200, lock.Unknown, "its run is still running"},
		"ended":           {run("success", before(2*time.Minute)), 200, lock.Dead, "its run ended 2m0s ago"},
		"cancelled":       {run("cancelled", before(2*time.Minute)), 200, lock.Dead, "its run ended 2m0s ago"},
		"just cancelled":  {run("cancelled", before(59*time.Second)), 200, lock.Unknown, "less than 1m0s ago"},
		"no time":         {run("failure", unset), 200, lock.Unknown, "does not report when"},
		"not found":       {`{"message":"not found"}`, 404, lock.Unknown, "not found"},
		"HTML":            {"<html>\n::set-env name=x::y", 200, lock.Unknown, "does not report"},
		"echoes":          {"token secret", 500, lock.Unknown, "[token]"},
		"another run":     {another, 200, lock.Unknown, "about another run"},
	} {
		server := serve(t, forgejo14, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/jobs") {
				t.Error("asked for the jobs")
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.run)
		})
		job := lock.Job{Repository: "wooo/api", RunID: "26", Job: "deploy"}
		life, evidence := New(server.URL, "secret", 10*time.Second).Run(t.Context(), job)
		if life != c.want || !strings.Contains(evidence, c.evidence) || strings.ContainsAny(evidence, "\n") ||
			strings.Contains(evidence, "secret") {
			t.Errorf("%s: %s because %s, want %s because %q", name, life, evidence, c.want, c.evidence)
		}
	}
}
