package systemd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"hostguard/runner/shell"
)

// Control runs systemctl for a manager, as a person would: the words of Command.
// It waits as systemctl does, for a stop as long as the unit may take; when ctx
// ends it stops waiting, and the manager goes on.
func Control(ctx context.Context, scope string, getenv func(string) string, words ...string) error {
	command := Command(scope, words...)
	argv := arguments(scope, words)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	if scope == User {
		cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+runtimeDir(getenv))
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", command, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w: %.300q", command, err, strings.TrimSpace(output.String()))
	}
	return nil
}

// Command returns what Control runs, for a person to paste.
func Command(scope string, words ...string) string {
	argv := arguments(scope, words)
	for i, word := range argv {
		argv[i] = shell.Quote(word)
	}
	return strings.Join(argv, " ")
}

func arguments(scope string, words []string) []string {
	if scope == User {
		return slices.Concat([]string{"systemctl", "--user"}, words)
	}
	return slices.Concat([]string{"systemctl"}, words)
}

// Dir returns the directory of a manager's units that a person writes.
func Dir(scope, home string) string {
	if scope == User {
		return filepath.Join(home, ".config/systemd/user")
	}
	return "/etc/systemd/system"
}
