package docker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/internal/privsep"
)

// TestMain is also the helper process of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == privsep.Command {
		os.Exit(privsep.Serve(os.Stdin, os.Stdout, Handlers()))
	}
	os.Exit(m.Run())
}

// As the docker command completes them, tried with 28.2.
func TestHostsAreCompletedAsTheDockerCommandDoes(t *testing.T) {
	for given, want := range map[string]string{
		"":                           usualSocket,
		"unix://":                    usualSocket,
		" unix:///run/docker.sock ":  "unix:///run/docker.sock",
		"tcp://":                     "tcp://localhost:2375",
		"tcp://10.0.0.1":             "tcp://10.0.0.1:2375",
		"tcp://10.0.0.1:2376":        "tcp://10.0.0.1:2376",
		"tcp://[fe80::1]":            "tcp://[fe80::1]:2375",
		"tcp://build.example:1/base": "tcp://build.example:1/base",
		"10.0.0.1:2375":              "tcp://10.0.0.1:2375",
		":2375":                      "tcp://localhost:2375",
	} {
		at, err := findEndpoint(t.Context(), env("HOME="+t.TempDir(), "DOCKER_HOST="+given))
		if err != nil || at.host != want {
			t.Errorf("%q: %q, %v; want %q", given, at.host, err, want)
		}
	}
	const secret = "c0ffee-canary"
	for given, want := range map[string]string{
		"nonsense":                             "no address of a Docker daemon",
		"/run/docker.sock":                     "no address of a Docker daemon",
		"unix:/run/docker.sock":                "no address of a Docker daemon",
		"unix://run/docker.sock":               "no address of a Docker daemon",
		"http://10.0.0.1:2375":                 "no address of a Docker daemon",
		"npipe:////./pipe/docker_engine":       "no address of a Docker daemon",
		"fd://":                                "no address of a Docker daemon",
		"tcp://a b":                            `invalid character \" \" in host name`,
		"tcp://" + secret + "@10.0.0.1:2375":   "holds a user or a password",
		"tcp://u:" + secret + "@10.0.0.1:2375": "holds a user or a password",
		"ssh://wooo@build.example":             `DOCKER_HOST="ssh://wooo@build.example": ssh needs the docker`,
		"ssh://wooo:" + secret + "@example":    "ssh needs the docker command's connection helper",
		"unix:///" + strings.Repeat("s", 200):  "unix socket path",
	} {
		_, err := Connect(t.Context(), env("HOME="+t.TempDir(), "DOCKER_HOST="+given))
		if !errors.Is(err, ErrUsage) || !strings.Contains(fmt.Sprint(err), want) ||
			strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%q: %v, want %q", given, err, want)
		}
	}
}

// contextFiles returns the files of the docker command with one context, and with it
// chosen or not.
func contextFiles(name, host string, skip, chosen bool, tls map[string][]byte) map[string][]byte {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	all := map[string][]byte{"contexts/meta/" + id + "/meta.json": fmt.Appendf(nil,
		`{"Name":%q,"Metadata":{},"Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":%t}}}`, name, host, skip)}
	for file, data := range tls {
		all["contexts/tls/"+id+"/docker/"+file] = data
	}
	if chosen {
		all["config.json"] = fmt.Appendf(nil, `{"auths":{"r":{"auth":"c0ffee-canary"}},"currentContext":%q}`, name)
	}
	return all
}

// contextCase is a configuration of the docker command, and what becomes of it.
type contextCase struct {
	files     map[string][]byte
	vars      []string
	host      string // "" for an error
	want, fix string
}

// contextCases returns cases for daemons with and without TLS, whose authority is ours.
func contextCases(t *testing.T, ours authority, encrypted, plain, socket string) map[string]contextCase {
	t.Helper()
	const nowhere, another = "unix:///nowhere/docker.sock", "choose another by docker context use"
	client, theirs := ours.sign(t, nil), newAuthority(t, "theirs")
	pair := map[string][]byte{"cert.pem": client.cert, "key.pem": client.key}
	certs := map[string][]byte{"ca.pem": ours.pem, "cert.pem": client.cert, "key.pem": client.key}
	of := func(name, host string, tls map[string][]byte) map[string][]byte {
		return contextFiles(name, host, false, true, tls)
	}
	return map[string]contextCase{
		"chosen by use": {files: of("rootless", socket, nil), host: socket},
		"by DOCKER_CONTEXT": {files: contextFiles("r2", plain, false, false, nil), vars: []string{"DOCKER_CONTEXT=r2"},
			host: plain},
		"DOCKER_HOST is first": {files: of("r", nowhere, nil),
			vars: []string{"DOCKER_HOST=" + socket, "DOCKER_CONTEXT=r"}, host: socket},
		"DOCKER_CONTEXT before the configuration": {files: of("r2", socket, nil), vars: []string{"DOCKER_CONTEXT=none"},
			want: `the docker context "none", which DOCKER_CONTEXT chooses, does not exist`,
			fix:  "set DOCKER_CONTEXT to one of docker context ls"},
		"with TLS":                 {files: of("t", encrypted, certs), host: encrypted},
		"TLS, not verified":        {files: contextFiles("t", encrypted, true, true, pair), host: encrypted},
		"variables are not for it": {files: of("t", plain, nil), vars: []string{"DOCKER_TLS_VERIFY=1"}, host: plain},
		"removed": {files: map[string][]byte{"config.json": []byte(`{"currentContext":"gone"}`)},
			want: `the docker context "gone", which "`, fix: another},
		"without TLS, at a port that wants it": {files: of("t", encrypted, nil), want: "wants TLS, and none is set",
			fix: "create the context again"},
		"TLS, at a port without": {files: of("t", plain, certs), want: "does not speak TLS",
			fix: "give the context the port that does"},
		"of another authority": {files: of("t", encrypted, map[string][]byte{"ca.pem": theirs.pem}),
			want: "of another authority than", fix: "put the daemon's own ca.pem there"},
		"without a key": {files: of("t", encrypted, map[string][]byte{"cert.pem": client.cert}), want: "key.pem",
			fix: "create the context again"},
		"by ssh": {files: of("far", "ssh://wooo@build", nil), fix: "run hostguard on that host",
			want: `the docker context "far"="ssh://wooo@build": ssh needs`},
		"no JSON": {files: withMeta(of("t", "", nil), "{"), want: "cannot be read", fix: another},
		"of Kubernetes alone": {files: withMeta(of("t", "", nil), `{"Endpoints":{"kubernetes":{}}}`),
			want: "it has no endpoint for docker", fix: another},
		"a description of 10 MB": {files: withMeta(of("t", "", nil), strings.Repeat(" ", 10<<20)),
			want: "more than 1048576 bytes", fix: another},
		"a name that is a path": {vars: []string{"DOCKER_CONTEXT=../../../etc"}, want: "does not exist",
			fix: "set DOCKER_CONTEXT to one of docker context ls"},
		"nobody listens": {files: of("t", nowhere, nil), want: `, of the docker context "t"`,
			fix: "start it, or choose another by docker context use, or set DOCKER_HOST"},
	}
}

// Before, contexts were ignored: the lock was in another daemon than the builds.
func TestContextsOfTheDockerCommand(t *testing.T) {
	ours := newAuthority(t, "ours")
	encrypted, plain := "tcp://"+tlsDaemon(t, ours.sign(t, nil), ours.pem), "tcp://"+plainDaemon(t)
	for name, c := range contextCases(t, ours, encrypted, plain, listing(t, nil).Address()) {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			save(t, filepath.Join(home, ".docker"), c.files)
			e, err := Connect(t.Context(), env(append(c.vars, "HOME="+home)...))
			if c.host != "" {
				if err != nil || e.Address() != c.host {
					t.Errorf("%v, want %q", err, c.host)
				}
				return
			}
			u, ok := errors.AsType[*Unusable](err)
			if !ok || !strings.Contains(u.What, c.want) || !strings.HasPrefix(u.Fix, c.fix) ||
				strings.Contains(err.Error(), "canary") || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%v; want %q and the fix %q", err, c.want, c.fix)
			}
		})
	}
}

// withMeta replaces the description of the context.
func withMeta(files map[string][]byte, text string) map[string][]byte {
	for name := range files {
		if strings.HasSuffix(name, "meta.json") {
			files[name] = []byte(text)
		}
	}
	return files
}

// A configuration that cannot be read chooses no context, as for the docker command; and
// none is waited for.
func TestConfigurationsThatChooseNoContext(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"none":    func(string) error { return nil },
		"default": func(path string) error { return os.WriteFile(path, []byte(`{"currentContext":"default"}`), 0o600) },
		"none in it": func(path string) error {
			return os.WriteFile(path, []byte(`{"auths":{"r":{"auth":"c0ffee"}}}`), 0o600)
		},
		"no JSON":                func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"a pipe":                 func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory":            func(path string) error { return os.Mkdir(path, 0o700) },
		"a link to the kernel's": func(path string) error { return os.Symlink("/proc/kmsg", path) },
		"a link in a circle":     func(path string) error { return os.Symlink("config.json", path) },
		"10 MB": func(path string) error {
			return os.WriteFile(path, append(bytes.Repeat([]byte(" "), 10<<20), `{"currentContext":"x"}`...), 0o600)
		},
	} {
		home := t.TempDir()
		save(t, home, map[string][]byte{".docker/x": {}})
		if err := make(filepath.Join(home, ".docker/config.json")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		at, err := findEndpoint(t.Context(), env("HOME="+home))
		if err != nil || at.host != usualSocket || time.Since(begin) > 10*time.Second {
			t.Errorf("%s: %q, %v, after %s", name, at.host, err, time.Since(begin))
		}
	}
}

// openDir returns a directory that all users can reach, unlike those of tests.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hg")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Root would connect to whatever another user names, such as a socket that only root can use.
func TestRootFollowsNoContextOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	socket := listing(t, nil).Address()
	home := openDir(t)
	config := filepath.Join(home, ".docker")
	save(t, config, contextFiles("rootless", socket, false, true, nil))
	own := func(dir string, uid int) {
		t.Helper()
		err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
			return errors.Join(err, os.Lchown(path, uid, uid))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	connect := func(vars ...string) error {
		_, err := Connect(t.Context(), env(append(vars, "HOME="+home)...))
		return err
	}
	if err := connect(); err != nil {
		t.Fatal(err)
	}
	own(home, 65534)
	refused(t, connect(), `root does not follow the docker context "rootless", since user 65534 can change "`+config,
		"set DOCKER_HOST, or DOCKER_CONTEXT=default")
	refused(t, connect("DOCKER_CONTEXT=rootless"), `root does not follow the docker context "rootless"`,
		"set DOCKER_HOST")
	if err := connect("DOCKER_HOST=" + socket); err != nil {
		t.Error(err)
	}
	// What chooses none, or cannot be read by that user, is no reason to fail.
	for name, make := range map[string]func(path string) error{
		"no context":   func(path string) error { return os.WriteFile(path, []byte(`{}`), 0o644) },
		"root's alone": func(path string) error { return os.WriteFile(path, []byte(`{"currentContext":"x"}`), 0o600) },
		"a pipe":       func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"a link to root's": func(path string) error {
			secret := filepath.Join(t.TempDir(), "secret")
			text := []byte(`{"currentContext":"c0ffee-canary"}`)
			return errors.Join(os.WriteFile(secret, text, 0o600), os.Symlink(secret, path))
		},
	} {
		path := filepath.Join(config, "config.json")
		if err := errors.Join(os.Remove(path), make(path)); err != nil {
			t.Fatal(err)
		}
		at, err := findEndpoint(t.Context(), env("HOME="+home))
		if err != nil || at.host != usualSocket {
			t.Errorf("%s: %q, %v", name, at.host, err)
		}
	}
}

// The certificates that root's own variables name may be another user's: they are read by
// a process of that user's.
func TestRootReadsCertificatesOfAnotherUserAsThatUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ours := newAuthority(t, "ours")
	client := ours.sign(t, nil)
	at := tlsDaemon(t, ours.sign(t, nil), ours.pem)
	dir := openDir(t)
	save(t, dir, map[string][]byte{"ca.pem": ours.pem, "cert.pem": client.cert, "key.pem": client.key})
	for _, name := range []string{"", "ca.pem", "cert.pem", "key.pem"} {
		if err := os.Chown(filepath.Join(dir, name), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	vars := env("DOCKER_HOST=tcp://"+at, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+dir)
	if _, err := Connect(t.Context(), vars); err != nil {
		t.Error(err)
	}
	// A link of that user's to a key of root's.
	key := filepath.Join(dir, "key.pem")
	save(t, dir, map[string][]byte{"root/key.pem": client.key})
	err := errors.Join(os.Chmod(filepath.Join(dir, "root"), 0o700), os.Remove(key), os.Symlink("root/key.pem", key))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Connect(t.Context(), vars)
	refused(t, err, `key.pem": "`, "put ca.pem")
}

// A pinned version that the daemon refuses is what the environment names, not the daemon.
func TestAPinnedVersionIsNamed(t *testing.T) {
	for version, answer := range map[string]string{
		"1.24": "client version 1.24 is too old. Minimum supported API version is 1.44, please upgrade your client",
		"1.99": "client version 1.99 is too new. Maximum supported API version is 1.45",
		"1.45": "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Api-Version", "1.45")
			w.Header().Set("Content-Type", "application/json")
			if answer != "" && strings.HasPrefix(r.URL.Path, "/v"+version+"/") {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"message":%q}`, answer)
			} else {
				fmt.Fprint(w, "{}")
			}
		}))
		_, err := Connect(t.Context(), env("DOCKER_HOST=tcp://"+server.Listener.Addr().String(),
			"DOCKER_API_VERSION="+version))
		server.Close()
		if answer == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		refused(t, err, `DOCKER_API_VERSION=`+version+`: the Docker daemon at`, "unset it")
		if !strings.Contains(fmt.Sprint(err), answer[:40]) {
			t.Error(err)
		}
	}
}

func TestANameWithoutAddress(t *testing.T) {
	e := &Engine{at: endpoint{host: "tcp://build.example:2375", by: "DOCKER_HOST"}}
	err := e.explain(&net.DNSError{Err: "no such host", Name: "build.example", IsNotFound: true})
	if !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), `the name "build.example" has no address`) {
		t.Error(err)
	}
}

// What Podman 4.3.1, 5.4.2 and Docker 28.5 answer, in part.
func TestPodmanIsKnownByItsAnswer(t *testing.T) {
	for answer, want := range map[string]string{
		`{"Platform":{"Name":"linux/amd64/debian-12"},"Components":[{"Name":"Podman Engine","Version":"4.3.1"},` +
			`{"Name":"Conmon","Version":"conmon version 2.1.6"}],"Version":"4.3.1","ApiVersion":"1.41"}`: "4.3.1",
		`{"Components":[{"Name":"Podman Engine","Version":"5.4.2"}],"Version":"5.4.2","ApiVersion":"1.41"}`: "5.4.2",
		`{"Platform":{"Name":"Docker Engine - Community"},"Components":[{"Name":"Engine","Version":"28.5.2"},` +
			`{"Name":"containerd","Version":"1.7.27"}],"Version":"28.5.2","ApiVersion":"1.51"}`: "",
		`<html>`: "",
	} {
		if got := daemon(t, map[string]string{"/version": answer}).Podman(t.Context()); got != want {
			t.Errorf("%.60s: %q", answer, got)
		}
	}
}
