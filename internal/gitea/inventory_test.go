package gitea

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostguard/runner/workflow"
)

// api is a Gitea that answers from testdata, or as one of its handlers does.
func api(t *testing.T, version string, handlers map[string]http.HandlerFunc) *Inventory {
	t.Helper()
	files := map[string]string{
		"/api/v1/admin/actions/runners":                       "runners.json",
		"/api/v1/repos/wooo/awoooi/actions/tasks":             "tasks.json",
		"/api/v1/repos/wooo/awoooi/contents/.gitea/workflows": "workflows.json",
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"version": %q}`, version)
	})
	mux.HandleFunc("/api/v1/repos/wooo/awoooi/raw/.gitea/workflows/cd.yaml", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "jobs: {build: {runs-on: awoooi-host}}")
	})
	for path, file := range files {
		if handlers[path] == nil {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				http.ServeFile(w, r, filepath.Join("testdata", file))
			})
		}
	}
	for path, handler := range handlers {
		mux.HandleFunc(path, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i, err := NewInventory(t.Context(), server.URL, NewToken(canary))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

const canary = "c0ffee-canary"

func TestWhatAServerReports(t *testing.T) {
	i := api(t, "1.26.0+dev-rig", nil)
	pool, err := i.Runners(nil)
	want := workflow.Pool{Whole: true, Runners: []workflow.Runner{
		{ID: 1, Name: "host-110", Labels: []string{"awoooi-host"}, Online: true, Busy: true},
		{ID: 2, Name: "old-110", Labels: []string{"ewoooc-host"}, Disabled: true},
	}}
	if diff := cmp.Diff(want, pool); err != nil || diff != "" {
		t.Error(err, diff)
	}
	// 27 is a task's id: neither a run nor what a page is numbered by.
	runs, err := i.LastRuns("wooo/awoooi")
	if diff := cmp.Diff(map[string]workflow.Run{
		"cd.yaml":  {Number: 2, Status: "waiting"}, // 1970 is no time
		"lint.yml": {Number: 1, Status: "success", Started: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)},
	}, runs); err != nil || diff != "" {
		t.Error(err, diff)
	}
	var files []string
	visit := func(name string, data []byte) { files = append(files, name+": "+string(data)) }
	if err := i.WorkflowFiles("wooo/awoooi", visit); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"cd.yaml: jobs: {build: {runs-on: awoooi-host}}"}, files); diff != "" {
		t.Error(diff)
	}
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

const tasks = "/api/v1/repos/wooo/awoooi/actions/tasks"

func TestFailuresAreReportedInOneLine(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"workflow_runs": [`)
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		wantErr string
	}{
		"401": {answer(401, `{"message":"user does not exist [uid: 0, name: ]"}`), "rejects the token (401"},
		"403": {
			answer(403, `{"message":"token does not have at least one of required scope(s)"}`),
			"does not let the token do that (403",
		},
		"404":          {answer(404, `{"message":"not found"}`), "has none, or shows none"},
		"500":          {answer(500, "oops\n::set-env name=x::y"), "answers 500"},
		"429":          {answer(429, "slow down"), "answers 429"},
		"HTML":         {answer(200, "<html>\n::set-env name=x::y</html>"), "not Gitea's"},
		"empty":        {answer(200, ""), "not Gitea's"},
		"another type": {answer(200, `{"workflow_runs": 3}`), "not Gitea's"},
		"cut off":      {cut, "unexpected EOF"},
		"endless":      {answer(200, strings.Repeat(" ", maxAnswer+1)), "more than"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "redirects to another address (302)"},
		"echoes the token": {func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.Header.Get("Authorization"), 500)
		}, "[token]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := api(t, "1.26.0", map[string]http.HandlerFunc{tasks: c.handler}).LastRuns("wooo/awoooi")
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("%v, want %q", err, c.wantErr)
			}
			if strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), canary) {
				t.Errorf("it prints too much: %s", err)
			}
		})
	}
}

// The first question is for the version, and a token that was revoked, a proxy or
// a server that has moved meets it before all others.
func TestAServerThatDoesNotReportItsVersion(t *testing.T) {
	for wantErr, handler := range map[string]http.HandlerFunc{
		// recorded, of a token that is none
		"rejects the token (401":                    answer(401, `{"message":"user does not exist [uid: 0, name: ]"}`),
		"answers 502":                               answer(502, "<html>"),
		"is it a proxy's page?":                     answer(200, "<html>"),
		"redirects to another address (302)":        http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP,
		"malformed version: none\"); is it a proxy": answer(200, "{}"),
		"the server is too old to report it":        answer(200, `{"version": "1.10.6"}`),
		`read the server's version: "http://127.`:   answer(500, ""),
	} {
		server := httptest.NewServer(handler)
		_, err := NewInventory(t.Context(), server.URL, NewToken(canary))
		server.Close()
		if err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%v, want %q", err, wantErr)
		}
	}
}

func TestASlowServerIsNotWaitedForLong(t *testing.T) {
	i := api(t, "1.26.0", map[string]http.HandlerFunc{
		tasks: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	i.client.SetContext(ctx)
	if _, err := i.LastRuns("wooo/awoooi"); err == nil || !strings.Contains(err.Error(), "did not answer in time") {
		t.Error(err)
	}
}

func TestAnOlderServerListsNoRunners(t *testing.T) {
	i := api(t, "1.24.7", map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners": func(http.ResponseWriter, *http.Request) { t.Error("asked") },
	})
	pool, err := i.Runners([]string{"wooo/awoooi"})
	if err == nil || !strings.Contains(err.Error(), "the server is too old to report it") || pool.Whole {
		t.Error(pool, err)
	}
	if _, err := i.LastRuns("wooo/awoooi"); err != nil { // it does list its tasks
		t.Error(err)
	}
}

// A token without read:admin sees the runners of its repositories and owners.
func TestATokenThatMayNotListAllRunners(t *testing.T) {
	list := func(id int, name string) http.HandlerFunc {
		const one = `{"runners": [{"id": %d, "name": %q, "status": "online", "labels": []}], "total_count": 1}`
		return answer(200, fmt.Sprintf(one, id, name))
	}
	i := api(t, "1.26.0", map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners":             answer(403, `{"message":"required=[read:admin]"}`),
		"/api/v1/repos/wooo/awoooi/actions/runners": list(1, "awoooi's"),
		"/api/v1/repos/wooo/ewoooc/actions/runners": answer(403, `{}`),
		"/api/v1/orgs/wooo/actions/runners":         list(2, "wooo's"),
	})
	pool, err := i.Runners([]string{"wooo/awoooi", "wooo/ewoooc"})
	if err == nil || !strings.Contains(err.Error(), "only 2: ") || pool.Whole || len(pool.Runners) != 2 {
		t.Error(pool, err)
	}
}

// The server gives fewer a page than it was asked for, and sends the total in
// the body alone.
func TestListsAreReadToTheirEnd(t *testing.T) {
	const total = 7
	i := api(t, "1.26.0", map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners": func(w http.ResponseWriter, r *http.Request) {
			var page int
			fmt.Sscan(r.URL.Query().Get("page"), &page)
			var some []string
			for n := 3 * (page - 1); n < min(3*page, total); n++ {
				some = append(some, fmt.Sprintf(`{"name": "r%d"}`, n))
			}
			fmt.Fprintf(w, `{"runners": [%s], "total_count": %d}`, strings.Join(some, ","), total)
		},
	})
	if pool, err := i.Runners(nil); err != nil || len(pool.Runners) != total || pool.Runners[6].Name != "r6" {
		t.Error(pool, err)
	}
}

// The tokens that are around have read:repository and not read:user.
func TestTheOwnersRepositoriesAreSearchedByTheOwnersID(t *testing.T) {
	i := api(t, "1.26.0", map[string]http.HandlerFunc{
		"/api/v1/repos/wooo/awoooi": answer(200, `{"owner": {"id": 7}}`),
		"/api/v1/repos/wooo/odd":    answer(200, `{}`),
		"/api/v1/repos/search": func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Get("uid") != "7" || q.Get("exclusive") != "true" {
				t.Errorf("asked %s", r.URL)
			}
			w.Header().Set("X-Total-Count", "2")
			fmt.Fprintf(w, `{"data": [{"full_name": "wooo/page-%s"}]}`, r.URL.Query().Get("page"))
		},
	})
	names, err := i.Siblings("wooo/awoooi")
	if diff := cmp.Diff([]string{"wooo/page-1", "wooo/page-2"}, names); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := i.Siblings("wooo/odd"); err == nil || !strings.Contains(err.Error(), "does not name its owner") {
		t.Error(err)
	}
}

func TestAListWithoutEndIsLeft(t *testing.T) {
	i := api(t, "1.26.0", map[string]http.HandlerFunc{
		"/api/v1/repos/wooo/awoooi": answer(200, `{"owner": {"id": 7}}`),
		"/api/v1/repos/search":      answer(200, `{"data": [{"full_name": "wooo/again"}]}`),
	})
	if _, err := i.Siblings("wooo/awoooi"); err == nil || !strings.Contains(err.Error(), "goes on after") {
		t.Error(err)
	}
}

func TestManyRepositoriesAreAskedAFewAtATime(t *testing.T) {
	var now, most, all atomic.Int32
	i := api(t, "1.26.0", map[string]http.HandlerFunc{"/api/v1/repos/": func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		all.Add(1)
		time.Sleep(2 * time.Millisecond)
		fmt.Fprint(w, `{"workflow_runs": []}`)
	}})
	done := make(chan error, 40)
	for n := range cap(done) {
		go func() {
			_, err := i.LastRuns(fmt.Sprintf("wooo/r%d", n))
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 4 || all.Load() != 40 {
		t.Errorf("%d at once, %d in all", most.Load(), all.Load())
	}
}

func TestWorkflowsInFoldersAreListed(t *testing.T) {
	const folder = "/api/v1/repos/wooo/awoooi/contents/.gitea/workflows/old.yaml"
	i := api(t, "1.26.0", map[string]http.HandlerFunc{
		folder: answer(200, `[{"name": "cd.yaml", "type": "file"}, {"name": "endless", "type": "dir"}]`),
		"/api/v1/repos/wooo/awoooi/raw/.gitea/workflows/old.yaml/cd.yaml": answer(200, "jobs: {}"),
	})
	var names []string
	if err := i.WorkflowFiles("wooo/awoooi", func(name string, _ []byte) { names = append(names, name) }); err != nil {
		t.Error(err)
	}
	if want := []string{"cd.yaml", "old.yaml/cd.yaml"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	// A folder in a folder, for ever.
	more := answer(200, `[{"name": "more", "type": "dir"}]`)
	i = api(t, "1.26.0", map[string]http.HandlerFunc{
		folder + "/": more,
		folder:       more,
	})
	err := i.WorkflowFiles("wooo/awoooi", func(string, []byte) {})
	if err == nil || !strings.Contains(err.Error(), "there are more than 200") {
		t.Error(err)
	}
}

func TestARepositoryWithoutWorkflows(t *testing.T) {
	none := answer(404, `{"message":"GetContentsOrList"}`)
	i := api(t, "1.26.0", map[string]http.HandlerFunc{
		"/api/v1/repos/wooo/empty/contents/": none, "/api/v1/repos/wooo/empty": answer(200, `{"full_name": "wooo/empty"}`),
		"/api/v1/repos/wooo/hidden/": none, "/api/v1/repos/wooo/hidden": none,
	})
	if err := i.WorkflowFiles("wooo/empty", nil); err != nil {
		t.Error(err)
	}
	err := i.WorkflowFiles("wooo/hidden", nil)
	if err == nil || !strings.Contains(err.Error(), `read the repository "wooo/hidden"`) {
		t.Error(err)
	}
}

func TestParseRemote(t *testing.T) {
	whole := strings.Repeat("c0ffee0042", 4)
	for raw, want := range map[string]struct{ server, repository, token string }{
		"https://gitea.example.com/wooo/awoooi.git":          {"https://gitea.example.com", "wooo/awoooi", ""},
		"http://ci:" + canary + "@10.0.0.1:3000/wooo/awoooi": {"http://10.0.0.1:3000", "wooo/awoooi", canary},
		"https://" + whole + "@gitea.example.com/wooo/a":     {"https://gitea.example.com", "wooo/a", whole},
		"https://wooo@gitea.example.com/wooo/a.git":          {"https://gitea.example.com", "wooo/a", ""},
		"https://" + canary + ":x-oauth-basic@h/wooo/a":      {"https://h", "wooo/a", canary},
		"https://gitea.example.com/git/wooo/a.git/":          {"https://gitea.example.com/git", "wooo/a", ""},
		"git@gitea.example.com:wooo/a.git":                   {"", "wooo/a", ""},
		"ssh://git@gitea.example.com:2222/wooo/a.git":        {"", "wooo/a", ""},
	} {
		r, err := ParseRemote(raw)
		if err != nil || r.Server != want.server || r.Repository != want.repository || r.Token.secret != want.token {
			t.Errorf("%q: %+v, %v", raw, r, err)
		}
	}
	for _, raw := range []string{
		"", "/srv/a.git", "../a", "https://ci:" + canary + "@h%zz/a/b",
		"https://" + canary + "@h/a", "https://" + canary + "@/a/b",
		"http://" + canary + "\x7f@h/a/b",
	} {
		if r, err := ParseRemote(raw); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %+v, %v", raw, r, err)
		}
	}
}

func TestATokenDoesNotPrint(t *testing.T) {
	r := Remote{Token: NewToken(canary)}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(format, r); strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
			t.Errorf("%s: %s", format, got)
		}
	}
}
