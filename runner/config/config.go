// Package config parses and edits config.yaml, the configuration of Gitea's runner, and
// interprets its labels: where a job runs, and who owns a label. An edit keeps every
// byte that it need not change.
package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hostguard/runner/yamltree"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config holds the settings of a runner's config.yaml, of either generation:
// gitea-runner's adds settings to act_runner's. Missing settings have the runner's
// default.
type Config struct {
	Capacity        int
	Timeout         time.Duration
	ShutdownTimeout time.Duration
	Registration    string // runner.file
	EnvFile         string // runner.env_file
	ID              int64  // of the registration, by its server; 0 if not known
	Name            string // of the registration, "" if not known
	Server          string // of the registration: its address
	Labels          []Label
	DockerHost      string // container.docker_host
	Options         string // container.options
	ValidVolumes    []string
	JobHooks        []string // runner.hooks, which run where the job's steps do
	HealthScript    string   // health_check.script
	HealthEnabled   bool
	CacheDir        string // "" means .cache/actcache in the home of the runner's user
	WorkdirParent   string // "" means .cache/act there
	Problems        []string
	Refused         string // why the runner does not start with this file, or ""
	Connected       bool   // registered by server.connections, as Forgejo's runner can be
}

// MaxLabels bounds the search on the host, which checks a directory for each owner.
const MaxLabels = 200

// Parse parses a config.yaml. A value that it cannot parse is a problem, and keeps its
// default. What the runner itself would not start with is refused, and parsed as far as
// it can be.
func Parse(data []byte) (Config, error) {
	c := Config{Capacity: 1, Timeout: 3 * time.Hour, Registration: ".runner"}
	root, err := yamltree.Parse(data)
	if err != nil {
		return c, err
	}
	if root.Kind != yaml.MappingNode {
		return c, yamltree.ErrNoMapping
	}
	c.Refused = refusal(data)
	r := yamltree.Value(root, "runner")
	if s := yamltree.Text(yamltree.Value(r, "capacity")); s != "" {
		if n, err := strconv.ParseInt(s, 0, 32); err == nil && n > 0 { // 0x2 is 2, as in YAML
			c.Capacity = int(n)
		} else if n != 0 || err != nil { // 0 means 1
			c.Problems = append(c.Problems, fmt.Sprintf("runner.capacity is %.50q, not a number", s))
		}
	}
	for key, d := range map[string]*time.Duration{"timeout": &c.Timeout, "shutdown_timeout": &c.ShutdownTimeout} {
		s := yamltree.Text(yamltree.Value(r, key))
		if s == "" || s == "0" {
			continue
		}
		v, err := time.ParseDuration(s)
		if err != nil || v < 0 {
			c.Problems = append(c.Problems, fmt.Sprintf("runner.%s is %.50q, not a duration", key, s))
			continue
		}
		*d = v
	}
	slices.Sort(c.Problems)
	if s := yamltree.Text(yamltree.Value(r, "file")); s != "" {
		c.Registration = s
	}
	c.EnvFile = yamltree.Text(yamltree.Value(r, "env_file"))
	for _, s := range yamltree.Texts(yamltree.Value(r, "labels")) {
		c.addLabels(s)
	}
	c.readConnections(yamltree.Value(yamltree.Value(root, "server"), "connections"))
	if len(c.Labels) > MaxLabels {
		err := fmt.Errorf("%d labels, more than the limit of %d", len(c.Labels), MaxLabels)
		c.Labels = nil
		return c, err
	}
	container := yamltree.Value(root, "container")
	c.DockerHost = yamltree.Text(yamltree.Value(container, "docker_host"))
	c.Options = yamltree.Text(yamltree.Value(container, "options"))
	c.ValidVolumes = yamltree.Texts(yamltree.Value(container, "valid_volumes"))
	for _, hook := range []string{"job_started", "job_completed"} {
		if path := yamltree.Text(yamltree.Value(yamltree.Value(r, "hooks"), hook)); path != "" {
			c.JobHooks = append(c.JobHooks, path)
		}
	}
	health := yamltree.Value(root, "health_check")
	c.HealthScript = yamltree.Text(yamltree.Value(health, "script"))
	c.HealthEnabled = yamltree.Text(yamltree.Value(health, "enabled")) == "true"
	c.CacheDir = yamltree.Text(yamltree.Value(yamltree.Value(root, "cache"), "dir"))
	c.WorkdirParent = yamltree.Text(yamltree.Value(yamltree.Value(root, "host"), "workdir_parent"))
	return c, nil
}

// readConnections takes the registrations that Forgejo's runner has in its configuration.
// Each connection has labels of its own; the runner's are those of all.
func (c *Config) readConnections(connections *yaml.Node) {
	for _, p := range yamltree.Pairs(connections) {
		server := yamltree.Text(yamltree.Value(p.Value, "url"))
		if server == "" || yamltree.Text(yamltree.Value(p.Value, "uuid")) == "" {
			continue
		}
		if !c.Connected {
			c.Connected, c.Server, c.Labels = true, server, nil
		}
		for _, s := range yamltree.Texts(yamltree.Value(p.Value, "labels")) {
			c.addLabels(s)
		}
	}
}

// RunsContainers reports whether any label of the runner runs jobs in containers. A
// workflow may request a container with any label.
func (c Config) RunsContainers() bool {
	return slices.ContainsFunc(c.Labels, func(l Label) bool { return l.Schema != "host" })
}

// JobParent returns the parent of the job directories. Actions are cloned into it, too.
func (c Config) JobParent(home string) string {
	return cmp.Or(c.WorkdirParent, filepath.Join(home, ".cache/act"))
}

// addLabels adds one label, as config.yaml lists them, or several separated by commas,
// as in GITEA_RUNNER_LABELS.
func (c *Config) addLabels(s string) {
	for l := range strings.SplitSeq(s, ",") {
		if l = strings.TrimSpace(l); l != "" {
			c.Labels = append(c.Labels, ParseLabel(l))
		}
	}
}

// ReadRegistration takes the runner's identity from the registration file (.runner),
// and its labels if the configuration has none, as the runner does. The token is not
// kept.
func (c *Config) ReadRegistration(data []byte) error {
	var r struct {
		Registration
		Labels []string `json:"labels"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	c.ID, c.Name, c.Server = r.ID, r.Name, r.Address
	if len(c.Labels) == 0 {
		for _, l := range r.Labels[:min(len(r.Labels), MaxLabels)] {
			c.addLabels(l)
		}
	}
	return nil
}

// WithoutToken returns what ReadRegistration takes from a registration file, and nothing
// else of it.
func WithoutToken(data []byte) ([]byte, error) {
	var r struct {
		Registration
		Labels []string `json:"labels"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// Registration is the content of a runner's registration file (.runner), without its
// token.
type Registration struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"` // of its server
}

// ParseRegistration parses a registration, which must have an ID.
func ParseRegistration(data []byte) (Registration, error) {
	var r Registration
	err := json.Unmarshal(data, &r)
	if err == nil && r.ID <= 0 {
		err = errors.New("the registration has no ID")
	}
	return r, err
}

// Duration returns a duration in the form of config.yaml: 1h, not 1h0m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// CheckShareable fails unless a copy of a runner's config.yaml can run beside it on one
// host. A copy gets directories of its own; the settings refused here need a decision
// of the operator.
func CheckShareable(data []byte) error {
	root, err := yamltree.Parse(data)
	if err != nil {
		return fmt.Errorf("%.200q", err)
	}
	connections := yamltree.Value(yamltree.Value(root, "server"), "connections")
	if len(yamltree.Pairs(connections)) > 0 {
		return yamltree.ErrorAt(connections, "server.connections is a registration, and two runners with one "+
			"cancel each other's jobs; register the runner in a file")
	}
	cache, metrics := yamltree.Value(root, "cache"), yamltree.Value(root, "metrics")
	for _, c := range []struct {
		n    *yaml.Node
		free []string // values that share nothing
		key  string
		why  string
	}{
		{yamltree.Value(cache, "port"), []string{"", "0"}, "cache.port",
			"two runners cannot listen on one port; set it to 0, which takes a free port for each"},
		{yamltree.Value(metrics, "enabled"), []string{"", "false"}, "metrics.enabled",
			"two runners cannot listen on one address; set it to false"},
		{yamltree.Value(yamltree.Value(root, "runner"), "tool_cache_mode"), []string{"", "none"},
			"runner.tool_cache_mode", "two jobs that install the same tool at once break it; set it to none"},
	} {
		if v := yamltree.Text(c.n); !slices.Contains(c.free, v) {
			return yamltree.ErrorAt(c.n, "%s is %.50q: %s", c.key, v, c.why)
		}
	}
	return nil
}
