package config

import (
	"time"

	"go.yaml.in/yaml/v3"

	"hostguard/runner/yamltree"
)

// asRead has the settings of both generations of Gitea's runner, and of Forgejo's, with
// the types that the runners read them as, by the same YAML library: act_runner 0.3.0,
// gitea-runner 3.1.0, forgejo-runner 12.
type asRead struct {
	Log struct {
		Level    string `yaml:"level"`
		JobLevel string `yaml:"job_level"`
	} `yaml:"log"`
	Runner struct {
		File            string            `yaml:"file"`
		Capacity        int               `yaml:"capacity"`
		Envs            map[string]string `yaml:"envs"`
		EnvFile         string            `yaml:"env_file"`
		Timeout         time.Duration     `yaml:"timeout"`
		ShutdownTimeout time.Duration     `yaml:"shutdown_timeout"`
		Insecure        bool              `yaml:"insecure"`
		FetchTimeout    time.Duration     `yaml:"fetch_timeout"`
		FetchInterval   time.Duration     `yaml:"fetch_interval"`
		Labels          []string          `yaml:"labels"`
	} `yaml:"runner"`
	Cache struct {
		Enabled *bool  `yaml:"enabled"`
		Dir     string `yaml:"dir"`
		Host    string `yaml:"host"`
		Port    uint16 `yaml:"port"`
	} `yaml:"cache"`
	Container struct {
		Network      string   `yaml:"network"`
		Privileged   bool     `yaml:"privileged"`
		Options      string   `yaml:"options"`
		ValidVolumes []string `yaml:"valid_volumes"`
		DockerHost   string   `yaml:"docker_host"`
		ForcePull    bool     `yaml:"force_pull"`
	} `yaml:"container"`
	Host struct {
		WorkdirParent string `yaml:"workdir_parent"`
	} `yaml:"host"`
	Server struct {
		Connections map[string]struct {
			URL    string   `yaml:"url"`
			UUID   string   `yaml:"uuid"`
			Labels []string `yaml:"labels"`
		} `yaml:"connections"`
	} `yaml:"server"`
}

// refusal returns why a runner does not start with a config.yaml, or "".
func refusal(data []byte) string {
	if err := yaml.Unmarshal(data, &asRead{}); err != nil {
		return yamltree.Reason(err).Error()
	}
	return ""
}
