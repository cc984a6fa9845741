package runner

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// CannotMount says why a file of this host cannot be mounted into the containers of
// all jobs of a runner; "" if it can.
func (f Found) CannotMount(file string) string {
	for _, l := range f.Config.Labels {
		if l.Schema != "host" && l.Schema != "docker" {
			return fmt.Sprintf("for jobs of %q do not run in this host's containers", l.Full)
		}
	}
	host := f.DockerHost
	local := host == "" || host == "-" || strings.HasPrefix(host, "unix://") || strings.HasPrefix(host, "/")
	if !local && f.Config.RunsContainers() {
		return fmt.Sprintf("for their containers are those of the Docker daemon at %q, which has other files", host)
	}
	if strings.Trim(file, pathCharacters) != "" {
		return "for container.options cannot name its path"
	}
	return ""
}

// pathCharacters need no quotes in the options of a container, nor in a volume.
const pathCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@"

// mounts reports whether the configuration mounts a file, or a directory above it, at
// its own path into the containers of jobs.
func (c Config) mounts(file string) bool {
	for word := range strings.FieldsSeq(c.Options) {
		parts := strings.Split(strings.Trim(word[strings.Index(word, "=")+1:], `"'`), ":")
		if len(parts) < 2 || parts[1] != file && !below(file, parts[1]) {
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

// Mounting are the configuration's container.options and valid_volumes, with these
// files mounted.
func (c Config) Mounting(files ...string) (options string, volumes []string) {
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
