package gitea

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// runnerAPI is a Gitea with one list of runners, by the path of its scope. It
// gives a registration token and removes runners.
func runnerAPI(t *testing.T, scope string, removed *[]string) *Inventory {
	t.Helper()
	path := "/api/v1" + scope + "/actions/runners"
	return api(t, "1.26.0", map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners": answer(403, `{"message": "required=[read:admin]"}`), // unless it is that one
		path: answer(200, `{"runners": [{"id": 7, "name": "host-110", "status": "online", `+
			`"labels": [{"name": "awoooi-host"}]}], "total_count": 1}`),
		path + "/registration-token": func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				t.Errorf("asked by %s", r.Method)
			}
			fmt.Fprint(w, `{"token": "registers"}`)
		},
		path + "/": func(w http.ResponseWriter, r *http.Request) {
			*removed = append(*removed, r.Method+" "+r.URL.Path[len("/api/v1"):])
			w.WriteHeader(http.StatusNoContent)
		},
	})
}

func TestARunnersScopeIsFoundAndUsed(t *testing.T) {
	for path, want := range map[string]struct {
		scope Scope
		text  string
	}{
		"/repos/wooo/awoooi": {Scope{owner: "wooo", name: "awoooi"}, `the repository "wooo/awoooi"`},
		"/orgs/wooo":         {Scope{owner: "wooo"}, `the organization "wooo"`},
		"/user":              {Scope{user: true}, "the token's user"},
		"/admin":             {Scope{}, "the server"},
	} {
		t.Run(want.text, func(t *testing.T) {
			var removed []string
			i := runnerAPI(t, path, &removed)
			scope, err := i.ScopeOf(7, "host-110", []string{"wooo/awoooi", "wooo/ewoooc"})
			if err != nil || scope != want.scope || scope.String() != want.text || scope.Whole() != (path == "/admin") {
				t.Fatalf("%s, %v", scope, err)
			}
			token, err := i.RegistrationToken(scope)
			if err != nil || token.secret != "registers" {
				t.Error(err)
			}
			err = i.RemoveRunner(scope, 7, "host-110")
			if err != nil || len(removed) != 1 || removed[0] != "DELETE "+path+"/actions/runners/7" {
				t.Errorf("%q, %v", removed, err)
			}
		})
	}
}

// Nothing is removed that is not proven to be the runner that is meant.
func TestAnotherRunnerIsNotRemoved(t *testing.T) {
	var removed []string
	i := runnerAPI(t, "/admin", &removed)
	err := i.RemoveRunner(Scope{}, 7, "host-110-awoooi")
	if err == nil || !strings.Contains(err.Error(), `that id is of "host-110"`) {
		t.Error(err)
	}
	err = i.RemoveRunner(Scope{}, 8, "host-110-awoooi") // it may be in another scope
	if err == nil || !strings.Contains(err.Error(), "shows no such runner of the server") {
		t.Error(err)
	}
	if len(removed) > 0 {
		t.Errorf("removed %q", removed)
	}
}

func TestARunnerOutOfSightHasNoScope(t *testing.T) {
	var removed []string
	for name, id := range map[string]int64{"host-110": 8, "another": 7} { // the id of another server's
		s, err := runnerAPI(t, "/orgs/wooo", &removed).ScopeOf(id, name, []string{"wooo/awoooi"})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("find the runner %q", name)) {
			t.Errorf("%q, %v", s, err)
		}
	}
}

func TestFailuresOfARegistrationAreReportedInOneLine(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		wantErr string
	}{
		"401":  {answer(401, `{"message": "no"}`), "rejects the token (401"},
		"403":  {answer(403, `{"message": "no"}`), "does not let the token do that (403"},
		"404":  {answer(404, `{"message": "no"}`), "has none, or shows none"},
		"405":  {answer(405, "no"), "answers 405"},
		"500":  {answer(500, "oops\n::set-env name=x::y"), "answers 500"},
		"none": {answer(200, "{}"), "gives an empty one"},
		"HTML": {answer(200, "<html>\n::set-env name=x::y</html>"), "not Gitea's"},
		"echo": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, r.Header.Get("Authorization"), 500)
			},
			"[token]",
		},
	} {
		const runners = "/api/v1/admin/actions/runners"
		i := api(t, "1.26.0", map[string]http.HandlerFunc{
			runners: answer(200,
				`{"runners": [{"id": 7, "name": "host-110"}], "total_count": 1}`),
			runners + "/registration-token": c.handler,
			runners + "/7":                  c.handler,
		})
		_, err := i.RegistrationToken(Scope{})
		errs := []error{err}
		if name != "404" && name != "HTML" && name != "none" { // gone by now; the answer of a removal is not read
			errs = append(errs, i.RemoveRunner(Scope{}, 7, "host-110"))
		}
		for _, err := range errs {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) || strings.ContainsAny(err.Error(), "\n\r") ||
				strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v, want %q", name, err, c.wantErr)
			}
		}
	}
}

func TestAnOlderServerGivesATokenAndListsNoRunners(t *testing.T) {
	i := api(t, "1.24.7", map[string]http.HandlerFunc{
		"/api/v1/admin/actions/runners/registration-token": answer(200, `{"token": "registers"}`),
	})
	if token, err := i.RegistrationToken(Scope{}); err != nil || token.secret != "registers" {
		t.Error(err)
	}
	if err := i.RemoveRunner(Scope{}, 7, "host-110"); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Error(err)
	}
}
