package runner

import (
	"strings"
	"testing"

	"hostguard/runner/finding"
)

func TestWhatRunsInsideARunnersContainer(t *testing.T) {
	argv := func(words string) []string { return strings.Fields(words) }
	daemon := []Process{
		{10, 1, argv("/sbin/tini -- run.sh")},
		{11, 10, argv("/bin/bash run.sh")},
		{12, 11, argv("/usr/local/bin/act_runner daemon --config /c")},
	}
	for name, c := range map[string]struct {
		processes []Process
		jobs      string
		known     bool
	}{
		"nothing":    {nil, "", false},
		"its daemon": {daemon, "", true},
		"a step": {
			append(daemon[:3:3], Process{13, 12, argv(
				"bash -e step.sh")}, Process{14, 13, argv("make")}), "bash make", true,
		},
		"what a step left":    {append(daemon[:3:3], Process{15, 10, argv("sleep 9")}), "sleep", true},
		"Docker beside it":    {append(daemon[:3:3], Process{16, 10, argv("dockerd")}), "dockerd", true},
		"no daemon":           {[]Process{{10, 1, argv("/entry act_runner daemon")}}, "/entry", false},
		"a circle of parents": {[]Process{{10, 11, argv("act_runner daemon")}, {11, 10, argv("sh")}}, "", true},
	} {
		var jobs []string
		got, known := OwnJobs(c.processes)
		for _, p := range got {
			jobs = append(jobs, p.Argv[0])
		}
		if strings.Join(jobs, " ") != c.jobs || known != c.known {
			t.Errorf("%s: %q, %t", name, jobs, known)
		}
	}
}

func TestWhoIsARunner(t *testing.T) {
	for _, c := range []struct {
		name, image, command string
		want                 bool
	}{
		{WrappedContainer, "own/build", "", true}, {"x", "docker.io/gitea/act_runner:0.2.13", "", true},
		{"x", "gitea/act_runner@sha256:" + strings.Repeat("0", 64), "", true},
		{"x", "vegardit/gitea-act-runner:dind-latest", "", true},
		{"x", "code.forgejo.org/forgejo/runner:6", "", true},
		{"x", "registry:5000/own", "/sbin/tini -- /usr/local/bin/act_runner-0.2.11 daemon", true},
		{"x", "own", "forgejo-runner daemon --config x", true},
		{"gitea-runner-db", "postgres", "postgres", false}, {"gitea", "gitea/gitea", "/usr/bin/gitea web", false},
		{"x", "gitlab/gitlab-runner", "gitlab-runner run", false}, {"x", "own/runner", "", false},
	} {
		if IsRunner(c.name, c.image, strings.Fields(c.command)) != c.want {
			t.Errorf("%+v", c)
		}
	}
}

func TestWhatStartsAContainerAgain(t *testing.T) {
	other := Container{
		Name: "ci-box", ID: strings.Repeat("0123456789ab", 5),
		ComposeDir: "/srv/ci", ComposeService: "runner",
	}
	for command, want := range map[string]finding.Level{
		"docker start ci-box": finding.Bad, "docker start 0123456789ab": finding.Bad,
		"docker start gitea-runner": finding.OK, "docker start 0123": finding.OK,
		"docker compose -f /srv/ci/compose.yaml up -d": finding.Bad,
		"cd /srv/ci && docker compose up -d":           finding.Bad,
		"cd /srv/ci && docker-compose restart runner":  finding.Bad,
		"cd /srv/ci && docker compose up -d gitea":     finding.Warn,
		"cd /srv/db && docker compose up -d":           finding.OK,
		"docker compose -f /srv/ci/compose.yaml ps":    finding.OK,
		"docker system prune -af":                      finding.OK, // of another layer
	} {
		found := RestartTriggers(Host{Schedule: []Scheduled{{Where: "cron", Command: command}}}, other)
		got := finding.OK
		if len(found) > 0 {
			got = found[0].Level
		}
		if got != want || len(found) > 1 {
			t.Errorf("%q: %+v, want %s", command, found, want)
		}
		if want == finding.Bad && !strings.HasSuffix(found[0].Fix, "hostguard runner drain -container ci-box -apply") {
			t.Errorf("%q: fix %s", command, found[0].Fix)
		}
	}
}

func TestTwoOnOneRegistrationAreRivals(t *testing.T) {
	h := good()
	c := h.Containers[0]
	rivals := `process 7 and container "gitea-runner"`
	if found := DuplicateDaemons(h, c); len(found) != 1 || !strings.Contains(found[0].Evidence, rivals) {
		t.Errorf("%+v", found)
	}
	h.Daemons[0].Registration = "" // another user's, and its unit is not seen
	h.Units = nil
	if found := DuplicateDaemons(h, c); len(found) != 1 ||
		!strings.Contains(found[0].Evidence, "process 7, a runner, may use") {
		t.Errorf("%+v", found)
	}
	h.Daemons = nil
	if found := DuplicateDaemons(h, c); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	h = good()
	c.Mounts = []string{"/srv/other"}
	if found := DuplicateDaemons(h, c); len(found) != 0 {
		t.Errorf("a registration of its own: %+v", found)
	}
}
