package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hostguard/internal/proc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hostguard": main,
		// The names that it answers to as well.
		"hostguard-job-completed": main,
		"hostguard-post-task":     main,
		"hostguard-health":        main,
		// Processes that scripts start under the names of other programs.
		"Runner.Worker": func() { time.Sleep(time.Minute) },
		"planted-build": func() { time.Sleep(time.Minute) },
		// A runner that runs all jobs: each argument is one for the shell.
		"act_runner": func() {
			for _, job := range os.Args[1:] {
				cmd := exec.Command("sh", "-c", job+"; true") // a shell of its own
				cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
				_ = cmd.Run()
			}
		},
		// A Docker daemon that accepts, leaves a file "asked", and never answers.
		"hanging-daemon": func() {
			listener, err := net.Listen("unix", os.Args[1])
			for err == nil {
				if _, err = listener.Accept(); err == nil { // and is kept open
					err = os.WriteFile("asked", nil, 0o600)
				}
			}
			log.Fatal(err)
		},
		"slow-daemon": slowDaemon,
	})
}

// slowDaemon is a Docker daemon that keeps networks and takes 2 s for the first list
// with a lock in it. It makes a file "asked" when it is asked for that, and hangs
// while there is a file "hung". With a status as second argument it answers requests with that; a
// "web" server answers everything with nothing, and a "prunable" engine, like
// Podman, makes ordinary networks.
func slowDaemon() {
	var mu sync.Mutex
	networks := []map[string]any{}
	answer := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		locked := slices.ContainsFunc(networks, func(n map[string]any) bool {
			return !strings.HasPrefix(n["Name"].(string), "hg-") // as tickets begin
		})
		mu.Unlock()
		if _, err := os.Stat("asked"); err != nil && locked && strings.HasSuffix(r.URL.Path, "/networks") {
			_ = os.WriteFile("asked", nil, 0o644)
			time.Sleep(2 * time.Second)
		}
		for ; ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat("hung"); err != nil {
				break
			}
		}
		mu.Lock()
		defer mu.Unlock()
		kind := strings.Join(os.Args[2:], "")
		if kind == "web" {
			return
		}
		w.Header().Set("Api-Version", "1.45")
		refusal, _ := strconv.Atoi(kind)
		switch {
		case refusal != 0 && !strings.HasSuffix(r.URL.Path, "/_ping"):
			w.WriteHeader(refusal)
			answer(w, map[string]any{"message": "no"})
		case strings.HasSuffix(r.URL.Path, "/networks"):
			answer(w, networks)
		case strings.HasSuffix(r.URL.Path, "/networks/create"):
			var n map[string]any
			_ = json.NewDecoder(r.Body).Decode(&n)
			n["Id"] = fmt.Sprintf("%064x", rand.Uint64())
			n["ConfigOnly"] = kind != "prunable"
			networks = append(networks, n)
			w.WriteHeader(http.StatusCreated)
			answer(w, n)
		case r.Method == http.MethodDelete:
			networks = slices.DeleteFunc(networks, func(n map[string]any) bool {
				return strings.HasSuffix(r.URL.Path,
					n["Id"].(string))
			})
			w.WriteHeader(http.StatusNoContent)
		default:
			answer(w, map[string]any{})
		}
	})))
}

// TestScript runs every script over the real main. A script's environment has
// no variable of a runner unless the script sets it.
func TestScript(t *testing.T) {
	var scripts []string
	for _, dir := range []string{"internal/cli", "steps", "operate"} {
		found, err := filepath.Glob(dir + "/testdata/script/*.txtar")
		if err != nil || len(found) == 0 {
			t.Fatalf("no scripts of %s: %v", dir, err)
		}
		scripts = append(scripts, found...)
	}
	testscript.Run(t, testscript.Params{
		Files:               scripts,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "waitfor": waitFor, "schema": schema,
		},
		Condition: func(condition string) (bool, error) {
			if condition != "whole-host" {
				return false, fmt.Errorf("unknown condition %q", condition)
			}
			return proc.Local().OutOfSight() == "", nil
		},
		Setup: func(env *testscript.Env) error {
			// Under -race every exit would sleep for a second.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			// The locks of a host are shared: each script has a name of its own.
			env.Setenv("LOCK", fmt.Sprintf("script-%d-%d", os.Getpid(), rand.Uint32()))
			// So are their jobs: a hook gives back whatever lock is of its task and run.
			env.Setenv("RUN", fmt.Sprint(rand.Uint32()))
			env.Setenv("LONG", strings.Repeat("a", 129))
			return nil
		},
	})
}

// status N COMMAND ... runs a command and wants exactly this exit status.
// testscript itself only tells zero from the rest.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [arg ...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%q: exit status %d, want %d", args[1:], got, want)
	}
}

// waitfor FILE waits until a file is there.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor file")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no %s after 10 s", args[0])
		}
	}
}
