package operate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
