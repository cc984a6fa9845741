package schedule

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostguard/internal/safefile"
	"hostguard/runner"
)

func write(t *testing.T, text string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func script(_, path string, most int64) ([]byte, error) { return safefile.Read(path, most) }

func TestCronTablesAndTheScriptsTheyName(t *testing.T) {
	root := t.TempDir()
	heal := write(t, "docker start gitea-runner\n", root, "srv/heal.sh")
	binary := write(t, "\x7fELF...", root, "srv/tool")
	write(t, "SHELL=/bin/sh\n17 * * * * root "+heal+"\n", root, "etc/crontab")
	write(t, "* * * * * root "+binary+"\n", root, "etc/cron.d/tool")
	daily := write(t, "docker system prune -af\n", root, "etc/cron.daily/prune")
	write(t, "@reboot "+heal+" now\n", root, "var/spool/cron/crontabs/ci")
	all, unseen := Tables{Root: root, Script: script}.Cron(t.Context())
	script := []runner.Script{{Path: heal, Text: "docker start gitea-runner\n"}}
	want := []runner.Scheduled{
		{Where: `"/etc/crontab" line 2`, Command: heal, Scripts: script},
		{Where: `"/etc/cron.d/tool" line 1`, Command: binary},
		{Where: "cron.daily", Command: daily, Scripts: []runner.Script{{Path: daily, Text: "docker system prune -af\n"}}},
		{Where: `the crontab of "ci" line 1`, Command: heal + " now", Scripts: script},
	}
	if diff := cmp.Diff(want, all); diff != "" || len(unseen) > 0 {
		t.Error(diff, unseen)
	}
}

// Anybody's line may name what an open would hang on, or what has no end.
func TestWhatIsNoScriptIsNotRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	large := write(t, strings.Repeat("x", 2*maxScript), dir, "large")
	s := Tables{Script: script}.Scheduled("", "x", pipe+" /dev/zero "+dir+" "+large+" "+dir+"/none")
	if len(s.Scripts) != 1 || len(s.Scripts[0].Text) != maxScript {
		t.Errorf("%d scripts", len(s.Scripts))
	}
}

func TestAHostWithoutCron(t *testing.T) {
	if all, unseen := (Tables{Root: t.TempDir()}).Cron(t.Context()); len(all)+len(unseen) > 0 {
		t.Error(all, unseen)
	}
}
