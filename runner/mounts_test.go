package runner

import (
	"slices"
	"strings"
	"testing"
)

// A hook that is not in the container of a job fails it.
func TestWhereAHookCannotBeMounted(t *testing.T) {
	const hook = "/usr/local/bin/hostguard-job-completed"
	for name, c := range map[string]struct {
		labels, dockerHost, file string
		says                     string
	}{
		"on the host and in containers":  {"awoooi-host:host ubuntu-latest:docker://x", "", hook, ""},
		"a daemon's socket":              {"ubuntu-latest:docker://x", "unix:///run/user/1000/docker.sock", hook, ""},
		"no daemon in containers":        {"ubuntu-latest:docker://x", "-", hook, ""},
		"another host's daemon":          {"awoooi-host:host ubuntu-latest:docker://x", "tcp://10.0.0.1:2376", hook, `Docker daemon at "tcp://10.0.0.1:2376"`},
		"another host's, but none asked": {"awoooi-host:host", "tcp://10.0.0.1:2376", hook, ""},
		"pods":                           {"awoooi-host:host k8s:kubernetes://x", "", hook, `jobs of "k8s:kubernetes://x"`},
		"a path with a blank":            {"awoooi-host:host", "", "/home/a b/hostguard", "cannot name its path"},
		"a path that is a volume":        {"awoooi-host:host", "", "/home/a:b/hostguard", "cannot name its path"},
	} {
		f := Found{DockerHost: c.dockerHost}
		for l := range strings.FieldsSeq(c.labels) {
			f.Config.Labels = append(f.Config.Labels, ParseLabel(l))
		}
		if got := f.CannotMount(c.file); (c.says == "") != (got == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
}

// What install prints is what the audit wants.
func TestWhatAConfigurationMounts(t *testing.T) {
	printed := Config{}
	printed.Options, printed.ValidVolumes = printed.Mounting("/opt/done")
	for _, c := range []struct {
		config Config
		want   bool
	}{
		{printed, true},
		{Config{Options: "-v=/opt:/opt:ro", ValidVolumes: []string{"/opt"}}, true},
		{Config{Options: "--volume '/srv/x:/opt/done'", ValidVolumes: []string{"/srv/*"}}, true},
		{Config{Options: "--volume /opt/done:/opt/done", ValidVolumes: []string{"/**"}}, true},
		{Config{Options: "--volume /opt/done:/opt/done"}, false},
		{Config{Options: "--volume /opt/done:/other", ValidVolumes: []string{"**"}}, false},
		{Config{Options: "--volume /opt/don:/opt/don", ValidVolumes: []string{"**"}}, false},
		{Config{}, false},
	} {
		if got := c.config.mounts("/opt/done"); got != c.want {
			t.Errorf("%+v: %v", c.config, got)
		}
	}
}

// What a configuration mounts already stays, once.
func TestMountsAreAdded(t *testing.T) {
	const a, b = "--volume /a:/a:ro", "--volume /a-b:/a-b:ro"
	for _, c := range []struct {
		options string
		volumes []string
		want    string
		valid   []string
	}{
		{"", nil, a + " " + b, []string{"/a", "/a-b"}},
		{"--add-host x:1.2.3.4 ", []string{"/data"}, "--add-host x:1.2.3.4 " + a + " " + b, []string{"/data", "/a", "/a-b"}},
		{b, []string{"**"}, b + " " + a, []string{"**"}},
		{a + " " + b, []string{"/a-b", "/a"}, a + " " + b, []string{"/a-b", "/a"}},
	} {
		options, volumes := Config{Options: c.options, ValidVolumes: c.volumes}.Mounting("/a", "/a-b")
		if options != c.want || !slices.Equal(volumes, c.valid) {
			t.Errorf("%q %q: %q %q", c.options, c.volumes, options, volumes)
		}
	}
}
