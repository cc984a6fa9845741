package runner

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Scripts of a host, by their paths.
var hostScripts = map[string]string{
	"/opt/act_runner/start.sh": "#!/bin/bash\n. /etc/profile\n" +
		"/usr/local/bin/act_runner daemon --config /opt/act_runner/config.yaml\n",
	"/etc/act_runner/profile": "export RUNNER_CONFIG=\"/etc/act_runner/c.yaml\"\n",
	"/opt/by-profile.sh": "#!/bin/sh\n[ ! -f /etc/act_runner/profile ] || source /etc/act_runner/profile\n" +
		"exec act_runner -c \"$RUNNER_CONFIG\" daemon 2>&1\n",
	"/srv/r/run.sh": "#!/usr/bin/env bash\nset -e\nBIN=./bin/act_runner-0.2.13-linux-arm64\n" +
		"OPTS='--config config.yaml'\n" +
		"cd \"$(dirname \"$(readlink -f \"$0\")\")\" || exit 1\nwhile :; do $BIN daemon $OPTS; sleep 5; done\n",
	"/usr/local/bin/runner-wrapper": "#!/bin/sh\ncd ~/r && exec nice -n 5 act_runner \"$@\"\n",
	"/srv/outer.sh":                 "#!/bin/sh\ncd /srv\nbash ./inner.sh c.yaml\n",
	"/srv/inner.sh":                 "forgejo-runner one-job -c=$1 --handle x\n",
	"/srv/heal.sh":                  "#!/bin/sh\npgrep -f 'act_runner daemon' || systemctl restart act_runner\n",
	"/srv/loop.sh":                  "#!/bin/sh\n/srv/loop.sh\n",
}

func TestWhatAUnitStarts(t *testing.T) {
	for command, want := range map[string]Launch{
		"/opt/act_runner/act_runner-0.2.11-linux-amd64 daemon --config /opt/act_runner/config.yaml": {
			strings.Fields("/opt/act_runner/act_runner-0.2.11-linux-amd64 daemon --config /opt/act_runner/config.yaml"),
			"/work", true},
		"/opt/act_runner/start.sh": {
			[]string{"/usr/local/bin/act_runner", "daemon", "--config", "/opt/act_runner/config.yaml"}, "/work", true},
		"/opt/by-profile.sh": {[]string{"act_runner", "-c", "/etc/act_runner/c.yaml", "daemon"}, "/work", true},
		"/bin/bash -x /srv/r/run.sh": {
			[]string{"./bin/act_runner-0.2.13-linux-arm64", "daemon", "--config", "config.yaml"}, "/srv/r", true},
		"/usr/bin/env nice -n 10 act_runner daemon": {[]string{"act_runner", "daemon"}, "/work", true},
		"/usr/local/bin/runner-wrapper daemon -cx.yaml": {
			[]string{"act_runner", "daemon", "-cx.yaml"}, "/home/ci/r", true},
		"/srv/outer.sh": {[]string{"forgejo-runner", "one-job", "-c=c.yaml", "--handle", "x"}, "/srv", true},
		"/usr/bin/flock -n /run/x.lock runuser -u ci -- act_runner daemon": {
			[]string{"act_runner", "daemon"}, "/work", true},
		"/usr/bin/tini -s -- gosu ci:ci act_runner daemon": {[]string{"act_runner", "daemon"}, "/work", true},
		"${BIN} daemon $ARGS": {
			[]string{"/opt/bin/act_runner", "daemon", "--config", "/etc/r.yaml"}, "/work", true},
		"/opt/ci/agent daemon --config ${CONFIG}": {
			[]string{"/opt/ci/agent", "daemon", "--config", "/etc/r.yaml"}, "/work", false},
		"/opt/ci/agent daemon --config ${NOWHERE}": {
			[]string{"/opt/ci/agent", "daemon", "--config", "${NOWHERE}"}, "/work", false},
		"/usr/bin/screen -DmS ci /usr/local/bin/act_runner daemon": {
			[]string{"/usr/local/bin/act_runner", "daemon"}, "/work", true},
		"/usr/bin/docker run --rm gitea/act_runner act_runner daemon": {}, "/usr/bin/ssh ci act_runner daemon": {},
		"/srv/heal.sh": {}, "/srv/loop.sh": {}, "/usr/sbin/cron -f": {}, "/usr/bin/act_runner register": {},
		"/usr/bin/git daemonize": {},
	} {
		argv := strings.Fields(command)
		got := FindLaunch(argv, Starting{Dir: "/work", Read: readHostScript, Variables: map[string]string{
			"HOME": "/home/ci", "BIN": "/opt/bin/act_runner", "ARGS": "--config /etc/r.yaml", "CONFIG": "/etc/r.yaml"}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", command, diff)
		}
	}
	shellExec := []string{"/bin/bash", "-c",
		"cd /opt/act_runner; exec /usr/local/bin/act_runner daemon --config config.yaml"}
	got := FindLaunch(shellExec, Starting{Dir: "/", Read: readHostScript})
	if got.Dir != "/opt/act_runner" || got.Config() != "/opt/act_runner/config.yaml" {
		t.Errorf("%+v", got)
	}
}

func readHostScript(path string) string { return hostScripts[path] }
