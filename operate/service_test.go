package operate

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"hostguard/internal/cli"
	"hostguard/runner/config"
)

func TestALabelIsTakenAwayOnlyIfTheServerShowsAnotherRunner(t *testing.T) {
	whole, _ := labelsServer(t, nil)
	partly, _ := labelsServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/admin/") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	for name, c := range map[string]struct {
		server, own string
		keeps       string
		want        string // the refusal
	}{
		"another has it": {whole, "host110", "ewoooc-host:host", ""},
		"it is the only one": {whole, "host-110", "ewoooc-host:host",
			`no other runner that is online and enabled has the label "awoooi-host"`},
		"none has it": {whole, "host110", "awoooi-host:host",
			`no other runner that is online and enabled has the label "ewoooc-host"`},
		"nothing goes":             {whole, "host110", "awoooi-host:host,ewoooc-host:host", ""},
		"not all runners are seen": {partly, "host110", "ewoooc-host:host", "a GITEA_TOKEN that has read:admin"},
		"no server": {"", "host110", "ewoooc-host:host",
			`labels would be removed ("awoooi-host"), and whether another runner has them is not known`},
	} {
		t.Run(name, func(t *testing.T) {
			remotes := map[string]string{}
			if c.server != "" {
				remotes["gitea"] = c.server + "/wooo/awoooi.git"
			}
			var out bytes.Buffer
			w := cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
			v := servicing{Session: cli.NewSession(w, nil), checkout: checkoutOf(t, remotes),
				labels: strings.Split(c.keeps, ",")}
			v.h.Config.Name = c.own
			v.h.Config.Labels = []config.Label{config.ParseLabel("awoooi-host:host"),
				config.ParseLabel("ewoooc-host:host")}
			err := v.checkReplaced(t.Context())
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || cli.StatusOf(err) != cli.StatusRefused {
				t.Errorf("%v (status %d), want %q", err, cli.StatusOf(err), c.want)
			}
		})
	}
}

func TestTheArgumentsOfTheRunAsRoot(t *testing.T) {
	v := servicing{checkout: "/src", labels: []string{"a:host", "b:host"}, wait: 90e9, restart: true}
	v.h.Dir = "/home/ci/act-runner"
	if got := strings.Join(v.arguments(), " "); got != "-apply -runner-dir /home/ci/act-runner -checkout /src "+
		"-labels a:host,b:host -wait 1m30s -restart-now" {
		t.Error(got)
	}
}
