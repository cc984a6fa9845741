package operate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hostguard/internal/cli"
	"hostguard/internal/runnerdir"
	"hostguard/runner"
)

const canary = "c0ffee-canary"

// run runs hostguard and returns its exit status and output.
func run(env map[string]string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = cli.Main(cli.World{
		Program: "hostguard", Args: args, Getenv: func(name string) string { return env[name] },
		Stdout: &out, Stderr: &errs, Signals: make(chan os.Signal), DefaultSignals: func() {},
	}, Commands())
	return status, out.String(), errs.String()
}

// checkoutOf returns a git checkout with these remotes and one workflow.
func checkoutOf(t *testing.T, remotes map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %s", args, out)
		}
	}
	git("init", "--quiet")
	for name, url := range remotes {
		git("remote", "add", name, url)
	}
	writeFile(t, "jobs: {local: {runs-on: awoooi-host}}", dir, ".gitea/workflows/ci.yml")
	return dir
}

func writeFile(t *testing.T, text string, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// labelsServer starts a Gitea with two repositories; asked counts the requests by token.
func labelsServer(t *testing.T, wrong func(w http.ResponseWriter, r *http.Request) bool) (url string,
	asked func(token string) int) {
	t.Helper()
	var mu sync.Mutex
	tokens := map[string]int{}
	answers := map[string]string{
		"/version":           `{"version": "1.26.0"}`,
		"/repos/wooo/awoooi": `{"full_name": "wooo/awoooi", "owner": {"id": 7}}`,
		"/repos/search":      `{"data": [{"full_name": "wooo/awoooi"}, {"full_name": "wooo/ewoooc"}]}`,
		"/admin/actions/runners": `{"runners": [{"name": "host-110", "status": "online", ` +
			`"labels": [{"name": "awoooi-host"}]}], "total_count": 1}`,
		"/repos/wooo/awoooi/contents/.gitea/workflows":    `[{"name": "cd.yaml", "type": "file"}]`,
		"/repos/wooo/awoooi/raw/.gitea/workflows/cd.yaml": `jobs: {build: {runs-on: awoooi-host}}`,
		"/repos/wooo/awoooi/actions/tasks": `{"workflow_runs": [{"id": 9, "run_number": 3, ` +
			`"workflow_id": "cd.yaml", "status": "success"}]}`,
		"/repos/wooo/ewoooc/contents/.gitea/workflows": `[{"name": "cd.yaml", "type": "file"}]`,
		"/repos/wooo/ewoooc/raw/.gitea/workflows/cd.yaml": `jobs: {"\n::set-env name=BASH_ENV::x": ` +
			`{runs-on: "e|w\u202eoooc"}}`,
		"/repos/wooo/ewoooc/actions/tasks": `{}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tokens[r.Header.Get("Authorization")]++
		mu.Unlock()
		body, found := answers[strings.TrimPrefix(r.URL.Path, "/api/v1")]
		switch {
		case wrong != nil && wrong(w, r):
		case !found, strings.HasSuffix(r.URL.Path, "/search") && r.URL.Query().Get("page") != "1":
			w.WriteHeader(404)
		default:
			w.Header().Set("X-Total-Count", "2")
			fmt.Fprint(w, body)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func(token string) int {
		mu.Lock()
		defer mu.Unlock()
		if token != "" {
			token = "token " + token
		}
		return tokens[token]
	}
}

func TestTheMatrixOfALabel(t *testing.T) {
	url, _ := labelsServer(t, nil)
	checkout := checkoutOf(t, map[string]string{"gitea": url + "/wooo/awoooi.git"})
	status, out, errs := run(nil, "runner", "labels", "-checkout", checkout)
	if status != cli.StatusOK || errs != "" {
		t.Errorf("exit status %d, %s", status, errs)
	}
	for _, line := range []string{
		"ok             dedicated  wooo/awoooi  cd.yaml",
		"host-110 idle  #3 success",
		"unsatisfiable  shared     wooo/ewoooc  cd.yaml   \"\\n::set-env name=BASH_ENV::x\"  \"e|w\\u202eoooc\"",
		"jobs: 2; ok 1, offline-only 0, unsatisfiable 1, unknown 0, unresolved 0; runners seen: 1\n",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
	_, out, _ = run(nil, "runner", "labels", "-checkout", checkout, "-markdown", "-repos", "wooo/ewoooc")
	if want := "| `\"e\\|w\\u202eoooc\"` | `none` | `-` |\n"; !strings.HasSuffix(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	_, out, _ = run(nil, "runner", "labels", "-checkout", checkout, "-json")
	var report labelsReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Version != 1 || len(report.Wants) != 2 ||
		report.Server != url || strings.Contains(out, "\u202e") {
		t.Errorf("%v: %s", err, out)
	}
}

// However a server fails, and wherever the token comes from, it is in nothing
// that hostguard prints, and goes to no other server.
func TestTheTokenIsNeverPrinted(t *testing.T) {
	other, others := labelsServer(t, nil)
	all := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			fmt.Fprint(w, strings.ReplaceAll(body, "TOKEN", strings.TrimPrefix(r.Header.Get("Authorization"),
				"token ")))
			return true
		}
	}
	for name, wrong := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"nothing": nil,
		"401":     all(401, `{"message": "no such token TOKEN"}`),
		"403":     all(403, `{"message": "TOKEN may not"}`),
		"500":     all(500, "panic: Authorization: token TOKEN"),
		"HTML":    all(200, "<html>TOKEN"),
		"names":   all(200, `[{"full_name": "wooo/TOKEN", "name": "TOKEN.yaml", "type": "file"}]`),
		"elsewhere": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, other+r.URL.Path+"?t="+strings.TrimPrefix(r.Header.Get("Authorization"), "token "),
				http.StatusFound)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, asked := labelsServer(t, wrong)
			withToken := strings.Replace(url, "://", "://ci:"+canary+"@", 1) + "/wooo/awoooi"
			for _, c := range []struct {
				env     map[string]string
				remotes map[string]string
			}{
				{nil, map[string]string{"gitea": withToken, "origin": other + "/wooo/awoooi"}},
				{nil, map[string]string{"origin": withToken}},
				{map[string]string{"GITEA_TOKEN": canary}, map[string]string{"gitea": url + "/wooo/awoooi"}},
				{map[string]string{"GITEA_TOKEN": canary, "GITHUB_ACTIONS": "true"},
					map[string]string{"gitea": url + "/wooo/awoooi"}},
			} {
				checkout := checkoutOf(t, c.remotes)
				for _, form := range []string{"-json=false", "-json", "-markdown"} {
					_, out, errs := run(c.env, "runner", "labels", "-checkout", checkout, "-local-repo",
						"wooo/x="+checkout, form)
					if strings.Contains(out+errs, canary) {
						t.Errorf("%v %s:\n%s%s", c.remotes, form, out, errs)
					}
				}
			}
			if asked(canary) == 0 {
				t.Error("the server was not asked with the token")
			}
			if asked("") > 0 {
				t.Errorf("the server was asked without it %d times", asked(""))
			}
		})
	}
	if n := others("") + others(canary); n > 0 {
		t.Errorf("another server was asked %d times", n)
	}
}

// A token in the URL of "origin" is not for the server of "gitea", and that in
// GITEA_TOKEN not for GitHub.
func TestATokenIsForItsOwnHostAlone(t *testing.T) {
	url, asked := labelsServer(t, nil)
	run(nil, "runner", "labels", "-checkout", checkoutOf(t, map[string]string{"gitea": url + "/wooo/awoooi",
		"origin": "http://ci:" + canary + "@127.0.0.1:1/wooo/awoooi"}))
	if asked("") == 0 || asked(canary) > 0 {
		t.Errorf("asked %d times without, %d times with the token", asked(""), asked(canary))
	}
	for remote, want := range map[string]string{
		"https://github.com/wooo/awoooi":      "github.com, which is not a Gitea server",
		"git@gitea.example.com:wooo/awoooi":   "is not an HTTP URL",
		"https://ci:" + canary + "@h%zz/a/b":  "not the URL of a repository",
		"https://ci:" + canary + "@127.0.0.1": "not the URL of a repository",
	} {
		status, out, errs := run(map[string]string{"GITEA_TOKEN": canary}, "runner", "labels", "-checkout",
			checkoutOf(t, map[string]string{"origin": remote}))
		if status != cli.StatusFailed || !strings.Contains(errs, want) || strings.Contains(out+errs, canary) {
			t.Errorf("%s: exit status %d\n%s%s", remote, status, out, errs)
		}
	}
}

// The checkout of another user may name any server, and git read it: GITEA_TOKEN went
// there. It goes to the server that it was given for, or to the one of the caller's own
// checkout.
func TestGiteaTokenIsNotSentWhereAnotherUserSays(t *testing.T) {
	if os.Geteuid() != 0 {
		return // there is no other user whose file this one could make
	}
	theirs, askedTheirs := labelsServer(t, nil)
	ours, askedOurs := labelsServer(t, nil)
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "safe.directory")
	t.Setenv("GIT_CONFIG_VALUE_0", "*")
	checkout := checkoutOf(t, map[string]string{"gitea": theirs + "/wooo/awoooi"})
	err := filepath.WalkDir(filepath.Dir(checkout), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, 65534, 65534))
	})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"GITEA_TOKEN": canary, "PATH": os.Getenv("PATH")}
	labels := func(want string) {
		t.Helper()
		if _, out, errs := run(env, "runner", "labels", "-checkout", checkout); !strings.Contains(out+errs, want) ||
			strings.Contains(out+errs, canary) {
			t.Errorf("no %q in\n%s%s", want, out, errs)
		}
	}
	labels("GITEA_TOKEN is not sent to \"" + theirs)
	env["GITEA_SERVER_URL"] = ours + "/"
	labels("jobs: 2")
	if n := askedTheirs(canary) + askedTheirs(""); n > 0 || askedOurs(canary) == 0 {
		t.Errorf("their server was asked %d times, ours %d", n, askedOurs(canary))
	}
	delete(env, "GITEA_SERVER_URL")
	env["SUDO_UID"], env["SUDO_GID"] = "65534", "65534" // it is the caller's own
	if labels("jobs: 2"); askedTheirs(canary) == 0 {
		t.Error("the caller's own server was not asked")
	}
	for _, wrong := range []string{"gitea.example.com", "ftp://x", "https://ci:" + canary + "@h"} {
		env["GITEA_SERVER_URL"] = wrong
		labels("must be the address of a server")
	}
}

func TestAServerThatRefusesAllIsNamedOnce(t *testing.T) {
	url, _ := labelsServer(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message": "no such token"}`)
		return true
	})
	checkout := checkoutOf(t, map[string]string{"gitea": url + "/wooo/awoooi"})
	for _, more := range [][]string{nil, {"-repos", "wooo/awoooi,wooo/ewoooc"}} {
		status, _, errs := run(nil, append([]string{"runner", "labels", "-checkout", checkout}, more...)...)
		if status != cli.StatusFailed || strings.Count(errs, "rejects the token (401") != 1 {
			t.Errorf("%q: exit status %d\n%s", more, status, errs)
		}
	}
}

func TestACheckoutWithoutAServer(t *testing.T) {
	theirs := checkoutOf(t, map[string]string{"gitea": "http://127.0.0.1:1/wooo/awoooi"})
	if err := os.Lchown(theirs, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		checkoutOf(t, nil): `has no remote "gitea" or "origin"`,
		t.TempDir():        "is not a git checkout",
		theirs:             "or belongs to another user and is not in git's safe.directory",
	} {
		status, _, errs := run(nil, "runner", "labels", "-checkout", dir)
		if status != cli.StatusFailed || !strings.Contains(errs, want) {
			t.Errorf("%s: exit status %d\n%s", dir, status, errs)
		}
	}
}

func TestACheckoutIsReadIfTheServerRefuses(t *testing.T) {
	url, _ := labelsServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		refused := strings.Contains(r.URL.Path, "/repos/wooo/ewoooc") || strings.Contains(r.URL.Path, "/runners")
		if refused {
			w.WriteHeader(403)
		}
		return refused
	})
	checkout := checkoutOf(t, map[string]string{"gitea": url + "/wooo/awoooi"})
	status, out, errs := run(nil, "runner", "labels", "-checkout", checkout, "-local-repo", "wooo/ewoooc="+checkout,
		"-local-repo", "wooo/third="+checkout)
	for _, want := range []string{`"wooo/ewoooc" is read from`,
		"unknown  foreign    wooo/ewoooc  ci.yml    local  awoooi-host"} {
		if !strings.Contains(out+errs, want) {
			t.Errorf("no %q in\n%s%s", want, out, errs)
		}
	}
	if status != cli.StatusOK || !strings.Contains(out, "wooo/third") ||
		!strings.Contains(errs, "not all runners can be seen") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	// Nor from there: that is an error.
	status, out, errs = run(nil, "runner", "labels", "-checkout", checkout, "-local-repo",
		"wooo/ewoooc="+filepath.Join(checkout, "none"))
	if status != cli.StatusFailed || !strings.Contains(errs, "open the checkout") ||
		!strings.Contains(out, "wooo/awoooi") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
}

func TestALinkOutOfTheCheckoutIsNotRead(t *testing.T) {
	checkout := checkoutOf(t, nil)
	if err := os.Symlink("/etc/passwd", filepath.Join(checkout, ".gitea/workflows/link.yml")); err != nil {
		t.Fatal(err)
	}
	workflows, problems, err := localWorkflows(t.Context(), new(runnerdir.Files), checkout, runner.Gitea)
	if err != nil || len(workflows) != 1 || len(problems) != 1 || !strings.Contains(problems[0].Error(), "escapes") {
		t.Error(workflows, problems, err)
	}
}

func TestWorkflowsInFoldersAreRead(t *testing.T) {
	checkout := checkoutOf(t, nil)
	writeFile(t, "jobs: {deep: {runs-on: awoooi-host}}", checkout, ".gitea/workflows/deploy/prod/cd.yaml")
	workflows, problems, err := localWorkflows(t.Context(), new(runnerdir.Files), checkout, runner.Gitea)
	if err != nil || len(problems) > 0 || len(workflows) != 2 || workflows[1].File != "deploy/prod/cd.yaml" {
		t.Error(workflows, problems, err)
	}
}

// Of a server that is not known, what Forgejo alone reads is read as well, and named.
func TestTheWorkflowsThatTheServerReads(t *testing.T) {
	checkout := checkoutOf(t, nil)
	writeFile(t, "jobs: {deep: {runs-on: awoooi-host}}", checkout, ".forgejo/workflows/deep/f.yaml")
	for server, want := range map[runner.Server]string{
		runner.Forgejo: "deep/f.yaml", runner.Gitea: "ci.yml",
		runner.UnknownServer: ".forgejo/workflows/deep/f.yaml ci.yml",
	} {
		var names []string
		workflows, problems, err := localWorkflows(t.Context(), new(runnerdir.Files), checkout, server)
		for _, w := range workflows {
			names = append(names, w.File)
		}
		if got := strings.Join(names, " "); err != nil || problems != nil || got != want {
			t.Errorf("%q: %q, %v, %v", server, got, problems, err)
		}
	}
}

func TestTheMatrixOfAForgejo(t *testing.T) {
	answers := map[string]string{
		"/api/v1/version": `{"version": "14.0.0+gitea-1.22.0"}`,
		"/api/v1/admin/actions/runners": `[{"id": 1, "name": "box", "labels": ["docker"], ` +
			`"status": "active"}]`,
		"/api/v1/repos/wooo/awoooi/contents/.forgejo/workflows":    `[{"name": "cd.yaml", "type": "file"}]`,
		"/api/v1/repos/wooo/awoooi/raw/.forgejo/workflows/cd.yaml": `jobs: {build: {runs-on: docker}}`,
		"/api/v1/repos/wooo/awoooi/actions/tasks": `{"workflow_runs": [{"id": 9, "run_number": 3, ` +
			`"workflow_id": "cd.yaml", "status": "success"}], "total_count": 1}`,
	}
	url, _ := labelsServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		body, found := answers[r.URL.Path]
		if found {
			w.Header().Set("X-Total-Count", "1")
			fmt.Fprint(w, body)
		}
		return found
	})
	checkout := checkoutOf(t, map[string]string{"gitea": url + "/wooo/awoooi.git"})
	status, out, errs := run(nil, "runner", "labels", "-checkout", checkout, "-repos", "wooo/awoooi")
	if status != cli.StatusOK || errs != "" || !strings.Contains(out, "build  docker   box busy  #3 success") {
		t.Errorf("exit status %d, %s%s", status, out, errs)
	}
}
