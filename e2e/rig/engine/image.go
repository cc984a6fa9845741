package engine

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
)

// ImportEmpty makes an image of nothing, without any registry: its programs are
// the machine's, once /usr is bound to it. It has the names that they expect
// beside it.
func (e *Engine) ImportEmpty(name string) error {
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	for _, dir := range []string{"usr", "tmp", "etc", "src"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o777}); err != nil {
			return err
		}
	}
	for _, link := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: link, Linkname: "usr/" + link}); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	file := filepath.Join(e.dir, "empty.tar")
	if err := os.WriteFile(file, image.Bytes(), 0o600); err != nil {
		return err
	}
	_, err := e.Docker("import", file, name)
	return err
}
