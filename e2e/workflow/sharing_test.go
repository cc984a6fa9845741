package workflow

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

// sharing are the examples whose jobs work at once, as far as their lock lets them.
var sharing = []example{
	{"slots.yaml", "wooo/one", ""},
	{"slots.yaml", "wooo/two", ""},
	{"slots.yaml", "wooo/three", ""},
	{"share.yaml", "wooo/share", ""},
}

// sharingStandIn notes when work begins and when it ends. Work goes on until two of its kind
// have begun, and the third, the one that makes the data anew included, waits for its lock.
const sharingStandIn = `#!/bin/sh
set -eu
work() { echo "$1 $GITHUB_WORKFLOW $GITHUB_JOB" >>"$HOST/work"; }
# two reports whether two of this workflow have begun.
two() { [ "$(grep -c "^begin $GITHUB_WORKFLOW " "$HOST/work")" -ge 2 ]; }
work begin
for _ in $(seq 4800); do # for four minutes, should the test be gone
	if [ -e "$HOST/met" ] && two; then break; fi
	sleep 0.05
done
sleep 0.2
work end
`

func TestExamplesOfSlotsAndSharedLocksOverlapAsFarAsTheyMay(t *testing.T) {
	e := engine.ForTest(t, engine.New)
	host, env := exampleHost(t, sharingStandIn, []string{"DOCKER_HOST=" + e.Host(),
		"HOSTGUARD=" + filepath.Join(exported(t), "dist/hostguard-linux-"+runtime.GOARCH)})
	// The job that has the data alone comes when both tests have begun.
	writeFile(t, filepath.Join(host, "hostguard"), strings.Replace(hostguardStandIn, "echo ", `
for _ in $(seq 4800); do
	if [ "$GITHUB_JOB" != refresh ] || [ "$(grep -c "^begin share " "$HOST/work")" -ge 2 ]; then break; fi
	sleep 0.05
done
echo `, 1), 0o755)
	writeFile(t, filepath.Join(host, "work"), "", 0o644)
	runAtOnce(t, sharing, act.Gitea, host, env, 2) // the third of the slots, and the one of the data
	work := string(readFile(t, filepath.Join(host, "work")))
	shared, slots, most, images := "", 0, 0, 0
	for line := range strings.Lines(work) {
		switch line {
		case "begin slots image\n":
			slots, images = slots+1, images+1
			most = max(most, slots)
		case "end slots image\n":
			slots--
		default:
			shared += line
		}
	}
	const tests, refresh = "begin share test\nbegin share test\nend share test\nend share test\n",
		"begin share refresh\nend share refresh\n"
	if images != 3 || most != 2 || shared != tests+refresh {
		t.Errorf("of %d images %d at once, in\n%s", images, most, work)
	}
	nothingLeft(t, e)
}
