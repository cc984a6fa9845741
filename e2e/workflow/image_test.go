package workflow

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

// The image is built without a network, as there is none in these engines'
// namespaces, by the classic builder and by BuildKit, and sees the locks of the
// engine that it runs in.
func TestImage(t *testing.T) {
	for _, c := range []struct{ engine, buildkit string }{{engine.Old, "0"}, {engine.Old, "1"}, {engine.New, "0"}} {
		t.Run("Engine "+c.engine+", BuildKit "+c.buildkit, func(t *testing.T) {
			t.Parallel()
			e := engine.ForTest(t, c.engine)
			dir := t.TempDir()
			if err := act.Copy(dir); err != nil {
				t.Fatal(err)
			}
			env := []string{
				"DOCKER_HOST=" + e.Host(), "DOCKER_BUILDKIT=" + c.buildkit,
				"DOCKER_CONFIG=" + t.TempDir(),
				"PATH=" + filepath.Dir(e.CLI()) + ":" + os.Getenv("PATH"),
			}
			command(t, dir, env, "make", "image")

			image := func(args ...string) string {
				socket := strings.TrimPrefix(e.Host(), "unix://")
				run := []string{"run", "--rm", "--network=none", "-v", socket + ":/var/run/docker.sock", "hostguard"}
				return docker(t, e, append(run, args...)...)
			}
			if said := image("version"); !strings.HasPrefix(said, "hostguard 1.0.0 linux/"+runtime.GOARCH+" ") {
				t.Errorf("version says %q", said)
			}
			if said := image("status"); !strings.Contains(said, `lock "awoooi-cd-docker-build-lock": free`) {
				t.Errorf("status of a free lock:\n%s", said)
			}
			docker(t, e, "network", "create", "--config-only", "awoooi-cd-docker-build-lock")
			said := image("status")
			if !strings.Contains(said, "held by an entry made without hostguard") || !strings.Contains(said, "this container") {
				t.Errorf("status of a held lock:\n%s", said)
			}
			if size := docker(t, e, "image", "inspect", "--format", "{{len .RootFS.Layers}}", "hostguard"); size != "1" {
				t.Errorf("the image has %s layers, want the binary alone", size)
			}
		})
	}
}
