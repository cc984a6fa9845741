package workflow

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"hostguard/runner/finding"
)

func acquires(names string) string {
	return "    - {uses: wooo/hostguard@v1.0.0, with: {step: acquire-lock, lock-name: '" + names + "'}}\n"
}

func keeps(names string) string { return strings.Replace(lockNamed, "NAME", "'"+names+"'", 1) }

func releases(names string) string {
	return "    - {if: always(), uses: wooo/hostguard@v1.0.0, with: {step: release-lock, lock-name: '" + names + "'}}\n"
}

// inFiles returns workflows of one job each.
func inFiles(t *testing.T, steps ...string) []Workflow {
	t.Helper()
	var all []Workflow
	for i, s := range steps {
		w := parse(t, deploy(s))
		w.File = string(rune('a'+i)) + ".yaml"
		all = append(all, w)
	}
	return all
}

func TestTwoLocksInBothOrdersAreFound(t *testing.T) {
	const build, deploys = "build", "deploy"
	for name, steps := range map[string][]string{
		"by steps":              {acquires(build) + acquires(deploys), acquires(deploys) + acquires(build)},
		"with post steps":       {keeps(build) + keeps(deploys), keeps(deploys) + keeps(build)},
		"in one job":            {acquires(build) + keeps(deploys) + releases(build) + acquires(build)},
		"against a single step": {keeps("deploy, build"), acquires(deploys) + acquires(build)},
		"by commands": {
			"    - run: hostguard with-lock -lock-name build -- hostguard with-lock -lock-name=deploy -- make\n",
			"    - run: |\n        hostguard acquire-lock -lock-name deploy\n" +
				"        hostguard acquire-lock -lock-name build\n",
		},
		"with the default": {keeps("") + keeps(deploys), keeps(deploys) + lockStep},
	} {
		t.Run(name, func(t *testing.T) {
			found := checkLockOrder(inFiles(t, steps...))
			if len(found) != 1 || found[0].Layer != 3 || found[0].Level != finding.Bad {
				t.Fatalf("%+v", found)
			}
			for _, part := range []string{"deploy", `"a.yaml" job "build" (line `, "each can wait for the other"} {
				if !strings.Contains(found[0].Evidence, part) {
					t.Errorf("%q does not name %q", found[0].Evidence, part)
				}
			}
		})
	}
}

func TestLocksOfOneOrderAreNotReported(t *testing.T) {
	const withBuild = "    - run: hostguard with-lock -lock-name build -- make\n"
	for name, steps := range map[string][]string{
		"the same in all": {acquires("build") + acquires("deploy"), keeps("build") + keeps("deploy")},
		"one step for both": {
			keeps("build, deploy"), keeps("deploy, build"), acquires("build") + acquires("deploy"),
		},
		"one after the other": {
			acquires("build") + releases("build") + acquires("deploy"), keeps("deploy") + keeps("build"),
		},
		"an expression": {
			keeps("${{ inputs.lock }}") + keeps("deploy"), keeps("deploy") + keeps("${{ inputs.lock }}"),
		},
		"a variable of the shell": {
			"    - run: hostguard with-lock -lock-name \"$A\" -- hostguard with-lock -lock-name b -- make\n",
			"    - run: hostguard with-lock -lock-name b -- hostguard with-lock -lock-name \"$A\" -- make\n",
		},
		"a lock that the job has": {
			keeps("deploy") + keeps("build") + acquires("deploy"), keeps("deploy") + keeps("build"),
		},
		"only while a command ran": {withBuild + keeps("deploy"), keeps("deploy") + keeps("build")},
		"the command's own flag": {
			"    - run: hostguard with-lock -- hostguard with-lock -lock-name deploy -- make\n",
			keeps("") + keeps("deploy"),
		},
		"in different stores": {
			keeps("build") + strings.Replace(keeps("deploy"), "lock-name", "lock-backend: file, lock-name", 1),
			keeps("deploy") + keeps("build"),
		},
	} {
		if found := checkLockOrder(inFiles(t, steps...)); len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// A checkout may be anybody's.
func TestALongWorkflowOfLocksIsReadInTime(t *testing.T) {
	var steps strings.Builder
	for i := range 3000 {
		steps.WriteString(keeps("lock-" + strconv.Itoa(i)))
	}
	begin := time.Now()
	found := checkLockOrder(inFiles(t, steps.String()))
	if took := time.Since(begin); len(found) > 0 || took > 2*time.Second {
		t.Errorf("%d findings after %s", len(found), took)
	}
}
