package runner

import (
	"strings"
	"testing"

	"hostguard/runner/config"
)

// A hook that is not in the container of a job fails it.
func TestWhereAHookCannotBeMounted(t *testing.T) {
	const hook = "/usr/local/bin/hostguard-job-completed"
	for name, c := range map[string]struct {
		labels, dockerHost, file string
		want                     string
	}{
		"on the host and in containers": {"awoooi-host:host ubuntu-latest:docker://x", "", hook, ""},
		"a daemon's socket":             {"ubuntu-latest:docker://x", "unix:///run/user/1000/docker.sock", hook, ""},
		"no daemon in containers":       {"ubuntu-latest:docker://x", "-", hook, ""},
		"another host's daemon": {
			"awoooi-host:host ubuntu-latest:docker://x", "tcp://10.0.0.1:2376", hook,
			`Docker daemon at "tcp://10.0.0.1:2376"`,
		},
		"another host's, but none asked": {"awoooi-host:host", "tcp://10.0.0.1:2376", hook, ""},
		"pods":                           {"awoooi-host:host k8s:kubernetes://x", "", hook, `jobs of "k8s:kubernetes://x"`},
		"a path with a blank":            {"awoooi-host:host", "", "/home/a b/hostguard", "cannot name its path"},
		"a path that is a volume":        {"awoooi-host:host", "", "/home/a:b/hostguard", "cannot name its path"},
	} {
		f := Found{DockerHost: c.dockerHost}
		for l := range strings.FieldsSeq(c.labels) {
			f.Config.Labels = append(f.Config.Labels, config.ParseLabel(l))
		}
		if got := f.CannotMount(c.file); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTheServerByItsRunners(t *testing.T) {
	unit := func(line string) Host { return Host{Units: []Unit{{Exec: [][]string{strings.Fields(line)}}}} }
	both := unit("/usr/bin/forgejo-runner daemon -c x")
	both.Daemons = []Daemon{{PID: 1}}
	for name, c := range map[string]struct {
		h    Host
		want Server
	}{
		"nothing": {Host{}, UnknownServer}, "no runner": {unit("/usr/bin/gitea web"), UnknownServer},
		"Forgejo's": {unit("/usr/bin/forgejo-runner daemon -c x"), Forgejo},
		"Gitea's":   {unit("/opt/act_runner-0.2.11-linux-amd64 daemon"), Gitea}, "both": {both, UnknownServer},
		"a process": {Host{Daemons: []Daemon{{PID: 1, Forgejo: true}}}, Forgejo},
	} {
		if got := c.h.Server(); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
