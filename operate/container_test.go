package operate

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostguard/internal/cli"
	"hostguard/runner"
)

// fakeContainer is a container as its maker describes it.
type fakeContainer struct {
	id, name, image, restart, status string
	labels                           map[string]string
	env, mounts                      []string
}

// fakeEngine is a Docker daemon that has containers, and notes what it is told to change.
type fakeEngine struct {
	socket     string
	containers []fakeContainer

	mu      sync.Mutex
	changes []string          // method and path
	answers map[string][]byte // to inspect, by ID
}

func startEngine(t *testing.T, containers ...fakeContainer) *fakeEngine {
	t.Helper()
	f := &fakeEngine{socket: filepath.Join(t.TempDir(), "s"), containers: containers}
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return f
}

// ServeHTTP implements http.Handler.
func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.45")
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/_ping") {
		return
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.changes = append(f.changes, r.Method+" "+path)
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": evil + strings.Repeat("y", 500_000)})
		return
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	if path == "containers/json" {
		var list []map[string]any
		for _, c := range f.containers {
			list = append(list, map[string]any{"Id": c.id, "Names": []string{"/" + c.name}, "Image": c.image,
				"State": c.status})
		}
		answer(list)
		return
	}
	for _, c := range f.containers {
		if path == "containers/"+c.id+"/json" || path == "containers/"+c.name+"/json" {
			_, _ = w.Write(f.inspect(c))
			return
		}
		if path == "containers/"+c.id+"/top" {
			answer(map[string]any{"Processes": [][]string{{"1", "0", "00:01", "00:00:00", "1", evil + " daemon"}}})
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

// inspect returns what the daemon reports of a container.
func (f *fakeEngine) inspect(c fakeContainer) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers == nil {
		f.answers = map[string][]byte{}
	}
	if f.answers[c.id] == nil {
		var mounts []map[string]any
		for _, m := range c.mounts {
			mounts = append(mounts, map[string]any{"Source": m})
		}
		f.answers[c.id], _ = json.Marshal(map[string]any{"Id": c.id, "Name": "/" + c.name, "Mounts": mounts,
			"State":      map[string]any{"Status": c.status, "Running": c.status == "running", "StartedAt": evil},
			"HostConfig": map[string]any{"RestartPolicy": map[string]any{"Name": c.restart}},
			"Config":     map[string]any{"Image": c.image, "Labels": c.labels, "Env": c.env}})
	}
	return f.answers[c.id]
}

// evil opens lines and draws on terminals, where it is printed as it is.
const evil = "x\n::add-path::/tmp/evil\r\x1b[2J\u202e::"

// hostileContainer is a runner's container whose maker controls all that he can.
func hostileContainer(mounts ...string) fakeContainer {
	return fakeContainer{
		id: strings.Repeat("ab", 32), name: runner.WrappedContainer, image: evil + strings.Repeat("i", 1<<16),
		restart: evil, status: evil, mounts: mounts,
		labels: map[string]string{
			"com.docker.compose.project.working_dir": "/" + evil + strings.Repeat("z", 1<<20),
			"com.docker.compose.service":             "`touch /tmp/evil`" + evil,
		},
		env: []string{"GITEA_RUNNER_LABELS=" + strings.Repeat(evil+":host,", 1000)},
	}
}

// runOn runs a command with a daemon, and returns what it prints.
func (f *fakeEngine) runOn(t *testing.T, action cli.Action, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	environ := map[string]string{"DOCKER_HOST": "unix://" + f.socket, "GITHUB_ACTIONS": "true", "HOME": t.TempDir()}
	s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out,
		Getenv: func(name string) string { return environ[name] }}, nil)
	if _, err := s.Read(action.Inputs(), args); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	err := action.Run(t.Context(), s)
	if err != nil {
		s.Error("%s", cli.OneLine(err))
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	return out.String(), err
}

// checkLines fails for an output that a container's maker controls.
func checkLines(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > 5000 || strings.ContainsAny(line, "\r\x1b\u202e") || strings.HasPrefix(line, "::add-path") {
			t.Errorf("%d bytes: %.300q", len(line), line)
		}
	}
}

func TestAHostileContainerPrintsNothingItself(t *testing.T) {
	for name, c := range map[string]struct {
		action cli.Action
		args   []string
	}{
		"drain":           {new(drain), nil},
		"drain, applied":  {new(drain), []string{"-apply", "-timeout", "1s"}},
		"resume":          {new(resume), nil},
		"resume, applied": {new(resume), []string{"-apply"}},
	} {
		for _, status := range []string{evil, "running"} {
			container := hostileContainer()
			container.status = status
			f := startEngine(t, container)
			out, err := f.runOn(t, c.action, c.args...)
			checkLines(t, out)
			if len(c.args) > 0 && (err == nil || len(f.changes) == 0) {
				t.Errorf("%s: %v, %s", name, f.changes, out)
			}
			for _, change := range f.changes {
				if !strings.HasPrefix(change, "POST containers/"+container.id+"/") {
					t.Errorf("%s: %s", name, change)
				}
			}
		}
	}
}

// A container's mounts are whatever its maker says.
func TestMountsOfAContainerLeadNowhere(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	writeFile(t, `{"id": 7, "name": "magpie", "address": "http://127.0.0.1:1", "token": "magpie"`, secret)
	writeFile(t, "magpie: x", filepath.Join(dir, ".runner"))
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	mounts := []string{"/", "/etc", "/root", "/proc/kmsg", "/proc/1", "/dev/zero", "/dev/tty", "relative", "", evil,
		"../../etc", dir, secret, pipe, link, link + "/.runner"}
	container := hostileContainer(slices.Concat(mounts, slices.Repeat([]string{dir}, 1000))...)
	container.status = "exited"
	f := startEngine(t, container)
	for _, action := range []cli.Action{new(drain), new(resume)} {
		out, _ := f.runOn(t, action)
		checkLines(t, out)
		if !strings.Contains(out, "its registration was not found in the mounts of the container") ||
			strings.Contains(out, "magpie") || len(f.changes) > 0 {
			t.Errorf("%s, %v", out, f.changes)
		}
	}
}

// A container takes another's name in its labels, and another takes its ID for a name.
func TestOnlyTheContainerOfThatNameIsDrained(t *testing.T) {
	mine, other := hostileContainer(), hostileContainer()
	mine.status, other.status, other.id = "running", "running", strings.Repeat("cd", 32)
	other.name = "victim"
	mine.labels["com.docker.compose.service"] = "victim"
	f := startEngine(t, mine, other)
	out, err := f.runOn(t, new(drain), "-apply", "-container", "victi")
	if err == nil || len(f.changes) > 0 {
		t.Errorf("%v, %s", f.changes, out)
	}
	image := "postgres" + evil
	f.containers[1].image, f.answers = image, nil
	out, err = f.runOn(t, new(drain), "-apply", "-container", "victim")
	if err == nil || len(f.changes) > 0 ||
		!strings.Contains(out, "which is not a runner's, nor does one run in it: it is not touched") {
		t.Errorf("%v, %s", f.changes, out)
	}
	checkLines(t, out)
}

// A container mounts the directory of a runner that runs on the host, perhaps of a split.
func TestNoRunnerOfTheHostIsDisabledInTheNameOfAContainer(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, ".runner")
	writeFile(t, `{"id": 7, "name": "host-b", "address": "http://127.0.0.1:1"}`, file)
	s := cli.NewSession(cli.World{Stdout: io.Discard, Stderr: io.Discard,
		Getenv: func(string) string { return "" }}, nil)
	var o containerOptions
	h := runner.Host{Daemons: []runner.Daemon{{PID: 1, Registration: file}}}
	_, _, err := o.atServer(t.Context(), s, h, runner.Container{Mounts: []string{dir}})
	if err == nil || !strings.Contains(err.Error(), "the host's own runner has the same registration") {
		t.Errorf("the error: %v", err)
	}
}
