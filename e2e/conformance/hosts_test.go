package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
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
	if _, err := e.Docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"); err != nil {
		t.Fatal(err)
	}
	return swarmStore(e)
}

func swarmStore(e *engine.Engine) contend.Store {
	return contend.Store{Name: "swarm-" + e.Version, Engine: e, Backend: "swarm", Names: func() ([]string, error) {
		out, err := e.Docker("config", "ls", "--filter", "label=hostguard.name", "--format", "{{.Label \"hostguard.name\"}}")
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
	if err := bot.Call("POST", "/user/repos", map[string]any{"name": "locks", "private": true}, nil); err != nil {
		t.Fatal(err)
	}
	if err := bot.Call("POST", "/repos/locks-bot/locks/issues", map[string]any{"title": "locks"}, nil); err != nil {
		t.Fatal(err)
	}
	token, err := bot.NewToken("write:issue", "read:user", "read:repository")
	if err != nil {
		t.Fatal(err)
	}
	return server, contend.Store{Name: "gitea", Backend: "gitea", Env: []string{"HOSTGUARD_GITEA_URL=" + server.URL,
		"HOSTGUARD_GITEA_TOKEN=" + token, "HOSTGUARD_GITEA_ISSUE=locks-bot/locks#1"}, Names: func() ([]string, error) {
		var comments []struct{ Body string }
		if err := bot.Call("GET", "/repos/locks-bot/locks/issues/1/comments", nil, &comments); err != nil {
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
	}}
}

// TestNoTwoHoldAcrossHosts attacks the stores of several machines as TestNoTwoHold does
// those of one: contenders are killed, and the server is.
func TestNoTwoHoldAcrossHosts(t *testing.T) {
	t.Run("swarm", func(t *testing.T) {
		r := newRun(t, startSwarm(t, engine.New), sectionsOfHosts())
		r.kills = sectionsOfHosts() / 10
		r.away = "swarm" // it may have no leader yet, too
		r.attack()
	})
	t.Run("gitea", func(t *testing.T) {
		server, store := startGitea(t)
		r := newRun(t, store, sectionsOfHosts())
		r.kills = sectionsOfHosts() / 10
		r.away = server.URL
		r.again = func() error { return errors.Join(server.Kill(), server.Restart()) }
		r.attack()
	})
}
