package operate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A program that only checks reads what is missing, beside the exit status.
func TestACheckOfTheBackendPrintsWhatIsMissing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("a check asks for %s %s", r.Method, r.URL)
		}
		if r.URL.Path != "/api/v1/user" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"id": 7, "login": "locks-bot"}`)
	}))
	t.Cleanup(server.Close)
	env := map[string]string{"HOSTGUARD_GITEA_URL": server.URL, "HOSTGUARD_GITEA_TOKEN": "secret"}
	status, out, errs := run(env, "backend", "gitea", "-json")
	const want = `{"version":1,"changes":["make the private repository \"locks-bot/hostguard-locks\"",` +
		`"make an issue in \"locks-bot/hostguard-locks\", whose comments will be the locks"],"applied":false}` + "\n"
	if status != 1 || out != want {
		t.Errorf("status %d, %s\n%s", status, out, errs)
	}
}

// The server chooses an issue's number: each run would make another that is not the one asked for.
func TestTheBackendMakesNoIssueInsteadOfAnother(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			t.Errorf("%s %s", r.Method, r.URL)
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/api/v1/user":
			fmt.Fprint(w, `{"id": 7, "login": "locks-bot"}`)
		case r.URL.Path == "/api/v1/repos/ci/locks":
			fmt.Fprint(w, `{"private": true}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	env := map[string]string{"HOSTGUARD_GITEA_URL": server.URL, "HOSTGUARD_GITEA_TOKEN": "secret",
		"HOSTGUARD_GITEA_ISSUE": "ci/locks#5"}
	for _, flags := range [][]string{{"-init"}, {"-init", "-apply"}} {
		status, out, errs := run(env, append([]string{"backend", "gitea"}, flags...)...)
		if status != 1 || !strings.Contains(errs, "ci/locks#5: there is no such issue") {
			t.Errorf("%s: status %d, %s\n%s", flags, status, out, errs)
		}
	}
}
