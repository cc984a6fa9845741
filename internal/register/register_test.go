package register

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const canary = "c0ffee-canary"

// What both generations have: they record what they are given, and register.
const fake = `#!/bin/sh
[ "$2" = --help ] && { echo "  --token string"; NEWER; exit 0; }
{ echo "$@"; tr '\0' '\n' </proc/self/environ; tr '\0' '\n' </proc/$PPID/cmdline; } >>recorded
`

// newer is of 2026: it reads the file as it is.
const newer = `while [ $# -gt 0 ]; do
	case $1 in --instance) instance=$2;; --name) name=$2;; --token-file) token=$(cat "$2"; echo .);; esac
	shift
done
token=${token%.}
`

// older asks, and does not look at flags.
const older = `echo "level=info msg=\"Enter the Gitea instance URL (for example, https://gitea.com/):\""
read -r instance
echo "level=info msg=\"Enter the runner token:\""
read -r token
echo "level=info msg=\"Enter the runner name:\""
read -r name
`

const registers = `printf '%s|%s|%s' "$instance" "$token" "$name" >.runner
`

// program is a fake that ends in how.
func program(t *testing.T, generation, how string) Runner {
	t.Helper()
	flag := ":"
	if generation == newer {
		flag = `echo "  --token-file string"`
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "act_runner")
	if err := os.WriteFile(path, []byte(strings.Replace(fake, "NEWER", flag, 1)+generation+how), 0o755); err != nil {
		t.Fatal(err)
	}
	return Runner{
		Program: path, Dir: dir, Config: "config.yaml", Instance: "http://gitea:3000", Name: "host-awoooi",
		UID: os.Geteuid(), GID: os.Getegid(), Home: dir,
	}
}

// env has the tokens that must not be handed on.
func env(name string) string {
	switch name {
	case "PATH":
		return os.Getenv("PATH")
	case "GITEA_TOKEN", "GITEA_RUNNER_REGISTRATION_TOKEN", "HOSTGUARD_X":
		return canary
	case "HTTPS_PROXY":
		return "http://proxy:3128"
	}
	return ""
}

func TestBothGenerationsGetTheTokenOnStdinAlone(t *testing.T) {
	for name, generation := range map[string]string{"newer": newer, "older": older} {
		t.Run(name, func(t *testing.T) {
			r := program(t, generation, registers)
			if err := r.Do(t.Context(), env, canary); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(r.Dir, ".runner"))
			if want := "http://gitea:3000|" + canary + "|host-awoooi"; err != nil || string(got) != want {
				t.Errorf("registered %q, %v, want %q", got, err, want)
			}
			recorded, err := os.ReadFile(filepath.Join(r.Dir, "recorded"))
			if err != nil || strings.Contains(string(recorded), canary) {
				t.Errorf("the token is in an argument or the environment: %s, %v", recorded, err)
			}
			for _, want := range []string{"register ", "HOME=" + r.Home, "HTTPS_PROXY="} {
				if !strings.Contains(string(recorded), want) {
					t.Errorf("no %q in %s", want, recorded)
				}
			}
		})
	}
}

func TestARegistrationThatFailsReportsWhyAndNotTheToken(t *testing.T) {
	for name, c := range map[string]struct{ how, wantErr string }{
		"refused": {"echo \"level=error msg=\\\"token $token is not valid\\\"\" >&2; exit 1\n",
			"token [token] is not valid"},
		"prints commands": {"printf 'a\\n::set-env name=x::y\\n'; exit 1\n", `"::set-env name=x::y"`},
		"prints too much": {"head -c 200000 /dev/zero | tr '\\0' x; exit 1\n", `"xxxx`},
		"prints nothing":  {"exit 3\n", "exit status 3"},
	} {
		for generation, text := range map[string]string{"newer": newer, "older": older} {
			err := program(t, text, c.how).Do(t.Context(), env, canary)
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%s, %s: %v, want %q", name, generation, err, c.wantErr)
				continue
			}
			if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
				t.Errorf("%s, %s: it prints too much: %s", name, generation, err)
			}
		}
	}
}

func TestATokenOfSeveralLinesAnswersNoOtherQuestion(t *testing.T) {
	for _, token := range []string{"", " ", "a\nb", "a\r"} {
		r := program(t, older, registers)
		if err := r.Do(t.Context(), env, token); err == nil {
			t.Errorf("%q was taken", token)
		}
		if _, err := os.Stat(filepath.Join(r.Dir, "recorded")); err == nil {
			t.Errorf("it was run with %q", token)
		}
	}
}

// An older runner asks for a server that does not answer for ever.
func TestARunnerThatDoesNotEndIsEnded(t *testing.T) {
	r := program(t, older, "echo $$ >pid; sleep 60 & wait\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(r.Dir, "pid")); err == nil || ctx.Err() != nil {
				cancel(stop)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	begin := time.Now()
	if err := r.Do(ctx, env, canary); !errors.Is(err, stop) {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAnotherUsersRunnerReadsTheTokenToo(t *testing.T) {
	if os.Geteuid() != 0 {
		return // there is no other user that this one could become
	}
	r := program(t, newer, registers)
	r.UID, r.GID = 65534, 65534
	for dir := r.Dir; dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(dir) == os.TempDir() {
			break
		}
	}
	if err := os.Chown(r.Dir, r.UID, r.GID); err != nil {
		t.Fatal(err)
	}
	if err := r.Do(t.Context(), env, canary); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(r.Dir, ".runner"))
	if err != nil || fmt.Sprint(info.Sys()) == "" {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(r.Dir, ".runner")); !strings.Contains(string(data), canary) {
		t.Errorf("it registered by %q", data)
	}
}
