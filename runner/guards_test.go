package runner

import (
	"slices"
	"strings"
	"testing"

	"hostguard/runner/finding"
)

// Other containers that start the retired one again, or restart it.
func TestContainersThatStartOthers(t *testing.T) {
	pairs := func(text string) map[string]string {
		all := map[string]string{}
		for pair := range strings.FieldsSeq(text) {
			name, value, _ := strings.Cut(pair, "=")
			all[name] = value
		}
		return all
	}
	const revive, watchtower = "WATCHTOWER_REVIVE_STOPPED=true ", "com.centurylinklabs.watchtower."
	for name, c := range map[string]struct {
		guard, settings string // its image and command, and its environment
		marks           string // of the runner's container
		want            finding.Level
	}{
		"watchtower":              {"containrrr/watchtower:1.7", revive, "", finding.Bad},
		"by its flag":             {"nickfedor/watchtower --revive-stopped", "", "", finding.Bad},
		"before a name":           {"x/watchtower --revive-stopped app", "", "", finding.Bad},
		"that only updates":       {"containrrr/watchtower --cleanup", "", "", finding.OK},
		"that revives nothing":    {"x/watchtower --revive-stopped=false", "", "", finding.OK},
		"that leaves it out":      {"x/watchtower", revive, watchtower + "enable=false", finding.OK},
		"that is told which":      {"x/watchtower", revive + "WATCHTOWER_LABEL_ENABLE=1", "", finding.OK},
		"that is told this one":   {"x/watchtower --label-enable", revive, watchtower + "enable=true", finding.Bad},
		"of another scope":        {"x/watchtower", revive + "WATCHTOWER_SCOPE=web", "", finding.OK},
		"of its scope":            {"x/watchtower --scope web", revive, watchtower + "scope=web", finding.Bad},
		"that excludes it":        {"x/watchtower --disable-containers a,gitea-runner", revive, "", finding.OK},
		"that only monitors":      {"x/watchtower --monitor-only", revive, "", finding.OK},
		"autoheal":                {"willfarrell/autoheal@sha256:00", "", "autoheal=true", finding.Warn},
		"autoheal of all":         {"willfarrell/autoheal", "AUTOHEAL_CONTAINER_LABEL=all", "", finding.Warn},
		"autoheal of its own":     {"willfarrell/autoheal", "AUTOHEAL_CONTAINER_LABEL=heal", "heal=true", finding.Warn},
		"autoheal of others":      {"willfarrell/autoheal", "", "autoheal=false", finding.OK},
		"what only has the label": {"postgres", revive, "autoheal=true", finding.OK},
	} {
		h := good()
		words := strings.Fields(c.guard)
		guard := Container{Name: "guard", Running: true, Image: words[0], Command: words[1:]}
		guard.Settings = pairs(c.settings)
		h.Guards, h.Containers[0].Marks = []Container{guard}, pairs(c.marks)
		level := finding.OK
		for _, f := range slices.Concat(Audit(h), RestartTriggers(h, h.Containers[0])) {
			if f.Layer == 7 && strings.Contains(f.Evidence, `"guard"`) && f.Fix != "" {
				level = f.Level
			}
		}
		if level != c.want || guard.Guards() != (guard.Image != "postgres") {
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
		h.ComposeFiles = []Script{{"/srv/gitea/compose.yaml", text},
			{"/srv/other.yaml", "services: {runner: {restart: always}}"}}
		found := slices.DeleteFunc(Audit(h), func(f finding.Finding) bool { return f.Layer != 7 })
		if (want != "") != (len(found) == 1) || want != "" && !strings.Contains(found[0].Evidence, "restart: "+want) {
			t.Errorf("%q: %+v, want %q", text, found, want)
		}
	}
}

// An own build is a runner's container by what runs in it.
func TestWhoRunsARunner(t *testing.T) {
	argvs := func(commands ...string) (all [][]string) {
		for _, c := range commands {
			all = append(all, strings.Fields(c))
		}
		return all
	}
	named := func(variables ...string) Container { return Container{Variables: variables} }
	for name, c := range map[string]struct {
		c          Container
		registered bool // a registration is mounted
		processes  [][]string
		runs, may  bool
	}{
		"its daemon":                 {Container{}, false, argvs("tini", "/x/act_runner-0.2 daemon"), true, false},
		"a daemon by another name":   {Container{}, true, argvs("/agent daemon"), true, false},
		"another's daemon":           {Container{}, false, argvs("git daemon"), false, false},
		"what backs it up":           {Container{}, true, argvs("restic"), false, false},
		"a stopped own build":        {Container{}, true, nil, false, true},
		"with a runner's settings":   {named("GITEA_RUNNER_NAME"), true, nil, true, true},
		"without its registration":   {named("GITEA_RUNNER_NAME", "GITEA_INSTANCE_URL"), false, nil, true, false},
		"the server":                 {named("GITEA_RUNNER_REGISTRATION_TOKEN"), false, nil, false, false},
		"whose processes are hidden": {Container{Running: true}, true, nil, false, true},
	} {
		c.c.Registration, c.c.Processes, c.c.Running = c.registered, c.processes, c.c.Running || c.processes != nil
		if c.c.RunsRunner() != c.runs || c.c.MayRunRunner() != c.may {
			t.Errorf("%s: %t, %t", name, c.c.RunsRunner(), c.c.MayRunRunner())
		}
	}
}
