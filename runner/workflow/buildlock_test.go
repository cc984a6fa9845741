package workflow

import (
	"strings"
	"testing"
)

func repository(t *testing.T, name, yaml string) Repository {
	t.Helper()
	return Repository{Name: name, Workflows: []Workflow{parse(t, yaml)}}
}

const defaultLock = "awoooi-cd-docker-build-lock"

// on returns a job of one label with these steps.
func on(label, steps string) string { return strings.Replace(deploy(steps), "awoooi-host", label, 1) }

const lockNamed = "    - {uses: wooo/hostguard/lock@v1.0.0, with: {lock-name: NAME}}\n"

func TestBuildsThatTakeTheLockMayRunOnTwoRunners(t *testing.T) {
	for name, yaml := range map[string]string{
		"by the lock":       on("ewoooc-host", lockStep+buildStep),
		"in two steps":      on("ewoooc-host", acquireStep+buildStep+releaseStep),
		"by the command":    on("ewoooc-host", "    - run: hostguard with-lock -- docker build .\n"),
		"by the old script": on("ewoooc-host", "    - run: docker network create "+defaultLock+"\n"+buildStep),
		"by its name":       on("ewoooc-host", strings.Replace(lockNamed, "NAME", defaultLock, 1)+buildStep),
		"among several": on("ewoooc-host",
			strings.Replace(lockNamed, "NAME", "'deploy, "+defaultLock+"'", 1)+buildStep),
		"not at all: no build":     on("ewoooc-host", "    - run: make test\n"),
		"not at all: not Docker":   on("ewoooc-host", "    - run: 'if true; then make .'\n"),
		"not at all: elsewhere":    on("gpu-host", buildStep),
		"in a workflow that calls": "jobs: {a: {uses: ./.gitea/workflows/build.yaml}}",
	} {
		repositories := []Repository{
			repository(t, "wooo/awoooi", deploy(lockStep+buildStep)),
			repository(t, "wooo/ewoooc", yaml),
		}
		if found := CheckBuildLock(repositories, []string{"awoooi-host", "ewoooc-host"}, defaultLock); len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestABuildThatOthersDoNotWaitForKeepsRunnersTogether(t *testing.T) {
	for name, c := range map[string]struct{ yaml, text string }{
		"no lock": {
			on("ewoooc-host", buildStep),
			`"wooo/ewoooc": "ci.yaml" job "build" builds images (line 7) without the host's lock`,
		},
		"by an action": {
			on("ewoooc-host", "    - uses: docker/build-push-action@v6\n"),
			"without the host's lock",
		},
		"before the lock":         {on("ewoooc-host", buildStep+lockStep), "builds images (line 7)"},
		"after it was given back": {on("ewoooc-host", acquireStep+releaseStep+buildStep), "builds images (line 9)"},
		"beside the command": {
			on("ewoooc-host", "    - run: hostguard with-lock -- docker build .\n"+buildStep),
			"builds images (line 8)",
		},
		"several others": {
			on("ewoooc-host", strings.Replace(lockNamed, "NAME", "'deploy, test'", 1)+buildStep),
			`takes the lock "deploy, test", and "wooo/awoooi"`,
		},
		"another lock": {
			on("ewoooc-host", strings.Replace(lockNamed, "NAME", "mine", 1)+buildStep),
			`takes the lock "mine", and "wooo/awoooi": "ci.yaml" job "build" the lock "` + defaultLock + `"`,
		},
		"another lock by the command": {
			on("ewoooc-host", "    - run: hostguard with-lock -lock-name=mine -- docker build .\n"),
			`takes the lock "mine"`,
		},
		"another lock in a shell": {
			on("ewoooc-host", "    - run: |\n        hostguard acquire-lock --lock-name mine\n        docker build .\n"+
				"        hostguard release-lock\n"),
			`takes the lock "mine"`,
		},
		"another plain lock": {
			on("ewoooc-host", "    - run: docker network create my-lock\n"+buildStep),
			`takes the lock "my-lock"`,
		},
		"a lock that is not known": {
			on("ewoooc-host", strings.Replace(lockNamed, "NAME", "'${{ vars.LOCK }}'", 1)+buildStep),
			`takes the lock "${{ vars.LOCK }}"`,
		},
		"a lock in files": {
			on("ewoooc-host", "    - {uses: wooo/hostguard/lock@v1.0.0, with: {lock-backend: file}}\n"+buildStep),
			`takes the lock "` + defaultLock + ` (file)"`,
		},
		"shell that does not parse": {
			on("ewoooc-host", "    - run: 'if true; then docker build .'\n"),
			"may build images without the host's lock: its shell text cannot be read (line 7",
		},
		"labels that are not known": {on("'${{ vars.LABEL }}'", buildStep), "without the host's lock"},
		"a workflow of others": {
			"jobs: {a: {uses: wooo/ci/.gitea/workflows/build.yaml@v1}}",
			`calls the workflow "wooo/ci/.gitea/workflows/build.yaml@v1" of another repository`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			repositories := []Repository{
				repository(t, "wooo/awoooi", deploy(lockStep+buildStep)),
				repository(t, "wooo/ewoooc", c.yaml),
			}
			found := CheckBuildLock(repositories, []string{"awoooi-host", "ewoooc-host"}, defaultLock)
			if len(found) != 1 || found[0].Fix == "" || !strings.Contains(found[0].Evidence, c.text) {
				t.Errorf("%+v, want %q", found, c.text)
			}
		})
	}
}
