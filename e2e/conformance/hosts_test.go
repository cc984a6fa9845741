package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/gitea"
)

// sectionsOfHosts is how many critical sections a run of a store of several machines
// must see: a create costs 20 times what it does in Docker, and nobody rings.
func sectionsOfHosts() int {
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		return 2000
	}
	return 200
}

// startSwarm starts a daemon that is a swarm's only manager.
func startSwarm(t *testing.T, version string) contend.Store {
	e := engine.ForTest(t, version)
	_, err := e.Docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
	if err != nil {
		t.Fatal(err)
	}
	return swarmStore(e)
}

func swarmStore(e *engine.Engine) contend.Store {
	return contend.Store{Name: "swarm-" + e.Version, Engine: e, Backend: "swarm", Names: func() ([]string, error) {
		out, err := e.Docker("config", "ls", "--filter", "label=hostguard.name",
			"--format", "{{.Label \"hostguard.name\"}}")
		return strings.Fields(out), err
	}}
}

// startGitea starts a Gitea whose locks are the comments of an issue that hostguard makes.
func startGitea(t *testing.T) (*gitea.Server, contend.Store) {
	server, err := gitea.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	bot, err := server.User("locks-bot", false)
	if err != nil {
		t.Fatal(err)
	}
	store := contend.Store{Name: "gitea", Backend: "gitea", Env: []string{"HOSTGUARD_GITEA_URL=" + server.URL}}
	backend(t, store, bot, 0, "-init -apply", "write:issue", "write:repository", "write:user")
	const issue = "locks-bot/hostguard-locks#1"
	token, err := bot.NewToken("write:issue", "read:user", "read:repository")
	if err != nil {
		t.Fatal(err)
	}
	store.Env = append(store.Env, "HOSTGUARD_GITEA_TOKEN="+token, "HOSTGUARD_GITEA_ISSUE="+issue)
	store.Names = func() ([]string, error) {
		var comments []struct{ Body string }
		if err := bot.Call("GET", "/repos/locks-bot/hostguard-locks/issues/1/comments", nil, &comments); err != nil {
			return nil, err
		}
		var names []string
		for _, c := range comments {
			var entry struct{ Name string }
			if err := json.Unmarshal([]byte(c.Body), &entry); err != nil {
				return nil, fmt.Errorf("%q: %w", c.Body, err)
			}
			names = append(names, entry.Name)
		}
		return names, nil
	}
	return server, store
}

// backend runs backend gitea with a new token of these scopes, and returns what it prints.
func backend(t *testing.T, s contend.Store, bot *gitea.User, want int, flags string, scopes ...string) string {
	t.Helper()
	token, err := bot.NewToken(scopes...)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := contend.Hostguard()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, append([]string{"backend", "gitea"}, strings.Fields(flags)...)...)
	cmd.Env = s.Environ("HOSTGUARD_GITEA_TOKEN=" + token)
	out, err := cmd.CombinedOutput()
	if status := contend.Status(err); status != want {
		t.Errorf("backend gitea %s, scopes %q: status %d, want %d: %s", flags, scopes, status, want, out)
	}
	if strings.Contains(string(out), token) {
		t.Errorf("the token is in %s", out)
	}
	return string(out)
}

// What a real Gitea lets tokens of few scopes do, and what is printed where it does not.
func TestTheBackendOfGiteaIsMadeOnceAndChecked(t *testing.T) {
	t.Parallel()
	server, store := startGitea(t)
	bot, err := server.User("second-bot", false)
	if err != nil {
		t.Fatal(err)
	}
	store.Env = store.Env[:1] // the URL alone
	locking := []string{"write:issue", "read:user"}
	all := append([]string{"write:repository", "write:user"}, locking[0])
	for _, step := range []struct {
		what, flags string
		scopes      []string
		status      int
		prints      string
	}{
		{"nothing is there", "", append(locking, "read:repository"), 1, "-init makes it"},
		{"no right to make it", "-init -apply", append(locking, "read:repository"), 3, "write:repository"},
		{"the plan", "-init", all, 0, "nothing is changed yet"},
		{"making it", "-init -apply", all, 0, "HOSTGUARD_GITEA_ISSUE=second-bot/hostguard-locks#1"},
		{"again", "-init -apply", all, 0, "nothing to change"},
		{"checking it", "", append(locking, "read:repository"), 0, "locks can be kept"},
		{"no right to write", "", []string{"read:issue", "read:user", "read:repository"}, 3, "write:issue"},
		{"no right to read the user", "", []string{"write:issue", "read:repository"}, 3, "read:user"},
	} {
		if out := backend(t, store, bot, step.status, step.flags, step.scopes...); !strings.Contains(out, step.prints) {
			t.Errorf("%s: no %q in %s", step.what, step.prints, out)
		}
	}
}

// TestNoTwoHoldAcrossHosts attacks the stores of several machines as TestNoTwoHold does
// those of one: contenders are killed, and the server is.
func TestNoTwoHoldAcrossHosts(t *testing.T) {
	t.Parallel()
	t.Run("swarm", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, startSwarm(t, engine.New), sectionsOfHosts())
		r.kills = sectionsOfHosts() / 10
		r.away = "swarm" // it may have no leader yet, too
		r.attack()
	})
	t.Run("gitea", func(t *testing.T) {
		t.Parallel()
		server, store := startGitea(t)
		r := newRun(t, store, sectionsOfHosts())
		r.kills = sectionsOfHosts() / 10
		r.away = server.URL
		r.again = func() error { return errors.Join(server.Kill(), server.Restart()) }
		r.attack()
	})
}
