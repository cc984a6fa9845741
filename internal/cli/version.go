package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

var versionCommand = Command{Name: "version", Help: helpVersion, New: func() Action { return new(version) }}

const helpVersion = `Prints "hostguard VERSION OS/ARCH GOVERSION".

{inputs}

exit status: 0, or 2 for wrong use.

example: hostguard version -json
`

type version struct{ json bool }

func (v *version) Inputs() []Input {
	in := JSONInput(&v.json)
	in.Text = "one line of JSON: version, commit, go, os, arch, and the modules that the program was built from, " +
		"with their sums"
	return []Input{in}
}

// versionReport is what "version -json" prints, in one line.
type versionReport struct {
	Version string         `json:"version"`
	Commit  string         `json:"commit"`
	Go      string         `json:"go"`
	OS      string         `json:"os"`
	Arch    string         `json:"arch"`
	Modules []moduleReport `json:"modules"` // dependencies of the build
}

type moduleReport struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum"` // as in go.sum
}

func (v *version) Run(_ context.Context, s *Session) error {
	if !v.json {
		fmt.Fprintf(s.Stdout, "hostguard %s %s/%s %s\n", s.Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
		return nil
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this program was built without module information; build it with \"make build\"")
	}
	report := versionReport{
		Version: s.Version, Commit: s.Commit, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Modules: []moduleReport{},
	}
	for _, m := range build.Deps {
		if m.Replace == nil { // else the binary has a folder of this repository instead
			report.Modules = append(report.Modules, moduleReport{m.Path, m.Version, m.Sum})
		}
	}
	return json.NewEncoder(s.Stdout).Encode(report)
}
