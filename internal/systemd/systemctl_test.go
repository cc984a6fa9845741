package systemd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The stand-in for systemctl prints its arguments and its user's directory.
func TestSystemctlIsRunAsAPersonWould(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	script := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	getenv := func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": "/run/user/7"}[name] }
	script(`echo "$XDG_RUNTIME_DIR $*" >&2; exit 5`)
	for scope, want := range map[string]string{
		User:   "systemctl --user stop a.service: exit status 5: \"/run/user/7 --user stop a.service\"",
		System: "systemctl stop a.service: exit status 5: ",
	} {
		err := Control(t.Context(), scope, getenv, "stop", "a.service")
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	script("exit 0")
	if err := Control(t.Context(), System, getenv, "daemon-reload"); err != nil {
		t.Error(err)
	}
	// An interruption is the cause, not that systemctl was killed by it.
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	cancel(cause)
	if err := Control(ctx, System, getenv, "start", "a.service"); !errors.Is(err, cause) {
		t.Error(err)
	}
}
