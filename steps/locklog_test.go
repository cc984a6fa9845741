package steps

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

// logOf returns a log of a wait for "deploy", and what it prints.
func logOf(environ map[string]string) (*lockLog, *bytes.Buffer) {
	var out bytes.Buffer
	getenv := func(name string) string { return environ[name] }
	s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: getenv}, nil)
	return newLockLog(s, "deploy", &lockwire.Store{}, 0), &out
}

func TestALogHasTheLongLineAtAChangeAndElseAShortOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := logOf(nil)
		begin := time.Now()
		docs, blog := holderOf("a", "wooo/docs", "63", begin), holderOf("b", "wooo/blog", "97", begin)
		docs.Waiters = 3
		for range 31 { // a look each 2 s
			log.wait(docs)
			time.Sleep(2 * time.Second)
		}
		log.wait(blog)
		var lines []string
		since := regexp.MustCompile(`since [^)]*\)`)
		for line := range strings.Lines(out.String()) {
			lines = append(lines, since.ReplaceAllString(strings.TrimSpace(line), "since T"))
		}
		want := []string{
			`waiting 0s: held by "wooo/docs", job "build", reason "image build", since T; position 2 of 3`,
			`waiting 30s for wooo/docs build #63 (image build), who has held it for 30s; position 2 of 3`,
			`waiting 1m 00s for wooo/docs build #63 (image build), who has held it for 1m 00s; position 2 of 3`,
			`waiting 1m2s: held by "wooo/blog", job "build", reason "image build", since T; position 2 of 2`,
		}
		if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

func TestAJobThatWaitsAMinuteGetsOneNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := logOf(map[string]string{"GITHUB_ACTIONS": "true"})
		unfolded := false
		log.unfold = func() { unfolded = true }
		docs := holderOf("a", "wooo/docs", "63", time.Now().Add(-time.Hour))
		for range 100 {
			log.wait(docs)
			time.Sleep(2 * time.Second)
		}
		const notice = "::notice::hostguard: this job has waited 1m 00s for lock \"deploy\", which wooo/docs build " +
			"#63 (image build) has held for 1h 01m; position 2 of 2\n"
		if got := out.String(); strings.Count(got, "::notice::") != 1 || !strings.Contains(got, notice) || !unfolded {
			t.Errorf("%s\nwant once %s", got, notice)
		}
	})
}

func TestNobodyOutsideAWorkflowGetsANotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := logOf(nil)
		for range 40 {
			log.wait(holderOf("a", "wooo/docs", "63", time.Now()))
			time.Sleep(2 * time.Second)
		}
		if strings.Contains(out.String(), "this job has waited") {
			t.Error(out)
		}
	})
}

func TestAStoreThatDoesNotAnswerIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := logOf(nil)
		log.wait(holderOf("a", "wooo/docs", "63", time.Now()))
		for range 10 {
			log.wait(lock.Wait{Err: lock.ErrRefused})
			time.Sleep(2 * time.Second)
		}
		if n := strings.Count(out.String(), "the store refused; trying again"); n != 1 {
			t.Errorf("%d times:\n%s", n, out)
		}
	})
}
