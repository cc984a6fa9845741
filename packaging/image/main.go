// Command image writes an OCI image of the released binaries, for "make image":
//
//	image VERSION REVISION TIME DIRECTORY
//
// The binaries are DIRECTORY/hostguard-linux-ARCH, and the image DIRECTORY/hostguard-VERSION-image.tar:
// an archive in the OCI layout, of one index for all platforms, each with the static binary and
// nothing else. "docker load" takes it as well, by a file manifest.json. TIME is in seconds since
// 1970, and in all that has a time: the same binaries make the same bytes, without a daemon, a
// base image or a network.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Media types of the OCI image specification, 1.1.
const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// platform is what an image runs on.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

var platforms = []platform{{Architecture: "amd64", OS: "linux"}, {Architecture: "arm64", OS: "linux", Variant: "v8"}}

// descriptor names a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations"`
}

// config is what runs, and how.
type config struct {
	Created string `json:"created"`
	platform
	Config struct {
		Entrypoint []string          `json:"Entrypoint"`
		Labels     map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []map[string]string `json:"history"`
}

// loadable is one image for "docker load".
type loadable struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: image VERSION REVISION TIME DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// write writes the image of the binaries in a directory there.
func write(version, revision, seconds, dir string) error {
	since, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("read the time: %w", err)
	}
	at := time.Unix(since, 0).UTC()
	archive := newArchive(at)
	labels := labels(version, revision, at)
	all := index{SchemaVersion: 2, MediaType: indexType, Annotations: labels}
	var loadables []loadable
	for _, p := range platforms {
		program, err := os.ReadFile(filepath.Join(dir, "hostguard-linux-"+p.Architecture))
		if err != nil {
			return err
		}
		d, l := archive.image(p, program, labels, at)
		l.RepoTags = []string{"hostguard:" + version + "-" + p.Architecture}
		all.Manifests, loadables = append(all.Manifests, d), append(loadables, l)
	}
	top := archive.blob(indexType, encode(all))
	top.Annotations = map[string]string{"org.opencontainers.image.ref.name": version,
		"io.containerd.image.name": "docker.io/library/hostguard:" + version}
	archive.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	archive.file("index.json", encode(index{SchemaVersion: 2, MediaType: indexType, Manifests: []descriptor{top}}))
	archive.file("manifest.json", encode(loadables))
	data, err := archive.close()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "hostguard-"+version+"-image.tar"), data, 0o644)
}

// labels returns what describes the image, by the names of the OCI image specification.
func labels(version, revision string, at time.Time) map[string]string {
	const name = "org.opencontainers.image."
	labels := map[string]string{name + "title": "hostguard", name + "description": "keep a shared CI host usable",
		name + "licenses": "MIT", name + "version": version, name + "created": at.Format(time.RFC3339)}
	if revision != "" {
		labels[name+"revision"] = revision
	}
	return labels
}

// archive is an image layout that is being written. Its first error is close's.
type archive struct {
	bytes.Buffer
	tar  *tar.Writer
	at   time.Time
	errs error
}

func newArchive(at time.Time) *archive {
	a := &archive{at: at}
	a.tar = tar.NewWriter(&a.Buffer)
	return a
}

// image adds the image of a platform.
func (a *archive) image(p platform, program []byte, labels map[string]string, at time.Time) (descriptor, loadable) {
	layer, err := oneFile("hostguard", program, at)
	a.errs = errors.Join(a.errs, err)
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	_, err = z.Write(layer)
	a.errs = errors.Join(a.errs, err, z.Close())
	c := config{Created: at.Format(time.RFC3339), platform: p}
	c.Config.Entrypoint, c.Config.Labels = []string{"/hostguard"}, labels
	c.RootFS.Type, c.RootFS.DiffIDs = "layers", []string{digest(layer)}
	c.History = []map[string]string{{"created": c.Created, "created_by": "COPY hostguard /hostguard"}}
	m := manifest{SchemaVersion: 2, MediaType: manifestType, Config: a.blob(configType, encode(c)),
		Layers: []descriptor{a.blob(layerType, small.Bytes())}, Annotations: labels}
	d := a.blob(manifestType, encode(m))
	d.Platform = &p
	return d, loadable{Config: blobPath(m.Config.Digest), Layers: []string{blobPath(m.Layers[0].Digest)}}
}

// blob adds what is found by its sum.
func (a *archive) blob(kind string, data []byte) descriptor {
	d := descriptor{MediaType: kind, Digest: digest(data), Size: len(data)}
	a.file(blobPath(d.Digest), data)
	return d
}

func (a *archive) file(name string, data []byte) {
	a.errs = errors.Join(a.errs, add(a.tar, name, data, 0o644, a.at))
}

func (a *archive) close() ([]byte, error) {
	err := errors.Join(a.errs, a.tar.Close())
	return a.Bytes(), err
}

// oneFile returns an archive of one program.
func oneFile(name string, data []byte, at time.Time) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err := errors.Join(add(w, name, data, 0o755, at), w.Close())
	return layer.Bytes(), err
}

func add(w *tar.Writer, name string, data []byte, mode int64, at time.Time) error {
	err := w.WriteHeader(&tar.Header{
		Name: name, Mode: mode, Size: int64(len(data)), ModTime: at, Format: tar.FormatUSTAR,
	})
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func blobPath(digest string) string { return "blobs/sha256/" + digest[len("sha256:"):] }

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and maps of them have an encoding
	}
	return data
}
