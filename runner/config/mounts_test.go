package config

import (
	"slices"
	"testing"
)

// What install prints is what the audit wants.
func TestWhatAConfigurationMounts(t *testing.T) {
	printed := Config{}
	printed.Options, printed.ValidVolumes = printed.WithMounts("/opt/done")
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
		if got := c.config.Mounts("/opt/done"); got != c.want {
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
		options, volumes := Config{Options: c.options, ValidVolumes: c.volumes}.WithMounts("/a", "/a-b")
		if options != c.want || !slices.Equal(volumes, c.valid) {
			t.Errorf("%q %q: %q %q", c.options, c.volumes, options, volumes)
		}
	}
}
