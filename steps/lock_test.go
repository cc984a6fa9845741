package steps

import "testing"

func TestJobDirIsThePrivateDirectoryOfOneJob(t *testing.T) {
	for temp, want := range map[string]string{
		"/p/0123456789abcdef/tmp":  "/p/0123456789abcdef",
		"/p/0123456789abcdef/tmp/": "/p/0123456789abcdef",
		"/p/0123456789abcde/tmp":   "",
		"/p/0123456789ABCDEF/tmp":  "",
		"/p/0123456789abcdef/temp": "",
		"/r/_work/_temp":           "", // GitHub's runner, for all its jobs
		"/tmp":                     "", // a container
		"p/0123456789abcdef/tmp":   "",
		"":                         "",
	} {
		if got := jobDir(func(string) string { return temp }); got != want {
			t.Errorf("RUNNER_TEMP=%q: %q, want %q", temp, got, want)
		}
	}
}
