package steps

// Help is written, not generated: what a command does, what it waits for, its
// exit statuses and one real example.

import "slices"

func help(c *console, all []command, args []string) int {
	if len(args) == 0 {
		c.help(helpMain)
		return StatusOK
	}
	name, _ := nameOf(args)
	i := slices.IndexFunc(all, func(cmd command) bool { return cmd.name == name })
	if i < 0 {
		c.Error("no help for %q; one of %s", name, names(like(all, name)))
		return StatusUsage
	}
	c.help(all[i].help)
	return StatusOK
}

// isHelpFlag finds a request for help among a command's own arguments. What
// follows with-lock is for its command.
func isHelpFlag(command string) func(string) bool {
	seenEnd := false
	return func(arg string) bool {
		seenEnd = seenEnd || arg == "--" || command == "with-lock" && arg != "" && arg[0] != '-'
		return !seenEnd && (arg == "-h" || arg == "-help" || arg == "--help")
	}
}

const helpMain = `hostguard keeps a shared CI host usable.

usage: hostguard COMMAND [-input value ...]

steps of a workflow (also as "uses: wooo/hostguard@v1.0.0" with "step: ..."):
  clean-diag      remove left-over runner diagnostics that make "Set up job" fail
  wait-pressure   wait until no other heavy build runs on this host
  acquire-lock    take the host-wide build lock, waiting its turn
  release-lock    give it back; harmless when there is nothing to give back

on the host:
  with-lock       run a command while holding the lock
  status          who holds what, who waits, what presses
  break-lock      take a lock away by force, and record who did it and why
  doctor          what is wrong here and in this checkout, and what mends it
  runner audit    the host's runner: service, labels, containers, tasks
  runner labels   which job of which repository can run on which runner
  runner readiness
                  whether the runner of several owners can be split now
  runner drain    retire the runner in a container when its jobs have ended
  runner resume   start it again
  runner service  make the runner a service that lets its jobs end
  runner split    make one runner for each owner out of one for all
  runner cleanup-timer
                  run clean-diag every 5 minutes
  install         put this program and its hooks in place
  version, help

"hostguard help COMMAND" tells more. Every input is also read from the
environment: -lock-name from HOSTGUARD_LOCK_NAME, and so on. A flag goes before
the workflow's input, and that before the environment.

exit status: 0 done, 1 refused (not this change's fault), 2 wrong use,
3 hostguard could not do its work, 130 or 143 interrupted.
`

const helpCleanDiag = `usage: hostguard clean-diag [-runner-root DIR] [-min-age AGE] [-paths PATH,...]
                            [-jobs] [-dry-run] [-mode warn-only|hard-fail]

Removes what dead jobs left behind, and waits for nothing:

  - files in _diag/pages and _diag/blocks of GitHub's runner that make "Set up
    job" fail with "already exists": regular files named as the runner names
    them, open in no process, older than the oldest live worker of this runner;
  - the paths inside the workspace (.claude/worktrees), whole, unless a process
    other than hostguard and its ancestors works in them. Git forgets the
    worktrees among them;
  - with -jobs, the directories that a killed act_runner left of its jobs, whole.
    Without it they are only printed.

  -runner-root  the directory of run.sh and _diag, or the one in which act_runner
                makes those of its jobs; found from RUNNER_TEMP, and outside a
                job ~/.cache/act. A host without one has nothing to clean there,
                and that is said
  -jobs         also remove <16 hex digits>/{act,hostexecutor,tmp} that are older
                than every living runner of their owner, and that no process
                works in, has open, mounted or in its environment. Processes that
                may not be looked into and are not older keep it: run it as root
  -min-age      how old a file in _diag, or such a directory, must be as well. Where live workers
                cannot be seen (in a container) the default is 10m, else 0
  -paths        directories inside GITHUB_WORKSPACE, separated by commas
  -dry-run      tells the same and removes nothing
  -mode         warn-only, the default, makes a warning of statuses 1 and 3

Never touched: directories in _diag, links, files with a second name, _work,
_temp, and the files of a running job.

exit status: 0 done, 2 wrong use, 3 something could not be cleaned,
130 or 143 interrupted.

example: hostguard clean-diag -runner-root /home/ci/actions-runner -dry-run
`

const helpVersion = `usage: hostguard version [-json]

Prints "hostguard VERSION OS/ARCH GOVERSION".

  -json   one line of JSON: version, commit, go, os, arch, and the modules that
          the program was built from, with their sums

exit status: 0, or 2 for wrong use.

example: hostguard version -json
`

const helpInstall = `usage: hostguard install [-apply] [-uninstall] [-prefix DIR]

Puts this program in place on the host, with the names it answers to as the
runner's hooks, a completion for bash and a man page. Prints the plan, and what
the config.yaml of each runner here has to say for the runner to find it, with the
mounts that jobs in containers need; changes nothing without -apply. A second run
changes nothing.

  -apply       make the changes
  -uninstall   take it all away again; nothing else
  -prefix DIR  default /usr/local for root, else $HOME/.local

What is there and is not hostguard's is never replaced or removed. For root every
directory above must be root's and not writable by others: what a job's user
could change must not run as root. With a file SHA256SUMS beside this program its
sum must match.

exit status: 0 done or planned, 2 wrong use, 3 something is in the way.

example: sudo ./hostguard-linux-amd64 install -apply
`

const helpHooks = `usage: hostguard-job-completed
       hostguard-post-task
       hostguard-health

Names that hostguard answers to, for settings of the runner that are a path
without arguments; "hostguard install" puts them in place:

  runner:
    hooks:
      job_completed: /usr/local/bin/hostguard-job-completed     # from v3.0.0
    post_task_script: /usr/local/bin/hostguard-post-task        # from v2.0.0
  health_check:
    enabled: true
    script: /usr/local/bin/hostguard-health                     # from v2.2.0

A job in a container runs job_completed in that container, and fails if it is not
there: "hostguard install" prints the mounts that belong to it. GitHub's runner
takes hostguard-job-completed.sh as ACTIONS_RUNNER_HOOK_JOB_COMPLETED.

job-completed gives back the locks that the job in whose environment it runs
still holds; post-task those of the task GITEA_TASK_ID of GITEA_REPOSITORY, in the
Docker daemon of the runner that has started it. Both print what they did or where
they looked in vain, and always exit 0. Another job of the same repository or
matrix keeps its locks, and so does a with-lock whose command runs on.

health looks once for heavy builds, as "wait-pressure -check" does, and exits 1
if there are any: the runner then takes no job. Where it cannot look it exits 0.
HOSTGUARD_PATTERNS, HOSTGUARD_EXCLUDE, HOSTGUARD_MIN_MEMORY and the like in its
environment are obeyed.

exit status: 0, and 1 of health.
`

const helpLockInputs = `  -lock-name NAME        default awoooi-cd-docker-build-lock
  -lock-backend docker   or file, for host jobs on a host without Docker
`

const helpAcquireInputs = helpLockInputs + `  -timeout 60m           how long to wait for the lock; 0s tries once
  -stale-after 2h        a lock older than what its holder gave here, with no
                         proof that the holder lives, may be taken over
  -reason TEXT           shown to those who wait
  -priority normal       or high, which goes before normal ones that wait
  -legacy-settle 500ms   on engines below API 1.44, else 0s: how long to look out
                         for a rival that runs plain "docker network create"
`

const helpAcquireLock = `usage: hostguard acquire-lock [-input value ...]

Takes the host-wide lock, waiting its turn, and keeps it until release-lock.
While it waits it tells who holds the lock, since when and from which run.

` + helpAcquireInputs + `  -mode hard-fail        or warn-only: warn and go on without the lock

outputs: lock-id, acquired, waited-seconds, took-over-from

exit status: 0 acquired, 1 not free in time, 2 wrong use, 3 no Docker or no
permission, 130 or 143 interrupted (nothing is left behind).

example: hostguard acquire-lock -timeout 30m -reason "image build"
`

const helpReleaseLock = `usage: hostguard release-lock [-input value ...]

Gives back the lock that this job's acquire-lock took, by its full ID, and never
another's. Nothing to give back is no error.

At the end of a job that did not succeed it first waits up to 15 s for other
processes of that job to end. If one is left the lock stays, with a warning: who
waits takes it over when that process has ended or come to rest.

Outside any job it knows the lock by the process, such as a shell, that called
both. Where that has called another acquire-lock for it since, as a server or make
that does several things at once, it takes the ID that acquire-lock said.

` + helpLockInputs + `  -mode warn-only        or hard-fail: fail the step when Docker is unreachable
  -lock-id ID            of a lock that was taken outside any job

exit status: 0 given back or nothing to give back, 2 wrong use, 3 hostguard could
not do its work (hard-fail), 130 or 143 interrupted.

example: hostguard release-lock -lock-name awoooi-cd-docker-build-lock
`

const helpWithLock = `usage: hostguard with-lock [-input value ...] -- COMMAND [ARGUMENT ...]

Runs COMMAND while holding the lock, in a process group of its own, and gives
the lock back when COMMAND ends. Signals are passed on; one a second later kills. If
hostguard itself is killed, the lock is free as soon as COMMAND is gone. COMMAND
inherits a socket (descriptor 700) and a limit without effect (RLIMIT_RTTIME) that
tell whether it runs.

` + helpAcquireInputs + `
exit status: that of COMMAND (128 + signal if one ended it), 124 the lock was not
free in time, 125 hostguard could not do its work, 126 COMMAND cannot be run, 127
there is no such command, 2 wrong use, 130 or 143 interrupted while waiting.

example: hostguard with-lock -timeout 30m -- docker build -t app .
`

const helpBreakLock = `usage: hostguard break-lock -reason TEXT [-force] [-input value ...]

Takes the lock away from whoever holds it, by its ID, after writing a line about
it into the audit file. A holder that lives is not told: it may go on building,
and its release will say that the lock was lost. Refuses a lock whose holder is
seen to live, unless -force is given.

` + helpLockInputs + `  -reason TEXT           why; the audit file keeps it
  -force                 also from a holder that lives
  -audit-file FILE       default /var/log/hostguard/audit.jsonl for root, else
                         $HOME/.local/state/hostguard/audit.jsonl

Each line of the audit file is JSON: when, who (user, sudo user, SSH client, or
the workflow's run), why, and what was removed with the evidence about its holder.
It proves nothing against those who can write it, and knows nothing of locks that
were removed by "docker network rm".

exit status: 0 broken or nothing to break, 1 its holder lives, 2 wrong use,
3 hostguard could not do its work.

example: hostguard break-lock -reason "runner 110 was reinstalled"
`

const helpStatus = `usage: hostguard status [-json] [-watch] [-input value ...]

Tells who holds which lock, since when and from which run, whether the holder
lives as far as this host shows, who waits, and which heavy builds run. Changes
nothing. A lock is free or

  held         alive: its holder was seen to live; unknown: it may
  orphan       its holder is gone: the next acquire takes it over
  stale        nothing proves that its holder lives, and it is older than its
               stale-after: the next acquire takes it over
  legacy       made by a plain "docker network create"
  unreadable   its labels are broken or of another version: held until stale

` + helpLockInputs + `  -json                  one line of JSON; its "version" changes with its form
  -watch                 look again every 2 seconds, until interrupted

exit status: 0 told, 2 wrong use, 3 no Docker or no permission.

example: ssh HOST hostguard status
`

const helpWaitPressure = `usage: hostguard wait-pressure [-mode warn-only|hard-fail] [-max-attempts 60]
         [-interval 10s] [-patterns LIST] [-exclude LIST] [-min-memory SIZE]
         [-max-memory-stall SHARE] [-max-io-stall SHARE] [-check]

Waits until no heavy build of another job runs here (Next.js, Turborepo, Vite and
SvelteKit, webpack, Rollup, Nuxt, Astro, Angular, Gatsby, Docusaurus, Remix and
Parcel; esbuild and tsc from 20s of CPU time or 1 GiB of memory on), whatever
started it, and until memory and stall are within the limits that are given. It
only looks; it never signals or changes a process. Builds of this job do not
count: what its step started, what is in its container or cgroup, and what works
below its workspace, its git worktrees or its private directory.

  -mode          what to do when something presses after the last attempt:
                 warn-only (default) warns and goes on, hard-fail exits 1.
                 HOST_WEB_BUILD_PRESSURE_WARN_ONLY=0 means hard-fail where no
                 mode is given
  -max-attempts  how often to look, default 60
  -interval      time between two looks, default 10s
  -patterns      more heavy builds, separated by commas or line ends, each a
                 program and words that must stand among its arguments as whole
                 tokens, in that order: "jest, gradle assemble, make all". The
                 program is named as ps shows it, without its directory, or as
                 the script that node runs
  -exclude       working directories that never count, and all below them,
                 separated by commas or line ends; inside containers too, as
                 ps on this host sees them: "/app/apps/web"
  -min-memory    wait while less than this is available, such as 2G. No default
  -max-memory-stall, -max-io-stall
                 wait while programs stand still for memory or for disks more
                 of the time than this, such as 20%. No default: what is not
                 limited is only shown, as are CPU stall and load
  -check         look once and answer by the exit status, 0 or 1, whatever the
                 mode, within 0.3s: for the runner's health_check script. A flag
                 only

Inside a container Docker is asked for the processes of the others; without it
memory and stall decide, by the limits given or else 10% of memory, 20% and 60%.
The log says what could be seen.

Those who wait take turns, by a lock beside the build lock: one goes on at a time,
the next an interval later, and builds of jobs that wait behind do not count.

outputs: pressure (true if something pressed at the end), blockers (JSON: tool,
pid, since, directory, cpu_seconds, memory_bytes, container, repository, workflow,
job, run_id, run_number, task; at most 20), waited-seconds.

exit status: 0 nothing presses, or warned; 1 something pressed at the end;
2 wrong use; 3 the processes could not be read; 130 or 143 interrupted.

  hostguard wait-pressure -mode hard-fail -max-attempts 6 -patterns "gradle assemble"
`

const helpRunnerLabels = `usage: hostguard runner labels [-checkout DIR] [-repos OWNER/NAME,...]
         [-local-repo OWNER/NAME=PATH]... [-json | -markdown]

Tells for each job of each workflow which labels it wants, whose they are, and
which runners have them. Changes nothing.

  -checkout DIR   default the current directory. Its remote "gitea", else
                  "origin", names the server to ask
  -repos LIST     default all repositories of the remote's owner
  -local-repo OWNER/NAME=PATH
                  where the server does not tell a repository's workflows, they
                  are read from PATH; may be given again
  -json           one line of JSON; its "version" changes with its form
  -markdown       a table for a page or a comment

The token is GITEA_TOKEN, else that of the remote's URL. It goes to the remote's
host alone, never after a redirect, and is never printed. The scope
read:repository shows workflows, read:admin all runners of the server.

  ok              a runner that has all labels is online
  offline-only    those that have them are offline or disabled
  unsatisfiable   no runner of the server has them
  unknown         none has them of those that the token may see
  unresolved      the labels are not in the file (an expression, a called workflow)

exit status: 0 told, 2 wrong use, 3 a repository or all could not be read.

example: hostguard runner labels -local-repo wooo/stockplatform-v2=/srv/stockplatform
`

const helpHostInputs = `  -runner-dir DIR  where the host's runner works; default its service's, else
                   ~/act-runner
  -owner WORD      whose host it is, such as awoooi of awoooi-host; default the
                   most common owner of its labels
`

const helpRunnerAudit = `usage: hostguard runner audit [-runner-dir DIR] [-owner WORD] [-json]

Tells what runs jobs on this host: the runner's service and configuration, its
labels and whose they are, a runner in a container, the containers of jobs, and
the tasks of the last 2 hours by repository; then what is wrong with it and what
mends it. Changes nothing and needs no root; what it could not see it says.

` + helpHostInputs + `  -json            one line of JSON; its "version" changes with its form

TASK_LOG_LINES=20 in the environment shows so many lines of the tasks' log.

exit status: 0 told, 2 wrong use.

example: ssh HOST TASK_LOG_LINES=20 hostguard runner audit
`

const helpRunnerReadiness = `usage: hostguard runner readiness [-runner-dir DIR] [-owner WORD]
                                  [-json | -table]

Tells whether a runner whose labels belong to several owners can be split now:
each label's owner class, the directories and services of the split, jobs that
run, what blocks it, and the next step that is safe. Changes nothing. What it
could not see makes it not ready, where there is something to split.

` + helpHostInputs + `  -json, -table    other forms of the same

The runner of an owner lives in act-runner-OWNER beside the primary's directory,
and its service is gitea-act-runner-OWNER.service.

exit status: 0 isolation_ready=true, 1 false, 2 wrong use.

example: hostguard runner readiness -owner awoooi
`

const helpRunnerService = `usage: hostguard runner service [-apply] [-runner-dir DIR] [-labels LABEL,...]
         [-restart-now] [-wait 1h] [-binary FILE] [-checkout DIR]

Makes the host's runner a service that survives a reboot and lets its jobs end
when it is stopped. Prints the plan, and changes nothing without -apply; what
fails is taken back, and a second run changes nothing.

  - config.yaml: capacity 1, shutdown_timeout 1h unless it is longer, and the
    labels that are given; everything else stays, and the previous one is kept
    beside it;
  - the unit that runs this configuration, whatever its name, gets a drop-in
    with KillMode=mixed and a TimeoutStopSec that fits. Where none does, the unit
    gitea-act-runner-host.service is made: the system's for root or with sudo
    that asks for no password (-apply then runs itself by sudo), else the user's;
  - the restart policy of the container gitea-runner is turned off.

It never starts a second daemon on one registration: it refuses where a second
unit, a process outside of units or a container runs it, or where that cannot be
seen.

  -apply           make the changes
  -runner-dir DIR  where the runner works; default its service's, else
                   ~/act-runner
  -labels LIST     all labels that the runner is to have, such as
                   awoooi-host:host. One that goes must have another runner,
                   online and enabled; the server of the checkout's remote is
                   asked, with GITEA_TOKEN
  -checkout DIR    default the current directory
  -restart-now     restart a runner whose configuration is changed, as
                   RESTART_NOW=1 in the environment does; refused while
                   GITEA-ACTIONS-TASK-* containers or host jobs run
  -wait 1h         wait so long for their end instead
  -binary FILE     the runner of a new unit; default act_runner or gitea-runner
                   in its directory, on PATH, in /usr/local/bin or ~/.local/bin

exit status: 0 done, planned or nothing to change; 1 refused, 2 wrong use,
3 something failed and was taken back, 130 or 143 interrupted and taken back.

example: hostguard runner service -labels awoooi-host:host -restart-now -wait 1h
`

const helpRunnerCleanupTimer = `usage: hostguard runner cleanup-timer -runner-root DIR [-runner-root DIR]... [-apply]
       hostguard runner cleanup-timer -status | -run | -remove [-apply]

Makes hostguard-clean-diag.service and .timer, which run clean-diag for roots of
GitHub's runner 5 minutes after the boot and every 5 minutes, and turns the old
runner-diag-cleanup.timer off. Prints the plan, and changes nothing without
-apply; what fails is taken back, and a second run changes nothing.

The units are the system's for root or with sudo that asks for no password
(-apply then runs itself by sudo), and run as the owner of the roots; else they
are the user's. Those of the system may write nothing but _diag of the roots. The
hostguard that runs this is what the timer runs: for the system's it must be where
that owner and root alone can change it, such as below /usr/local.

  -runner-root DIR  the directory of run.sh and _diag; may be given again, or
                    be a list with commas. All must be one user's
  -apply            make the changes
  -status           whether it is active, its last and next run, and the last
                    lines of its journal
  -run              clean now, and tell how that ended
  -remove           take it away again; with -apply

exit status: 0 done, planned or nothing to change; 1 refused, or -status of a
timer that does not run; 2 wrong use, 3 something failed and was taken back, or
the run has failed; 130 or 143 interrupted and taken back.

example: sudo hostguard runner cleanup-timer -runner-root /home/ci/actions-runner -apply
`

const helpContainerInputs = `  -container NAME  default gitea-runner. Another has to be of a runner's image
  -runner-dir DIR  where the host's own runner works; default its service's, else
                   ~/act-runner
  -checkout DIR    whose remote "gitea", else "origin", names the server; default
                   the current directory. The token is GITEA_TOKEN, else that of
                   the remote's URL, and needs write access to the runner
`

const helpRunnerDrain = `usage: hostguard runner drain [-apply] [-container NAME] [-timeout 1h] [-force]
         [-disable=false] [-checkout DIR] [-runner-dir DIR]

Retires the runner in a container: restart policy no; disabled at Gitea, where
server (1.26) and token allow it; and its end. While no task runs it is stopped:
SIGTERM, and SIGKILL after the timeout. Else it gets SIGINT: it takes no more
jobs, and is waited for until its own have ended. Prints the plan; changes
nothing without -apply. A second run changes nothing.

  -apply           make the changes
  -timeout 1h      how long to wait. After SIGINT it drains on, as it does after
                   Ctrl-C: that cannot be taken back
  -force           call it drained although something starts it again
  -disable=false   leave it as it is at Gitea
` + helpContainerInputs + `
Cron tables, timers and units, and the scripts that they name, are read for what
starts it again; with that it is not called drained. The way back is
"hostguard runner resume".

exit status: 0 drained, or planned; 1 not ended in time, started again, or
something starts it again; 2 wrong use; 3 no Docker, no permission, or lost;
130 or 143 interrupted: the last line tells the state.

example: hostguard runner drain -apply -timeout 2h
`

const helpRunnerResume = `usage: hostguard runner resume [-apply] [-container NAME]
         [-restart unless-stopped] [-enable=false] [-checkout DIR]
         [-runner-dir DIR]

Undoes "runner drain": restart policy, enabled at Gitea, started. Refuses while the
host's own runner works by the same registration: two on one cancel each other's
jobs. Prints the plan; changes nothing without -apply, and waits 2 seconds
whether the container runs on.

  -apply           make the changes
  -restart POLICY  unless-stopped, the default, or always, on-failure, no
  -enable=false    leave it as it is at Gitea
` + helpContainerInputs + `
exit status: 0 done or planned, 1 refused, 2 wrong use, 3 hostguard could not do
its work, 130 or 143 interrupted.

example: hostguard runner resume -apply -restart always
`

const helpDoctor = `usage: hostguard doctor [-checkout DIR] [-runner-dir DIR] [-owner WORD] [-json]

Looks at each layer that keeps this host usable, L1 to L12, at the workflows of
a checkout, and at what cron, timers and units run. One line each: ok, warn or
bad, the evidence, and what mends it. Changes nothing and needs no root; what it could not
see it says.

  -checkout DIR    default the current directory
` + helpHostInputs + `  -json            one line of JSON with every finding; its "version" changes
                   with its form

exit status: 0 nothing is bad, 1 something is, 2 wrong use.

example: hostguard doctor -checkout ~/src/awoooi
`

const helpRunnerSplit = `usage: hostguard runner split [-runner-dir DIR] [-owner WORD]
       hostguard runner split -plan FILE [-wait 1h] [-apply] [-checkout DIR]
                 [-local-repo OWNER/NAME=PATH]... [-token-stdin]

Makes of one runner that serves several owners one for each of them. Without
-plan it prints the plan that the labels suggest, as YAML to be saved. With one it
prints what it would do; with -apply, for each runner of the plan, it makes its
directory with a copy of the primary's config.yaml, registers it, installs its
service, and sees at the server that it is online with exactly its labels. Then
the primary loses these labels, or is stopped for good if it has no others, and
each label must be served by one runner alone. It stops at the first failure with
everything as it was, and a second run changes nothing.

  -plan FILE      runners: a list of owner, labels, directory and service; the
                  last two have defaults. One with the primary's directory is the
                  primary, and keeps those labels
  -apply          make the changes
  -wait 1h        how long to wait until no job of the primary runs; by default
                  not at all
  -checkout DIR   default the current directory; its remote names the server
  -local-repo OWNER/NAME=PATH
                  where the server does not tell a repository's workflows, they
                  are read from PATH; may be given again
  -token-stdin    read the registration token from stdin
` + helpHostInputs + `
It refuses unless every job of every repository that wants one of the labels and
builds images takes the same lock: runners that share a Docker daemon run at once.

GITEA_TOKEN, or the token of the remote's URL, needs read:repository and read:admin
(for a runner of an organization, read:organization). The registration token comes
from stdin, from GITEA_RUNNER_REGISTRATION_TOKEN, or from the server, for which the
token needs write:admin. No token is ever printed, or an argument of a program.

exit status: 0 done, planned or nothing to change, 1 refused (what is missing, or
a new runner that does not serve its labels), 2 wrong use, a plan that is none,
3 hostguard could not do its work, 130 or 143 interrupted.

example: hostguard runner split >split.yaml
         hostguard runner split -plan split.yaml -wait 1h -apply
`
