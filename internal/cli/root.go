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

// RegistrationVariable holds the registration token, by the runner's own name for it.
const RegistrationVariable = "GITEA_RUNNER_REGISTRATION_TOKEN"

// keptForRoot are the variables that the run as root needs as well; secretsForRoot are
// those that must not appear in any log.
var (
	keptForRoot = []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS",
		"DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "RESTART_NOW", "GITEA_SERVER_URL"}
	secretsForRoot = []string{"GITEA_TOKEN", RegistrationVariable}
)

// secretsOnStdin is the variable by which the run as root knows that AsRoot passes the
// secrets on stdin.
const secretsOnStdin = "HOSTGUARD_SECRETS_ON_STDIN"

// AsRoot replaces this process with a run of this program as root. The run gets
// everything by its arguments, since root has another home and working directory.
// Secrets go through a pipe: sudo 1.9 logs every variable that it preserves, with
// its value, in the system log.
func (s *Session) AsRoot(command string, args ...string) error {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return fmt.Errorf("rerun as root: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s.Print("running as root through sudo:")
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
		if err := replaceStdin(secrets.String()); err != nil {
			return fmt.Errorf("pass secrets to root: %w", err)
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
		return fmt.Errorf("rerun as root through %q: %w", sudo, err)
	}
	return nil
}

// replaceStdin replaces the stdin of this process, and of the program that it executes
// next, with a short text.
func replaceStdin(text string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	_, err = write.WriteString(text)
	return errors.Join(err, write.Close(), unix.Dup3(int(read.Fd()), 0, 0))
}

// withSecrets returns a getenv that also knows the secrets that AsRoot passes on stdin.
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
