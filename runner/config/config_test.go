package config

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestConfigsOfBothGenerations(t *testing.T) {
	for name, c := range map[string]struct {
		yaml     string
		capacity int
		timeout  time.Duration
		shutdown time.Duration
		file     string
		labels   string
		workdir  string
		problems int
	}{
		"empty": {"", 1, 3 * time.Hour, 0, ".runner", "", "", 0},
		"classic": {
			"log: {level: info}\n" +
				"runner:\n  file: /data/.runner\n  capacity: 2\n  envs: {A: b}\n  timeout: 3h\n  insecure: false\n" +
				"  labels:\n    - \"ubuntu-latest:docker://x:y\"\n    - 'awoooi-host:host'\n" +
				"host:\n  workdir_parent: /w\n",
			2, 3 * time.Hour, 0, "/data/.runner", "ubuntu-latest/docker awoooi-host/host", "/w", 0,
		},
		"new": {
			"runner:\n  capacity: 1\n  timeout: 90m\n  shutdown_timeout: 1h # as long as a job\n" +
				"  hooks: {job_completed: /x}\n  post_task_script: /y\n  labels: [a]\n" +
				"health_check: {script: /z}\n",
			1, 90 * time.Minute, time.Hour, ".runner", "a/host", "", 0,
		},
		"odd": {
			"runner: {capacity: many, timeout: 5, shutdown_timeout: -1h, labels: {a: b}}",
			1, 3 * time.Hour, 0, ".runner", "", "", 3,
		},
		"null": {"runner:\nhost:\n", 1, 3 * time.Hour, 0, ".runner", "", "", 0},
	} {
		got, err := Parse([]byte(c.yaml))
		var labels []string
		for _, l := range got.Labels {
			labels = append(labels, l.Name+"/"+l.Schema)
		}
		wrong := err != nil || got.Capacity != c.capacity ||
			got.Timeout != c.timeout || got.ShutdownTimeout != c.shutdown ||
			got.Registration != c.file ||
			strings.Join(labels, " ") != c.labels || got.WorkdirParent != c.workdir || len(got.Problems) != c.problems
		if wrong {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each owner of a label has directories and units that are looked for.
func TestAConfigWithTooManyLabelsIsRefused(t *testing.T) {
	tooMany := []byte("runner: {labels: [" + strings.Repeat("a, ", MaxLabels+1) + "]}")
	if c, err := Parse(tooMany); err == nil || len(c.Labels) > 0 {
		t.Errorf("%d labels taken, %v", len(c.Labels), err)
	}
}

func TestLabelsOfTheRegistrationCountWhereTheConfigHasNone(t *testing.T) {
	registration := []byte(`{"uuid": "u", "token": "secret", "labels": ["a:host", "b:docker://c"]}`)
	c := Config{}
	if err := c.ReadRegistration(registration); err != nil || len(c.Labels) != 2 || c.Labels[1].Full != "b:docker://c" {
		t.Error(c, err)
	}
	c = Config{Labels: []Label{ParseLabel("x")}}
	if err := c.ReadRegistration(registration); err != nil || len(c.Labels) != 1 {
		t.Error(c, err)
	}
}

func TestDurationsAsPeopleWriteThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m",
		0: "0s", 10 * time.Second: "10s", 3 * time.Minute: "3m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestWhatTwoRunnersOfOneHostCannotShare(t *testing.T) {
	for _, yaml := range []string{
		"", "cache: {port: 0}\nmetrics: {enabled: false}\nrunner: {tool_cache_mode: none}",
		"cache:\nmetrics: {addr: x}",
	} {
		if err := CheckShareable([]byte(yaml)); err != nil {
			t.Errorf("%q: %v", yaml, err)
		}
	}
	for yaml, want := range map[string]string{
		"log: {}\ncache:\n  port: 8088":   `line 3: cache.port is "8088"`,
		"metrics: {enabled: true}":        `line 1: metrics.enabled is "true"`,
		"runner: {tool_cache_mode: host}": `line 1: runner.tool_cache_mode is "host"`,
		"runner: [":                       "yaml",
		"server: {connections: {a: {}}}":  "line 1: server.connections is a registration",
	} {
		if err := CheckShareable([]byte(yaml)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", yaml, err, want)
		}
	}
	example, err := os.ReadFile("../../examples/runner-config.yaml")
	if err == nil {
		err = CheckShareable(example)
	}
	if err != nil {
		t.Error(err)
	}
}
