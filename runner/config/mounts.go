package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Mounts reports whether the configuration mounts a file, or a directory above it, at
// the same path into the containers of jobs.
func (c Config) Mounts(file string) bool {
	for word := range strings.FieldsSeq(c.Options) {
		parts := strings.Split(strings.Trim(word[strings.Index(word, "=")+1:], `"'`), ":")
		if len(parts) < 2 || parts[1] != file && !strings.HasPrefix(file, strings.TrimSuffix(parts[1], "/")+"/") {
			continue
		}
		if slices.ContainsFunc(c.ValidVolumes, func(valid string) bool {
			matches, _ := path.Match(valid, parts[0])
			dir, all := strings.CutSuffix(valid, "**")
			return matches || all && strings.HasPrefix(parts[0], dir)
		}) {
			return true
		}
	}
	return false
}

// WithMounts returns the configuration's container.options and valid_volumes with mounts
// of the files added.
func (c Config) WithMounts(files ...string) (options string, volumes []string) {
	options, volumes = strings.TrimSpace(c.Options), slices.Clone(c.ValidVolumes)
	for _, file := range files {
		if mount := fmt.Sprintf("--volume %s:%[1]s:ro", file); !strings.Contains(options+" ", mount+" ") {
			options = strings.TrimSpace(options + " " + mount)
		}
		if !slices.Contains(volumes, file) && !slices.Contains(volumes, "**") {
			volumes = append(volumes, file)
		}
	}
	return options, volumes
}
