package runner

import (
	"slices"
	"strings"
	"testing"

	"hostguard/runner/finding"
)

// Other containers that start the retired one again, or restart it.
func TestContainersThatStartOthers(t *testing.T) {
	settings := func(pairs ...string) map[string]string {
		all := map[string]string{}
		for _, p := range pairs {
			name, value, _ := strings.Cut(p, "=")
			all[name] = value
		}
		return all
	}
	const revive = "WATCHTOWER_REVIVE_STOPPED=true"
	for name, c := range map[string]struct {
		guard Container
		marks map[string]string // of the runner's container
		want  finding.Level
	}{
		"watchtower":              {Container{Image: "containrrr/watchtower:1.7", Settings: settings(revive)}, nil, finding.Bad},
		"by its flag":             {Container{Image: "nickfedor/watchtower", Command: []string{"--revive-stopped"}}, nil, finding.Bad},
		"before a name":           {Container{Image: "x/watchtower", Command: []string{"--revive-stopped", "app"}}, nil, finding.Bad},
		"that only updates":       {Container{Image: "containrrr/watchtower", Command: []string{"--cleanup"}}, nil, finding.OK},
		"that revives nothing":    {Container{Image: "x/watchtower", Command: []string{"--revive-stopped=false"}}, nil, finding.OK},
		"that leaves it out":      {Container{Image: "x/watchtower", Settings: settings(revive)}, settings("com.centurylinklabs.watchtower.enable=false"), finding.OK},
		"that is told which":      {Container{Image: "x/watchtower", Settings: settings(revive, "WATCHTOWER_LABEL_ENABLE=1")}, nil, finding.OK},
		"that is told this one":   {Container{Image: "x/watchtower", Settings: settings(revive, "WATCHTOWER_LABEL_ENABLE=1")}, settings("com.centurylinklabs.watchtower.enable=true"), finding.Bad},
		"of another scope":        {Container{Image: "x/watchtower", Settings: settings(revive, "WATCHTOWER_SCOPE=web")}, nil, finding.OK},
		"that excludes it":        {Container{Image: "x/watchtower", Settings: settings(revive, "WATCHTOWER_DISABLE_CONTAINERS=a,gitea-runner")}, nil, finding.OK},
		"autoheal":                {Container{Image: "willfarrell/autoheal@sha256:00"}, settings("autoheal=true"), finding.Warn},
		"autoheal of all":         {Container{Image: "willfarrell/autoheal", Settings: settings("AUTOHEAL_CONTAINER_LABEL=all")}, nil, finding.Warn},
		"autoheal of its own":     {Container{Image: "willfarrell/autoheal", Settings: settings("AUTOHEAL_CONTAINER_LABEL=heal")}, settings("heal=true"), finding.Warn},
		"autoheal of others":      {Container{Image: "willfarrell/autoheal"}, settings("autoheal=false"), finding.OK},
		"what only has the label": {Container{Image: "postgres", Settings: settings(revive)}, settings("autoheal=true"), finding.OK},
	} {
		h := good()
		c.guard.Name, c.guard.Running = "guard", true
		h.Guards, h.Containers[0].Marks = []Container{c.guard}, c.marks
		level := finding.OK
		for _, f := range slices.Concat(Audit(h), RestartTriggers(h, h.Containers[0])) {
			if f.Layer == 7 && strings.Contains(f.Evidence, `"guard"`) && f.Fix != "" {
				level = f.Level
			}
		}
		if level != c.want || c.guard.Guards() != (c.guard.Image != "postgres") {
			t.Errorf("%s: %s, want %s", name, level, c.want)
		}
	}
}

func TestAComposeFileThatKeepsTheRetiredRunnerUp(t *testing.T) {
	for text, want := range map[string]string{
		"services: {runner: {restart: always}}":                                    "always",
		"services: {runner: {restart: unless-stopped}}":                            "unless-stopped",
		"services: {runner: {restart: \"on-failure:3\"}}":                          "on-failure",
		"services: {runner: {deploy: {restart_policy: {condition: any}}}}":         "any",
		"services: {runner: {restart: \"no\"}}":                                    "",
		"services: {runner: {restart: always, profiles: [retired]}}":               "",
		"services: {runner: {}, db: {restart: always}}":                            "",
		"x: &r {restart: always}\nservices: {runner: {<<: *r, image: act_runner}}": "always",
		"services: [": "",
	} {
		h := good()
		c := &h.Containers[0]
		c.ComposeService, c.ComposeFiles = "runner", []string{"/srv/gitea/compose.yaml"}
		h.ComposeFiles = []Script{{"/srv/gitea/compose.yaml", text}, {"/srv/other.yaml", "services: {runner: {restart: always}}"}}
		found := slices.DeleteFunc(Audit(h), func(f finding.Finding) bool { return f.Layer != 7 })
		if (want != "") != (len(found) == 1) || want != "" && !strings.Contains(found[0].Evidence, "restart: "+want) {
			t.Errorf("%q: %+v, want %q", text, found, want)
		}
	}
}

// An own build is a runner's container by what runs in it.
func TestWhoRunsARunner(t *testing.T) {
	for name, c := range map[string]struct {
		c         Container
		runs, may bool
	}{
		"its daemon":                 {Container{Running: true, Processes: [][]string{{"tini"}, {"/x/act_runner-0.2.11", "daemon"}}}, true, false},
		"a daemon by another name":   {Container{Running: true, Registration: true, Processes: [][]string{{"/agent", "daemon"}}}, true, false},
		"another's daemon":           {Container{Running: true, Processes: [][]string{{"git", "daemon"}}}, false, false},
		"what backs it up":           {Container{Running: true, Registration: true, Processes: [][]string{{"restic", "backup"}}}, false, false},
		"a stopped own build":        {Container{Registration: true}, false, true},
		"with a runner's settings":   {Container{Registration: true, Variables: []string{"GITEA_RUNNER_NAME"}}, true, true},
		"without its registration":   {Container{Variables: []string{"GITEA_RUNNER_NAME", "GITEA_INSTANCE_URL"}}, true, false},
		"the server":                 {Container{Variables: []string{"GITEA_RUNNER_REGISTRATION_TOKEN", "GITEA__server__X"}}, false, false},
		"whose processes are hidden": {Container{Running: true, Registration: true}, false, true},
	} {
		if c.c.RunsRunner() != c.runs || c.c.MayRunRunner() != c.may {
			t.Errorf("%s: %t, %t", name, c.c.RunsRunner(), c.c.MayRunRunner())
		}
	}
}
