package runner

import (
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
		"empty":   {"", 1, 3 * time.Hour, 0, ".runner", "", "", 0},
		"classic": {"log: {level: info}\nrunner:\n  file: /data/.runner\n  capacity: 2\n  envs: {A: b}\n  timeout: 3h\n  insecure: false\n  labels:\n    - \"ubuntu-latest:docker://x:y\"\n    - 'awoooi-host:host'\nhost:\n  workdir_parent: /w\n", 2, 3 * time.Hour, 0, "/data/.runner", "ubuntu-latest/docker awoooi-host/host", "/w", 0},
		"new":     {"runner:\n  capacity: 1\n  timeout: 90m\n  shutdown_timeout: 1h # as long as a job\n  hooks: {job_completed: /x}\n  post_task_script: /y\n  labels: [a]\nhealth_check: {script: /z}\n", 1, 90 * time.Minute, time.Hour, ".runner", "a/host", "", 0},
		"odd":     {"runner: {capacity: many, timeout: 5, shutdown_timeout: -1h, labels: {a: b}}", 1, 3 * time.Hour, 0, ".runner", "", "", 3},
		"null":    {"runner:\nhost:\n", 1, 3 * time.Hour, 0, ".runner", "", "", 0},
	} {
		got, err := ParseConfig([]byte(c.yaml))
		var labels []string
		for _, l := range got.Labels {
			labels = append(labels, l.Name+"/"+l.Schema)
		}
		if err != nil || got.Capacity != c.capacity || got.Timeout != c.timeout || got.ShutdownTimeout != c.shutdown || got.Registration != c.file ||
			strings.Join(labels, " ") != c.labels || got.WorkdirParent != c.workdir || len(got.Problems) != c.problems {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each owner of a label has directories and units that are looked for.
func TestAConfigWithTooManyLabelsIsRefused(t *testing.T) {
	if c, err := ParseConfig([]byte("runner: {labels: [" + strings.Repeat("a, ", maxLabels+1) + "]}")); err == nil || len(c.Labels) > 0 {
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
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Minute: "1h30m", 0: "0s", 10 * time.Second: "10s", 3 * time.Minute: "3m"} {
		if got := Duration(d); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
