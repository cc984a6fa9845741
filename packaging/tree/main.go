// Command tree writes what a package has beside the program, for "make packages":
//
//	tree VERSION DIRECTORY
//
// It is what "hostguard install" puts in place, below /usr, with the manual compressed; and
// the unit of the observer, which the package leaves disabled. packaging/nfpm.yaml names
// each of them, and the links that an install makes: a package that took a whole tree would
// own directories of the system. The files are the same whatever the umask.
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/observe"
	"hostguard/operate"
	"hostguard/steps"
)

// mark is in each text. It is not an install's, which then leaves the files alone.
const mark = "Part of the package hostguard."

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tree VERSION DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "tree:", err)
		os.Exit(1)
	}
}

// write writes the files of a version below a directory.
func write(version, dir string) error {
	commands := cli.All(slices.Concat(steps.Commands(), operate.Commands()))
	files := operate.Files("/usr", mark, version, nil, commands)[1:]
	_, unit, _ := strings.Cut(observe.Unit("/usr/bin/hostguard", true), "\n") // without an install's mark
	files = append(files, install.File{Path: "/usr/lib/systemd/system/" + observe.UnitName,
		Data: []byte("# " + mark + "\n" + unit), Mode: 0o644})
	for _, f := range files {
		if f.Link != "" {
			continue
		}
		if strings.HasPrefix(f.Path, "/usr/share/man/") {
			var small bytes.Buffer
			z, _ := gzip.NewWriterLevel(&small, gzip.BestCompression)
			if _, err := z.Write(f.Data); err != nil {
				return err
			}
			if err := z.Close(); err != nil {
				return err
			}
			f.Path, f.Data = f.Path+".gz", small.Bytes()
		}
		path := filepath.Join(dir, f.Path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = errors.Join(os.WriteFile(path, f.Data, f.Mode), os.Chmod(path, f.Mode))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
