package systemd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Control runs systemctl for a manager, as a person would: what Command says.
// It waits as systemctl does, for a stop as long as the unit may take; when ctx
// ends it stops waiting, and the manager goes on.
func Control(ctx context.Context, scope string, getenv func(string) string, words ...string) error {
	command := Command(scope, words...)
	argv := strings.Split(command, " ")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	if scope == User {
		cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+runtimeDir(getenv))
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", command, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w: %.300q", command, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// Command is what Control runs. Units' names have no spaces.
func Command(scope string, words ...string) string {
	command := "systemctl "
	if scope == User {
		command += "--user "
	}
	return command + strings.Join(words, " ")
}

// Dir is where a manager's own units are kept that a person writes.
func Dir(scope, home string) string {
	if scope == User {
		return filepath.Join(home, ".config/systemd/user")
	}
	return "/etc/systemd/system"
}
