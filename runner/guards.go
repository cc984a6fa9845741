package runner

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"hostguard/runner/finding"
	"hostguard/runner/yamltree"
)

// A guard is a container that starts or restarts others by itself.

// Guards reports whether a container is a guard, and runs.
func (c Container) Guards() bool { return c.Running && c.guards() != "" }

// GuardSettings are the variables that decide which containers a guard starts again.
var GuardSettings = []string{"WATCHTOWER_REVIVE_STOPPED", "WATCHTOWER_LABEL_ENABLE", "WATCHTOWER_SCOPE",
	"WATCHTOWER_DISABLE_CONTAINERS", "WATCHTOWER_MONITOR_ONLY", "AUTOHEAL_CONTAINER_LABEL"}

// guards returns which guard a container is, by its image; "" for any other container.
func (g Container) guards() string {
	image, _, _ := strings.Cut(g.Image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	for _, kind := range []string{"watchtower", "autoheal"} {
		if strings.Contains(name, kind) {
			return kind
		}
	}
	return ""
}

// option returns a setting of a guard, by its variable or by its flag.
func (g Container) option(variable, flag string) string {
	for i, word := range g.Command {
		value, given := strings.CutPrefix(word, flag+"=")
		switch {
		case given:
			return value
		case word == flag && i+1 < len(g.Command) && !strings.HasPrefix(g.Command[i+1], "-"):
			return g.Command[i+1]
		case word == flag:
			return "true"
		}
	}
	return g.Settings[variable]
}

func isTrue(value string) bool {
	return slices.Contains([]string{"1", "t", "true"}, strings.ToLower(value))
}

// revives returns whether a guard may start a container, and how.
func (g Container) revives(c Container) (finding.Level, string) {
	switch g.guards() {
	case "watchtower":
		return g.updates(c)
	case "autoheal":
		label := g.option("AUTOHEAL_CONTAINER_LABEL", "")
		if label == "" {
			label = "autoheal"
		}
		if label == "all" || isTrue(c.Marks[label]) {
			return finding.Warn, "restarts it whenever it is unhealthy, also while it drains"
		}
	}
	return finding.OK, ""
}

const watchtowerLabel = "com.centurylinklabs.watchtower."

// updates does so for watchtower, which with --revive-stopped also starts what is stopped.
func (g Container) updates(c Container) (finding.Level, string) {
	enable, scope := c.Marks[watchtowerLabel+"enable"], g.option("WATCHTOWER_SCOPE", "--scope")
	excluded := strings.FieldsFunc(g.option("WATCHTOWER_DISABLE_CONTAINERS", "--disable-containers"),
		func(r rune) bool { return r == ',' || r == ' ' })
	switch {
	case !isTrue(flagOr(g.option("WATCHTOWER_REVIVE_STOPPED", "--revive-stopped"))),
		isTrue(flagOr(g.option("WATCHTOWER_MONITOR_ONLY", "--monitor-only"))),
		enable != "" && !isTrue(enable), slices.Contains(excluded, c.Name),
		isTrue(flagOr(g.option("WATCHTOWER_LABEL_ENABLE", "--label-enable"))) && !isTrue(enable),
		scope != "" && c.Marks[watchtowerLabel+"scope"] != scope:
		return finding.OK, ""
	}
	return finding.Bad, "starts it when its image is updated, since it revives what is stopped"
}

// flagOr returns true for a flag of yes or no before a name of a container.
func flagOr(value string) string {
	if value == "" || isTrue(value) || slices.Contains([]string{"0", "f", "false"}, strings.ToLower(value)) {
		return value
	}
	return "true"
}

// checkGuards reports the containers, and the compose files, that start a container again.
func checkGuards(h Host, c Container) []finding.Finding {
	var all finding.List
	for _, g := range h.Guards {
		level, how := g.revives(c)
		fix := "give " + fmt.Sprintf("%.100q", c.Name) + " the label " + watchtowerLabel + "enable=false, or set " +
			"WATCHTOWER_REVIVE_STOPPED to false"
		if g.guards() == "autoheal" {
			fix = fmt.Sprintf("stop %.100q while the runner drains, or take %.100q out of what it watches", g.Name,
				c.Name)
		}
		if level != finding.OK {
			all.Add(7, level, fix, "the container %.100q (%.100q) %s", g.Name, g.Image, how)
		}
	}
	for _, f := range h.ComposeFiles {
		if policy := composeRestart([]byte(f.Text), c.ComposeService); policy != "" && c.ComposeService != "" &&
			slices.Contains(c.ComposeFiles, f.Path) && !c.Running {
			all.Warn(7, "set restart: \"no\" and profiles: [retired] there, or remove the service",
				"%.200q has restart: %.20s for the service %.60q: the next docker compose up starts the retired "+
					"runner, and Docker keeps it up", f.Path, policy, c.ComposeService)
		}
	}
	return all
}

// composeRestart returns the policy by which a compose file keeps a service up, "" for none.
func composeRestart(text []byte, service string) string {
	root, err := yamltree.Parse(text)
	if err != nil {
		return ""
	}
	s := yamltree.Value(yamltree.Value(root, "services"), service)
	if len(yamltree.Texts(yamltree.Value(s, "profiles"))) > 0 {
		return "" // it starts only if it is asked for
	}
	policy := yamltree.Text(yamltree.Value(s, "restart"))
	if policy == "" {
		deploy := yamltree.Value(yamltree.Value(s, "deploy"), "restart_policy")
		policy = yamltree.Text(yamltree.Value(deploy, "condition"))
	}
	for _, keeps := range []string{"always", "unless-stopped", "on-failure", "any"} {
		if strings.HasPrefix(policy, keeps) {
			return keeps
		}
	}
	return ""
}
