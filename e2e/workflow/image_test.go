package workflow

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

// imageArchive makes the image of this checkout, as of a commit.
func imageArchive(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := act.Copy(dir); err != nil {
		t.Fatal(err)
	}
	command(t, dir, nil, "make", "image", "COMMIT=0123abc", "SOURCE_DATE_EPOCH=1764294300")
	return filepath.Join(dir, "dist/hostguard-1.0.0-image.tar")
}

// imageLabels are what the image says of itself.
var imageLabels = map[string]string{
	"org.opencontainers.image.title": "hostguard", "org.opencontainers.image.version": "1.0.0",
	"org.opencontainers.image.revision": "0123abc", "org.opencontainers.image.licenses": "MIT",
	"org.opencontainers.image.created":     "2025-11-28T01:45:00Z",
	"org.opencontainers.image.description": "keep a shared CI host usable",
}

// Both Docker Engines load the image without a network, and it sees the locks of the engine
// that it runs in.
func TestImage(t *testing.T) {
	archive := imageArchive(t)
	t.Run("layout", func(t *testing.T) { checkLayout(t, archive) })
	for _, version := range []string{engine.Old, engine.New} {
		t.Run("Engine "+version, func(t *testing.T) {
			t.Parallel()
			e := engine.ForTest(t, version)
			docker(t, e, "load", "--input", archive)
			name := "hostguard:1.0.0-" + runtime.GOARCH
			image := func(args ...string) string {
				socket := strings.TrimPrefix(e.Host(), "unix://")
				run := []string{"run", "--rm", "--network=none", "-v", socket + ":/var/run/docker.sock", name}
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
			for _, arch := range []string{"amd64", "arm64"} {
				said := docker(t, e, "image", "inspect", "--format",
					"{{.Os}}/{{.Architecture}} {{len .RootFS.Layers}} {{json .Config.Labels}}", "hostguard:1.0.0-"+arch)
				var labels map[string]string
				is, of, _ := strings.Cut(said, " 1 ")
				if err := json.Unmarshal([]byte(of), &labels); err != nil || is != "linux/"+arch ||
					!maps.Equal(labels, imageLabels) {
					t.Errorf("%s: %v: %s", arch, err, said)
				}
			}
		})
	}
}

// checkLayout follows the archive from its index, as a registry's client does: every blob has
// its sum, and each platform its image.
func checkLayout(t *testing.T, path string) {
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(readFile(t, path))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	type descriptor struct {
		MediaType, Digest string
		Size              int
		Platform          struct{ OS, Architecture string }
	}
	type node struct {
		Manifests, Layers         []descriptor
		Config                    json.RawMessage
		OS, Architecture, Created string
		Annotations               map[string]string
	}
	parse := func(data []byte) (n node) {
		t.Helper()
		if err := json.Unmarshal(data, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	blob := func(d descriptor) []byte {
		t.Helper()
		data := files[strings.Replace(d.Digest, "sha256:", "blobs/sha256/", 1)]
		if fmt.Sprintf("sha256:%x", sha256.Sum256(data)) != d.Digest || len(data) != d.Size {
			t.Fatalf("%+v is not in the archive", d)
		}
		return data
	}
	top := parse(files["index.json"])
	all := parse(blob(top.Manifests[0]))
	var found []string
	for _, m := range all.Manifests {
		image := parse(blob(m))
		var c descriptor
		if err := json.Unmarshal(image.Config, &c); err != nil {
			t.Fatal(err)
		}
		config := parse(blob(c))
		if config.Architecture != m.Platform.Architecture || len(image.Layers) != 1 ||
			len(blob(image.Layers[0])) == 0 || !maps.Equal(image.Annotations, imageLabels) {
			t.Errorf("the image of %+v is %+v, with %+v", m.Platform, image, config)
		}
		found = append(found, config.OS+"/"+config.Architecture)
	}
	if !slices.Equal(found, []string{"linux/amd64", "linux/arm64"}) || len(top.Manifests) != 1 {
		t.Errorf("the platforms are %q, of %d images", found, len(top.Manifests))
	}
}
