package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// RegistrationVariable is what the runner itself calls it.
const RegistrationVariable = "GITEA_RUNNER_REGISTRATION_TOKEN"

// keptForRoot are the variables that root's run needs as well; secretsForRoot are
// those that nobody else may see.
var (
	keptForRoot    = []string{"DOCKER_HOST", "RESTART_NOW"}
	secretsForRoot = []string{"GITEA_TOKEN", RegistrationVariable}
)

// secretsOnStdin is the variable by which root's run knows that its secrets come by
// stdin, as asRoot hands them over.
const secretsOnStdin = "HOSTGUARD_SECRETS_ON_STDIN"

// AsRoot runs this program again as root, in the place of this process. The
// arguments are all that it gets: root's home and directories are others. Secrets
// go through a pipe: sudo 1.9 writes each variable that it is told to keep, with
// its value, into the system's log.
func (s *Session) AsRoot(command string, args ...string) error {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return fmt.Errorf("run it again as root: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s.Say("as root, by sudo:")
	var secrets strings.Builder
	for _, name := range secretsForRoot {
		if v := s.Getenv(name); v != "" && !strings.ContainsAny(v, "\r\n") {
			fmt.Fprintf(&secrets, "%s=%s\n", name, v)
		}
	}
	environ, keep := s.Environ, []string{}
	for _, name := range keptForRoot {
		if s.Getenv(name) != "" {
			keep = append(keep, name)
		}
	}
	if secrets.Len() > 0 {
		if err := onStdin(secrets.String()); err != nil {
			return fmt.Errorf("hand secrets to root: %w", err)
		}
		environ, keep = append(slices.Clone(environ), secretsOnStdin+"=1"), append(keep, secretsOnStdin)
	}
	argv := []string{"sudo", "-n"}
	if len(keep) > 0 {
		argv = append(argv, "--preserve-env="+strings.Join(keep, ","))
	}
	argv = append(argv, "--", program)
	argv = append(argv, strings.Fields(command)...)
	if err := syscall.Exec(sudo, append(argv, args...), environ); err != nil {
		return fmt.Errorf("run it again as root by %q: %w", sudo, err)
	}
	return nil
}

// onStdin makes a short text what this process and its successor read from stdin.
func onStdin(text string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	_, err = write.WriteString(text)
	return errors.Join(err, write.Close(), unix.Dup3(int(read.Fd()), 0, 0))
}

// withSecrets reads those that asRoot has handed over.
func withSecrets(stdin io.Reader, getenv func(string) string) func(string) string {
	secrets := map[string]string{}
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		if name, value, found := strings.Cut(lines.Text(), "="); found && slices.Contains(secretsForRoot, name) {
			secrets[name] = value
		}
	}
	return func(name string) string {
		if v, given := secrets[name]; given {
			return v
		}
		return getenv(name)
	}
}
