package workflow

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostguard/e2e/rig/engine"
)

// encrypted serves an engine with TLS. It returns the address, and a file with the
// certificate.
func encrypted(t *testing.T, e *engine.Engine) (host, ca string) {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(e.Host(), "unix://"))
	}}
	server := httptest.NewTLSServer(proxy)
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return "tcp://" + server.Listener.Addr().String(), ca
}

// hostguard asks the daemon that the docker command asks: by its contexts, which that
// command has made, and by its variables.
func TestTheLockIsInTheDaemonOfTheDockerCommand(t *testing.T) {
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			e := engine.ForTest(t, version)
			host, ca := encrypted(t, e)
			home := t.TempDir()
			// To the old client a DOCKER_HOST that is empty chooses the default context.
			run := func(env []string, name string, args ...string) (string, error) {
				cmd := exec.Command(name, args...)
				cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}, env...)
				out, err := cmd.CombinedOutput()
				return strings.TrimSpace(string(out)), err
			}
			docker := func(env []string, args ...string) string {
				t.Helper()
				out, err := run(env, e.CLI(), args...)
				if err != nil {
					t.Fatalf("docker %q: %s", args, out)
				}
				return out
			}
			docker(nil, "context", "create", "socket", "--docker", "host="+e.Host())
			docker(nil, "context", "create", "tls", "--docker", "host="+host+",ca="+ca)
			variables := []string{"DOCKER_HOST=" + host, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=" + filepath.Dir(ca)}
			elsewhere := []string{"DOCKER_CONFIG=" + filepath.Join(home, ".docker"), "HOME=/nowhere"}
			for name, c := range map[string]struct {
				use string
				env []string
			}{
				"a context":            {use: "socket"},
				"a context with TLS":   {use: "tls"},
				"by DOCKER_CONTEXT":    {use: "default", env: []string{"DOCKER_CONTEXT=tls"}},
				"by DOCKER_HOST":       {use: "tls", env: []string{"DOCKER_HOST=" + e.Host()}},
				"TLS by variables":     {use: "default", env: variables},
				"by another directory": {use: "socket", env: elsewhere},
			} {
				docker(nil, "context", "use", c.use)
				want := docker(c.env, "info", "--format", "{{.ID}}")
				if out, err := run(c.env, binary(t), "status"); err != nil || !strings.Contains(out, `id "`+want+`"`) {
					t.Errorf("%s: %v, no %q in\n%s", name, err, want, out)
				}
			}
			docker(nil, "context", "use", "tls")
			if err := os.RemoveAll(filepath.Join(home, ".docker/contexts")); err != nil {
				t.Fatal(err)
			}
			out, err := run(nil, binary(t), "status")
			if err == nil || !strings.Contains(out, `the docker context "tls", which "`+home) {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}
