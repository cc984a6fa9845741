package workflow

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// shells are what /bin/sh may be where the action runs.
var shells = [][]string{{"dash"}, {"bash", "--posix"}, {"bash"}, {"busybox", "sh"}}

// launcher is a checkout of the action with stand-ins for the binary.
type launcher struct {
	t     *testing.T
	shell []string
	dir   string   // everything
	env   []string // besides PATH
	path  string   // a folder that is first on PATH
}

// inEveryShell runs a test with each shell, on a checkout of version 1.2.3.
func inEveryShell(t *testing.T, test func(t *testing.T, l *launcher)) {
	for _, shell := range shells {
		t.Run(strings.Join(shell, "_"), func(t *testing.T) {
			t.Parallel()
			test(t, newLauncher(t, shell))
		})
	}
}

func newLauncher(t *testing.T, shell []string) *launcher {
	dir := t.TempDir()
	l := &launcher{t: t, shell: shell, dir: dir, path: filepath.Join(dir, "path")}
	for _, d := range []string{"action/dist", "path", "temp", "tools", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("../../hostguard.sh")
	if err != nil {
		t.Fatal(err)
	}
	l.write("action/hostguard.sh", string(script), 0o644)
	l.write("action/VERSION", "1.2.3\n", 0o644)
	l.env = []string{"RUNNER_TEMP=" + filepath.Join(dir, "temp"), "RUNNER_TOOL_CACHE=" + filepath.Join(dir, "tools")}
	return l
}

func (l *launcher) write(name, text string, mode os.FileMode) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	writeFile(l.t, path, text, mode)
	return path
}

// writeFile writes a file that may be a program. A child that another test
// forks meanwhile would hold it open for writing for a moment, and running it
// would fail with "text file busy".
func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// binary puts a stand-in in place, which says how it was run.
func (l *launcher) binary(name, version string) string {
	l.t.Helper()
	return l.write(name, fmt.Sprintf(`#!/bin/sh
if [ "$*" = version ]; then echo "hostguard %s linux/amd64 go1.26.8"; exit; fi
printf 'ran %%s' "$0"
[ $# = 0 ] || printf ' [%%s]' "$@"
echo
exit 42
`, version), 0o755)
}

const distName = "hostguard-linux-" + runtime.GOARCH

func (l *launcher) dist(version string) string {
	l.t.Helper()
	path := l.binary("action/dist/"+distName, version)
	l.sums(path)
	return path
}

// sums makes dist/SHA256SUMS what it is after "make dist" with that binary.
func (l *launcher) sums(path string) {
	l.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	sums := fmt.Sprintf("%x  %s\n%x  hostguard-linux-other\n", sha256.Sum256(data), distName, sha256.Sum256(nil))
	l.write("action/dist/SHA256SUMS", sums, 0o644)
}

// refused expects that nothing was run, and an error in one line.
func (l *launcher) refused(want string) {
	l.t.Helper()
	status, out := l.run("status")
	if status != 3 || strings.Count(out, "\n") != 1 || !strings.Contains(out, want) {
		l.t.Errorf("status %d, want 3 and one line with %q, got:\n%s", status, want, out)
	}
	if names, err := filepath.Glob(filepath.Join(l.dir, "temp/*")); err != nil || len(names) != 0 {
		l.t.Errorf("RUNNER_TEMP holds %q, %v", names, err)
	}
}

// run runs the launcher and returns its status and what it printed.
func (l *launcher) run(args ...string) (int, string) {
	l.t.Helper()
	args = append(append(l.shell[1:len(l.shell):len(l.shell)], filepath.Join(l.dir, "action/hostguard.sh")), args...)
	cmd := exec.Command(l.shell[0], args...)
	cmd.Dir = filepath.Join(l.dir, "work")
	cmd.Env = append([]string{"PATH=" + l.path + ":/usr/bin:/bin"}, l.env...)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		l.t.Fatal(err)
	}
	for line := range bytes.Lines(out) {
		ours := bytes.HasPrefix(line, []byte("hostguard: ")) || bytes.HasPrefix(line, []byte("::error::hostguard: "))
		if !ours && !bytes.HasPrefix(line, []byte("ran ")) {
			l.t.Errorf("a line that is not ours: %q", line)
		}
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// ran expects that the stand-in at path took over, and that notes were said.
func (l *launcher) ran(path string, notes ...string) {
	l.t.Helper()
	status, out := l.run("acquire-lock", "-reason", "two words")
	if want := "ran " + path + " [acquire-lock] [-reason] [two words]\n"; status != 42 || !strings.HasSuffix(out, want) {
		l.t.Errorf("status %d, want 42 and %q, got:\n%s", status, want, out)
	}
	if want := "hostguard: running " + path + " ("; !strings.Contains(out, want) {
		l.t.Errorf("want %q in:\n%s", want, out)
	}
	l.said(out, notes...)
}

func (l *launcher) said(out string, notes ...string) {
	l.t.Helper()
	for _, note := range notes {
		if !strings.Contains(out, note) {
			l.t.Errorf("want %q in:\n%s", note, out)
		}
	}
	if got := strings.Count(out, "hostguard: skipping "); got != len(notes) {
		l.t.Errorf("%d notes, want %d:\n%s", got, len(notes), out)
	}
}

func (l *launcher) copyOfDist() string {
	return filepath.Join(l.dir, "temp/hostguard-1.2.3-"+runtime.GOARCH)
}

func TestLauncherTakesTheFirstThatFits(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.dist("1.2.3")
		l.ran(l.copyOfDist())
		onPath := l.binary("path/hostguard", "1.2.3")
		l.ran(onPath)
		named := l.binary("named", "0.0.0-dev") // named on purpose: of any version
		l.env = append(l.env, "HOSTGUARD_BIN="+named)
		l.ran(named)
	})
}

func TestLauncherNeedsNoArguments(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.dist("1.2.3")
		if status, out := l.run(); status != 42 || !strings.HasSuffix(out, "ran "+l.copyOfDist()+"\n") {
			t.Errorf("status %d:\n%s", status, out)
		}
	})
}

func TestLauncherVersionOnPath(t *testing.T) {
	for version, fits := range map[string]bool{
		"1.2.3": true, "1.2.4": true, "1.3.0": true, "1.10.0": true, "1.2.10": true,
		"1.2.2": false, "1.1.9": false, "0.9.9": false, "2.0.0": false, "10.2.3": false,
		"1.2": false, "1.2.3-rc1": false, "0.0.0-dev": false, "1.2.3.4": false, "1..3": false, "": false, "*": false,
	} {
		t.Run("version "+version, func(t *testing.T) {
			inEveryShell(t, func(t *testing.T, l *launcher) {
				onPath := l.binary("path/hostguard", version)
				l.dist("1.2.3")
				if fits {
					l.ran(onPath)
				} else {
					l.ran(l.copyOfDist(),
						"skipping hostguard on PATH, its version "+version+
							" is not 1.2.3 or newer of the same major version: "+onPath)
				}
			})
		})
	}
}

func TestLauncherFallsThrough(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.dist("1.2.3")
		env := l.env
		for _, given := range []string{
			filepath.Join(l.dir, "missing"),
			l.dir, // a folder is executable, too
			l.write("data", "no program", 0o644),
		} {
			l.env = append(env, "HOSTGUARD_BIN="+given)
			l.ran(l.copyOfDist(), "skipping HOSTGUARD_BIN, no executable file: "+given)
		}
		for _, given := range []string{
			l.write("other", "#!/bin/sh\necho something else\n", 0o755),
			l.write("arch", "\x7fELF of another machine", 0o755),
		} {
			l.env = append(env, "HOSTGUARD_BIN="+given)
			l.ran(l.copyOfDist(), "skipping HOSTGUARD_BIN, no hostguard that runs here: "+given)
		}
	})
}

// What a binary calls itself takes as long as a step: the later ones of a job do not ask.
func TestLauncherAsksABinaryOnceInAJob(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		named := filepath.Join(l.dir, "named")
		asked := func() int {
			t.Helper()
			l.ran(named)
			questions, err := os.ReadFile(filepath.Join(l.dir, "questions"))
			if err != nil {
				t.Fatal(err)
			}
			return len(questions)
		}
		l.write("named", `#!/bin/sh
if [ "$*" = version ]; then
	printf x >>'`+l.dir+`/questions'
	echo "hostguard 1.2.3 linux/amd64 go1.26.8"
	exit
fi
printf 'ran %s [%s] [%s] [%s]\n' "$0" "$@"
exit 42
`, 0o755)
		l.env = append(l.env, "HOSTGUARD_BIN="+named)
		before := time.Now().Add(-time.Hour)
		if err := os.Chtimes(named, before, before); err != nil {
			t.Fatal(err)
		}
		if first, second := asked(), asked(); first != 1 || second != 1 {
			t.Errorf("asked %d times, then %d", first, second)
		}
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(named, later, later); err != nil {
			t.Fatal(err)
		}
		if got := asked(); got != 2 {
			t.Errorf("a newer one: asked %d times in all", got)
		}
		if err := os.Chtimes(named, before, before); err != nil {
			t.Fatal(err)
		}
		if got := asked(); got != 2 {
			t.Errorf("after the newer one: asked %d times in all", got)
		}
		// Others may have put a link there.
		kept := filepath.Join(l.dir, "temp/hostguard-asked")
		if err := errors.Join(os.Remove(kept), os.Symlink(l.dir+"/theirs", kept)); err != nil {
			t.Fatal(err)
		}
		if got := asked(); got != 3 {
			t.Errorf("beside a link: asked %d times in all", got)
		}
		if _, err := os.Stat(l.dir + "/theirs"); err == nil {
			t.Error("it wrote through a link")
		}
	})
}

func TestLauncherReadsRelativeNamesFromTheWorkingFolder(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.binary("path/named", "1.2.3") // never looked up on PATH
		l.binary("work/named", "1.2.3")
		l.binary("work/-n", "1.2.3")
		env := l.env
		l.env = append(env, "HOSTGUARD_BIN=named")
		l.ran(filepath.Join(l.dir, "work/named"))
		l.env = append(env, "HOSTGUARD_BIN=-n")
		l.ran(filepath.Join(l.dir, "work/-n"))
	})
}

func TestLauncherRunsNothingFromTheToolCache(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		// It would show if it was run, be it only for its version.
		planted := l.write("tools/hostguard", "#!/bin/sh\necho hostguard 1.2.3 >>"+l.dir+"/was-run\n", 0o755)
		for _, link := range []string{"path/hostguard", "link"} {
			if err := os.Symlink(planted, filepath.Join(l.dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		l.dist("1.2.3")
		l.env = append(l.env, "HOSTGUARD_BIN="+filepath.Join(l.dir, "link"))
		l.ran(l.copyOfDist(),
			"skipping HOSTGUARD_BIN, nothing is run from RUNNER_TOOL_CACHE: "+filepath.Join(l.dir, "link"),
			"skipping hostguard on PATH, nothing is run from RUNNER_TOOL_CACHE: "+filepath.Join(l.dir, "path/hostguard"))

		// A checkout in the cache, and a cache that is reached by a link.
		if err := os.Symlink(l.dir, filepath.Join(l.dir, "work/self")); err != nil {
			t.Fatal(err)
		}
		l.env = append(l.env, "RUNNER_TOOL_CACHE="+filepath.Join(l.dir, "work/self"))
		status, out := l.run("status")
		if status != 3 || !strings.Contains(out, "skipping dist, nothing is run from RUNNER_TOOL_CACHE") {
			t.Errorf("status %d:\n%s", status, out)
		}
		if _, err := os.Stat(filepath.Join(l.dir, "was-run")); err == nil {
			t.Error("a program of the tool cache was run")
		}
	})
}

// Classic runners copy the action's folder over itself before each use, which
// fails with "text file busy" while a program runs from it.
func TestLauncherCopiesDist(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		dist := l.dist("1.2.3")
		if err := os.Chmod(dist, 0o644); err != nil { // as from a zip file
			t.Fatal(err)
		}
		l.ran(l.copyOfDist())
		before, err := os.Stat(l.copyOfDist())
		if err != nil {
			t.Fatal(err)
		}
		l.ran(l.copyOfDist())
		if after, err := os.Stat(l.copyOfDist()); err != nil || !os.SameFile(before, after) {
			t.Errorf("an identical copy was not used again: %v", err)
		}
		l.dist("1.2.3 changed")
		l.ran(l.copyOfDist())
		if after, err := os.Stat(l.copyOfDist()); err != nil || os.SameFile(before, after) {
			t.Errorf("a copy that differs was used again: %v", err)
		}
		// The copy, and hostguard-asked.
		if names, err := filepath.Glob(filepath.Join(l.dir, "temp/*")); err != nil || len(names) != 2 {
			t.Errorf("RUNNER_TEMP holds %q, %v", names, err)
		}

		l.env = []string{"TMPDIR=" + t.TempDir()}
		status, out := l.run("status")
		if status != 42 || strings.Contains(out, "ran "+l.dir+"/action") {
			t.Errorf("without RUNNER_TEMP: status %d:\n%s", status, out)
		}
	})
}

func TestLauncherRefusesWhatDoesNotMatchItsSum(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.dist("1.2.3")
		dist := l.binary("action/dist/"+distName, "1.2.3 changed")
		l.env = append(l.env, "HOSTGUARD_URL=http://127.0.0.1:1/never-asked")
		l.refused(dist + " does not match ")
		for _, sums := range []string{
			"", "no sums\n",
			strings.Repeat("0", 64) + "  other-" + distName + "\n",
			strings.Repeat("0", 63) + "  " + distName + "\n",
		} {
			l.write("action/dist/SHA256SUMS", sums, 0o644)
			l.refused("there is no sum of " + distName)
		}
		if err := os.Remove(filepath.Join(l.dir, "action/dist/SHA256SUMS")); err != nil {
			t.Fatal(err)
		}
		l.refused("there is no sum of " + distName)
	})
}

func TestLauncherNeedsSha256sum(t *testing.T) {
	l := newLauncher(t, []string{"dash"})
	l.dist("1.2.3")
	tools := t.TempDir()
	for _, tool := range []string{"cat", "dirname", "readlink", "tr", "uname", "dash"} {
		if err := os.Symlink("/usr/bin/"+tool, filepath.Join(tools, tool)); err != nil {
			t.Fatal(err)
		}
	}
	l.env = append(l.env, "PATH="+tools)
	l.refused("there is no sha256sum")
}

func TestLauncherDownloads(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		binary := l.binary("released", "1.2.3")
		l.sums(binary)
		other := httptest.NewServer(http.NotFoundHandler())
		defer other.Close()
		asked := 0
		mux := http.NewServeMux()
		mux.HandleFunc("GET /releases/download/v1.2.3/"+distName, func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.ServeFile(w, r, binary)
		})
		program := "/releases/download/v1.2.3/" + distName
		mux.Handle("GET /moved/", http.StripPrefix("/moved", http.RedirectHandler(program, http.StatusFound)))
		mux.Handle("GET /round/", http.RedirectHandler("/round/", http.StatusFound))
		mux.Handle("GET /away/", http.RedirectHandler(other.URL+"/x", http.StatusFound))
		user := "http://127.0.0.1@" + strings.TrimPrefix(other.URL, "http://")
		mux.Handle("GET /user/", http.RedirectHandler(user, http.StatusFound))
		mux.HandleFunc("GET /wrong/", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "#!/bin/sh\necho hostguard 1.2.3\n")
		})
		mux.HandleFunc("GET /cut/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "#!/")
		})
		mux.HandleFunc("GET /endless/", func(w http.ResponseWriter, _ *http.Request) { // without a length
			w.Header().Set("Content-Encoding", "gzip")
			for part := make([]byte, 1<<20); ; {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		})
		server := httptest.NewServer(mux)
		defer server.Close()

		env := l.env
		for url, want := range map[string]string{
			server.URL + "/missing": "HTTP status 404; attach the files of dist/ to the release v1.2.3",
			server.URL + "/round":   "too many redirects",
			server.URL + "/away":    "redirects to another host, " + other.URL,
			server.URL + "/user":    "redirects to another host, http://127.0.0.1@",
			server.URL + "/wrong":   "does not match ",
			server.URL + "/cut":     "cannot fetch ",
			server.URL + "/endless": "cannot fetch ",
			"http://127.0.0.1:1":    "cannot fetch http://127.0.0.1:1/v1.2.3/" + distName + ": ",
			"http://[::1]:1":        "cannot fetch http://[::1]:1/v1.2.3/" + distName + ": curl: (7) ",
			"file://" + l.dir:       "begins with http:// or https://",
			"latest":                "begins with http:// or https://",
			strings.Replace(server.URL, "//", "//user:hunter2@", 1): "more than a host",
			server.URL + "/a\"\noutput=\"x":                         "no address has",
		} {
			l.env = append(env, "HOSTGUARD_URL="+url)
			l.refused(want)
			if _, out := l.run("status"); strings.Contains(out, "hunter2") {
				t.Errorf("a password is shown:\n%s", out)
			}
		}

		for _, path := range []string{"/moved", "/releases/download", "/releases/download/"} {
			l.env = append(env, "HOSTGUARD_URL="+server.URL+path)
			l.ran(l.copyOfDist()) // the second and third run use the copy of the first
		}
		if asked != 1 {
			t.Errorf("fetched %d times, want once a job", asked)
		}
		l.write("temp/"+filepath.Base(l.copyOfDist()), "#!/bin/sh\necho changed\n", 0o755)
		l.ran(l.copyOfDist())
	})
}

// A file without end would fill the host's disk.
func TestLauncherEndsAnEndlessDownload(t *testing.T) {
	l := newLauncher(t, []string{"dash"}) // bash counts twice as much
	l.sums(l.binary("released", "1.2.3"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 150 {
			_, _ = w.Write(make([]byte, 1<<20))
		}
	}))
	defer server.Close()
	l.env = append(l.env, "HOSTGUARD_URL="+server.URL)
	l.refused("cannot fetch " + server.URL + "/v1.2.3/" + distName + ": curl: (23) ")
}

// Who can make links in RUNNER_TEMP could turn one between the check and the run.
func TestLauncherRunsNoLink(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		if err := os.Symlink(l.dist("1.2.3"), l.copyOfDist()); err != nil {
			t.Fatal(err)
		}
		l.ran(l.copyOfDist())
		if info, err := os.Lstat(l.copyOfDist()); err != nil || !info.Mode().IsRegular() {
			t.Errorf("it ran what a link named: %v, %v", info.Mode(), err)
		}
	})
}

func TestLauncherNeedsATemporaryFolderForPrograms(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.dist("1.2.3")
		env := l.env
		refused := func(want string) {
			t.Helper()
			if status, out := l.run(); status != 3 || !strings.Contains(out, want) {
				t.Errorf("status %d, want %q in:\n%s", status, want, out)
			}
		}
		shell := l.shell
		in := func(tmpfs string) {
			mount := "mount -t tmpfs " + tmpfs + ` && exec "$@"`
			l.shell = append([]string{"unshare", "--mount", "sh", "-c", mount, "sh"}, shell...)
		}
		l.env = append(env, "RUNNER_TEMP=/proc") // where not even root can write
		refused("cannot write to RUNNER_TEMP, /proc: ")
		l.env = env
		in(`-o size=4k tmpfs "$RUNNER_TEMP" && echo full >"$RUNNER_TEMP/file"`)
		refused("No space left on device")
		in(`-o noexec tmpfs "$RUNNER_TEMP"`)
		refused("mount RUNNER_TEMP, " + l.dir + "/temp, without noexec, or set HOSTGUARD_BIN")
	})
}

func TestLauncherFindsNothing(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		status, out := l.run("status")
		if status != 3 || strings.Count(out, "\n") != 1 || strings.HasPrefix(out, "::") {
			t.Errorf("status %d:\n%s", status, out)
		}
		for _, want := range []string{
			"dist/hostguard-linux-" + runtime.GOARCH, "make dist",
			"hostguard 1.2.3 or newer on this host's PATH", "HOSTGUARD_BIN",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("want %q in:\n%s", want, out)
			}
		}
		l.env = append(l.env, "GITHUB_ACTIONS=true")
		if status, out := l.run("status"); status != 3 || !strings.HasPrefix(out, "::error::hostguard: no binary found") {
			t.Errorf("in a workflow: status %d:\n%s", status, out)
		}
	})
}

// Gitea's act fork obeys a command at the start of any line.
func TestLauncherPrintsHostileNamesOnOneLine(t *testing.T) {
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.dist("1.2.3")
		hostile := "/x\n::set-env name=BASH_ENV::x\r##[add-path]x\n\x1b[2J%s\\n$(touch x)`touch y`"
		l.env = append(l.env, "HOSTGUARD_BIN="+hostile)
		l.ran(l.copyOfDist(),
			"skipping HOSTGUARD_BIN, no executable file: "+
				"/x::set-env name=BASH_ENV::x##[add-path]x[2J%s\\n$(touch x)`touch y`")

		l.env[len(l.env)-1] = "HOSTGUARD_BIN=" + l.binary("named", `9\n::set-env name=BASH_ENV::x`)
		l.ran(filepath.Join(l.dir, "named"))

		if names, err := filepath.Glob(filepath.Join(l.dir, "work/*")); err != nil || len(names) != 0 {
			t.Errorf("a name was run: %q, %v", names, err)
		}
	})
}

// GitHub's runner writes the text of a step into a file, gives it to the shell, and
// on a cancel signals that shell alone: it has to be the binary by then.
func TestTheStepsShellBecomesTheBinary(t *testing.T) {
	text, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var action struct {
		Runs struct{ Steps []struct{ Run string } }
	}
	if err := yaml.Unmarshal(text, &action); err != nil || len(action.Runs.Steps) != 1 {
		t.Fatalf("%v: %d steps, want 1", err, len(action.Runs.Steps))
	}
	inEveryShell(t, func(t *testing.T, l *launcher) {
		bin := l.write("named", `#!/bin/sh
if [ "$*" = version ]; then echo "hostguard 1.2.3 linux/amd64 go1.26.8"; exit; fi
echo "pid $$"
`, 0o755)
		args := append(l.shell[1:len(l.shell):len(l.shell)], "-e", l.write("step.sh", action.Runs.Steps[0].Run, 0o644))
		cmd := exec.Command(l.shell[0], args...)
		cmd.Env = append(l.env, "PATH=/usr/bin:/bin",
			"HOSTGUARD_BIN="+bin, "GITHUB_ACTION_PATH="+filepath.Join(l.dir, "action"))
		out, err := cmd.CombinedOutput()
		if want := fmt.Sprintf("\npid %d\n", cmd.Process.Pid); err != nil || !strings.HasSuffix(string(out), want) {
			t.Errorf("%v: want %q at the end of:\n%s", err, want, out)
		}
	})
}
