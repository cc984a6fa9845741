package runner

import (
	"slices"
	"strings"

	"hostguard/internal/actrunner"
)

// RunsRunner reports whether a container is a runner's: by its name, its image or its command
// as IsRunner does, by what runs in it, or by the settings of a runner's image in its
// environment.
func (c Container) RunsRunner() bool {
	return IsRunner(c.Name, c.Image, c.Command) || slices.ContainsFunc(c.Processes, actrunner.IsDaemon) ||
		c.Registration && slices.ContainsFunc(c.Processes, actrunner.MayBeDaemon) ||
		c.settings() > 1 || c.settings() > 0 && c.Registration
}

// MayRunRunner reports whether a container is stopped, or what runs in it is not known, and
// has a registration mounted.
func (c Container) MayRunRunner() bool {
	return c.Registration && (!c.Running || c.Processes == nil)
}

// settings counts the variables that are those of a runner's image. The token alone is a
// server's, too.
func (c Container) settings() (n int) {
	for _, name := range c.Variables {
		for _, prefix := range []string{"GITEA_RUNNER_", "FORGEJO_RUNNER_", "GITEA_INSTANCE_URL"} {
			if strings.HasPrefix(name, prefix) && !strings.Contains(name, "REGISTRATION_TOKEN") {
				n++
			}
		}
	}
	return n
}
