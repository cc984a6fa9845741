package shell

import (
	"slices"
	"testing"
)

func TestACommandIsFoundBehindWhatStartsItAndBeforeItsRedirections(t *testing.T) {
	for script, want := range map[string]struct{ lock, unlock string }{
		"if ! docker network create awoooi-cd-lock >/dev/null 2>&1; then sleep 5; fi": {lock: "awoooi-cd-lock"},
		"docker network create awoooi-cd-lock > /dev/null":                            {lock: "awoooi-cd-lock"},
		"docker network create \"$LOCK\" --label by=ci &>/dev/null":                   {lock: "$LOCK"},
		"docker network create --label held=lock -d bridge app 2>>err":                {},
		"sudo -n docker network rm awoooi-cd-lock 2>&1 | tee log":                     {unlock: "awoooi-cd-lock"},
		"timeout -k 5 30 docker network rm -f awoooi-cd-lock":                         {unlock: "awoooi-cd-lock"},
		"echo >lock docker network rm awoooi-cd-lock":                                 {},
	} {
		var lock, unlock string
		commands, _ := Commands(script)
		for _, c := range commands {
			lock, unlock = lock+c.PlainLock(), unlock+c.PlainUnlock()
		}
		if lock != want.lock || unlock != want.unlock {
			t.Errorf("%q: %q, %q", script, lock, unlock)
		}
	}
	for script, want := range map[string]bool{
		"sudo -E docker build .": true, "sudo -u ci -- docker build .": true,
		"nice -n 10 docker build .": true, "timeout 30m docker build .": true,
		"time -p env -u X A=b docker build . >log 2>&1": true,
		"exec docker builder build .":                   true, "2>&1 docker build .": true,
		"sudo": false, "timeout 30m": false, "sudo -u": false,
		"echo docker build .": false, "timeout 30m echo docker build": false,
	} {
		commands, _ := Commands(script)
		if got := slices.ContainsFunc(commands, Command.Builds); got != want {
			t.Errorf("%q: %t", script, got)
		}
	}
}

func FuzzShellCommands(f *testing.F) {
	f.Add("docker build \\\n . # x\nif ! a; then sudo b=c 'd e' \"f $g\"; fi | xargs -r docker start")
	f.Fuzz(func(t *testing.T, script string) {
		commands, _ := Commands(script)
		for _, c := range commands {
			if len(c.Words) == 0 {
				t.Error("no words")
			}
			_, _, _ = c.Docker(), c.PlainLock(), c.PlainUnlock()
		}
	})
}
