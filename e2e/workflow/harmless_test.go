package workflow

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hostguard/e2e/rig/engine"
)

// touching are the system calls by which one process could do something to
// another.
const touching = "kill,tkill,tgkill,rt_sigqueueinfo,rt_tgsigqueueinfo,pidfd_send_signal," +
	"setpriority,sched_setscheduler,sched_setparam,sched_setattr,sched_setaffinity,ioprio_set," +
	"ptrace,process_vm_writev,process_madvise,prlimit64,migrate_pages,move_pages,setpgid,kcmp"

// Whatever runs on the host, wait-pressure only looks at it: no other process
// gets a signal (0 only asks whether a pid exists), a priority or a tracer.
func TestWaitPressureTouchesNoProcess(t *testing.T) {
	e := engine.ForTest(t, engine.New)
	plantedBuild(t, "planted-harmless")
	for name, args := range map[string][]string{
		"a check":             {"-check"},
		"a wait with a turn":  {"-max-attempts", "3", "-interval", "200ms"},
		"a wait for nothing":  {"-patterns", "planted-none", "-max-attempts", "2", "-interval", "100ms"},
		"a wait with a limit": {"-max-attempts", "2", "-interval", "100ms", "-min-memory", "1000000G"},
	} {
		t.Run(name, func(t *testing.T) {
			trace := filepath.Join(t.TempDir(), "trace")
			cmd := exec.Command("strace", append([]string{"-f", "-qq", "-o", trace, "-e", "trace=execve," + touching,
				binary(t), "wait-pressure"}, args...)...)
			_, out := status(cmd, "DOCKER_HOST="+e.Host(), "HOSTGUARD_PATTERNS=planted-harmless")
			lines := strings.Split(strings.TrimSpace(string(readFile(t, trace))), "\n")
			own, _, found := strings.Cut(lines[0], " ")
			if !found || !strings.Contains(lines[0], "execve(") {
				t.Fatalf("strace traced nothing: %q\n%s", lines, out)
			}
			for _, line := range lines[1:] {
				if why := touches(line, own); why != "" {
					t.Errorf("%s: %s", why, line)
				}
			}
			if name != "a wait for nothing" && !strings.Contains(out, "planted-harmless") {
				t.Errorf("the build was not seen:\n%s", out)
			}
		})
	}
}

var call = regexp.MustCompile(`^[0-9]+ +(?:<\.\.\. )?([a-z0-9_]+)(?:\(| resumed)(.*)`)

// touches tells what a line of strace did to another process than own.
func touches(line, own string) string {
	said := call.FindStringSubmatch(line)
	if said == nil || strings.Contains(line, "resumed>") { // the begin of the call was judged
		return ""
	}
	name, args := said[1], strings.FieldsFunc(said[2], func(c rune) bool { return strings.ContainsRune(",() ", c) })
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch name {
	case "execve":
		return "it runs another program"
	case "kill":
		if arg(1) == "0" || arg(0) == own {
			return ""
		}
	case "tgkill": // Go's runtime preempts its own threads
		if arg(0) == own {
			return ""
		}
	case "prlimit64":
		if arg(0) == "0" || arg(0) == own {
			return ""
		}
	}
	return name + " on another process"
}

func TestWhatTouchesAProcessIsRecognized(t *testing.T) {
	for line, harmless := range map[string]bool{
		`7 kill(8, 0)                        = 0`:                       true,
		`7 kill(8, SIGTERM)                  = 0`:                       false,
		`9 tgkill(7, 8, SIGURG)              = 0`:                       true,
		`9 tgkill(6, 6, SIGURG)              = 0`:                       false,
		`9 prlimit64(0, RLIMIT_NOFILE, NULL, {rlim_cur=1024*1024}) = 0`: true,
		`9 prlimit64(12, RLIMIT_NOFILE, {rlim_cur=1}, NULL) = 0`:        false,
		`9 setpriority(PRIO_PROCESS, 8, 19)  = 0`:                       false,
		`9 ptrace(PTRACE_ATTACH, 8)          = 0`:                       false,
		`9 pidfd_send_signal(3, SIGKILL, NULL, 0) = 0`:                  false,
		`9 execve("/bin/kill", ["kill"], 0x7) = 0`:                      false,
		`9 --- SIGURG {si_signo=SIGURG, si_pid=7} ---`:                  true,
		`9 +++ exited with 0 +++`:                                       true,
		`9 kill(8, SIGTERM <unfinished ...>`:                            false,
	} {
		if got := touches(line, "7") == ""; got != harmless {
			t.Errorf("%s: harmless %v", line, got)
		}
	}
}
