package runner

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config is what a runner's config.yaml says, of either generation: act_runner's
// and gitea-runner's differ in what the newer one adds. What it leaves out has
// the runner's default.
type Config struct {
	Capacity        int
	Timeout         time.Duration
	ShutdownTimeout time.Duration
	Registration    string // runner.file
	EnvFile         string // runner.env_file
	ID              int64  // of the registration, by its server; 0 if that is not known
	Name            string // of the registration, "" if that is not known
	Server          string // of the registration: its address
	Labels          []Label
	DockerHost      string // container.docker_host
	Options         string // container.options
	ValidVolumes    []string
	JobHooks        []string // runner.hooks, which run where the job's steps do
	HealthScript    string   // health_check.script
	HealthEnabled   bool
	CacheDir        string // "" is .cache/actcache in the home of the runner's user
	WorkdirParent   string // "" is .cache/act there
	Problems        []string
}

// maxLabels bounds what is looked for on the host, one directory for each owner.
const maxLabels = 200

// ParseConfig reads a config.yaml. A value that it cannot read is a problem, and
// its default stands.
func ParseConfig(data []byte) (Config, error) {
	c := Config{Capacity: 1, Timeout: 3 * time.Hour, Registration: ".runner"}
	root, err := parseYAML(data)
	if err != nil {
		return c, err
	}
	if root.Kind != yaml.MappingNode {
		return c, errNoMapping
	}
	r := value(root, "runner")
	if s := text(value(r, "capacity")); s != "" {
		if n, err := strconv.Atoi(s); err == nil && n > 0 {
			c.Capacity = n
		} else if n != 0 || err != nil { // 0 means 1
			c.Problems = append(c.Problems, fmt.Sprintf("runner.capacity is %.50q, no number", s))
		}
	}
	for key, d := range map[string]*time.Duration{"timeout": &c.Timeout, "shutdown_timeout": &c.ShutdownTimeout} {
		s := text(value(r, key))
		if s == "" || s == "0" {
			continue
		}
		v, err := time.ParseDuration(s)
		if err != nil || v < 0 {
			c.Problems = append(c.Problems, fmt.Sprintf("runner.%s is %.50q, no duration", key, s))
			continue
		}
		*d = v
	}
	slices.Sort(c.Problems)
	if s := text(value(r, "file")); s != "" {
		c.Registration = s
	}
	c.EnvFile = text(value(r, "env_file"))
	for _, s := range texts(value(r, "labels")) {
		c.addLabels(s)
	}
	if len(c.Labels) > maxLabels {
		err := fmt.Errorf("it has %d labels; want at most %d", len(c.Labels), maxLabels)
		c.Labels = nil
		return c, err
	}
	container := value(root, "container")
	c.DockerHost, c.Options = text(value(container, "docker_host")), text(value(container, "options"))
	c.ValidVolumes = texts(value(container, "valid_volumes"))
	for _, hook := range []string{"job_started", "job_completed"} {
		if path := text(value(value(r, "hooks"), hook)); path != "" {
			c.JobHooks = append(c.JobHooks, path)
		}
	}
	health := value(root, "health_check")
	c.HealthScript, c.HealthEnabled = text(value(health, "script")), text(value(health, "enabled")) == "true"
	c.CacheDir = text(value(value(root, "cache"), "dir"))
	c.WorkdirParent = text(value(value(root, "host"), "workdir_parent"))
	return c, nil
}

// RunsContainers reports whether the runner runs jobs in containers by its labels. A
// workflow may ask for a container whatever the label is.
func (c Config) RunsContainers() bool {
	return slices.ContainsFunc(c.Labels, func(l Label) bool { return l.Schema != "host" })
}

// JobParent is the directory in which each job has one of its own. Actions are
// cloned into it, too.
func (c Config) JobParent(home string) string {
	return cmp.Or(c.WorkdirParent, filepath.Join(home, ".cache/act"))
}

// addLabels reads labels as config.yaml lists them, and as GITEA_RUNNER_LABELS
// has them, with commas.
func (c *Config) addLabels(s string) {
	for l := range strings.SplitSeq(s, ",") {
		if l = strings.TrimSpace(l); l != "" {
			c.Labels = append(c.Labels, ParseLabel(l))
		}
	}
}

// ReadRegistration takes who the runner is from the registration's file (.runner),
// and its labels where the configuration has none, as the runner does. The file's
// token is not kept.
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
		for _, l := range r.Labels[:min(len(r.Labels), maxLabels)] {
			c.addLabels(l)
		}
	}
	return nil
}

// Registration is what a runner's registration (.runner) says of it. The token is
// not kept.
type Registration struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"` // of its server
}

// ParseRegistration reads a registration; one without an ID is none.
func ParseRegistration(data []byte) (Registration, error) {
	var r Registration
	err := json.Unmarshal(data, &r)
	if err == nil && r.ID <= 0 {
		err = errors.New("it has no ID")
	}
	return r, err
}

// Duration is a length of time as config.yaml has it: 1h, not 1h0m0s.
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
