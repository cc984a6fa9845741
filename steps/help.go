package steps

// Help is written, not generated: what a command does, what it waits for, its
// exit statuses and one real example.

import "slices"

func help(c *console, all []command, args []string) int {
	if len(args) == 0 {
		c.help(helpMain)
		return StatusOK
	}
	i := slices.IndexFunc(all, func(cmd command) bool { return cmd.name == args[0] })
	if i < 0 {
		c.Error("no help for %q; one of %s", args[0], names(all))
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

steps of a workflow (also as "uses: wooo/hostguard@v1" with "step: ..."):
  clean-diag      remove left-over runner diagnostics that make "Set up job" fail
  wait-pressure   wait until no other heavy build runs on this host
  acquire-lock    take the host-wide build lock, waiting its turn
  release-lock    give it back; harmless when there is nothing to give back

on the host:
  with-lock       run a command while holding the lock
  status          who holds what, who waits, what presses
  version, help

"hostguard help COMMAND" tells more. Every input is also read from the
environment: -lock-name from HOSTGUARD_LOCK_NAME, and so on.

exit status: 0 done, 1 refused (not this change's fault), 2 wrong use,
3 hostguard could not do its work, 130 or 143 interrupted.
`

const helpCleanDiag = `usage: hostguard clean-diag [-runner-root DIR] [-min-age AGE] [-paths PATH,...]
                            [-dry-run] [-mode warn-only|hard-fail]

Removes what dead jobs left behind, and waits for nothing:

  - files in _diag/pages and _diag/blocks of GitHub's runner that make "Set up
    job" fail with "already exists": regular files named as the runner names
    them, open in no process, older than the oldest live worker of this runner;
  - the paths inside the workspace (.claude/worktrees), whole, unless a process
    other than hostguard and its ancestors works in them. Git forgets the
    worktrees among them.

  -runner-root  the directory of run.sh and _diag; found from RUNNER_TEMP. A
                host without one has nothing to clean there, and that is said
  -min-age      how old a file in _diag must be as well. Where live workers
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

const helpVersion = `usage: hostguard version

Prints "hostguard VERSION OS/ARCH GOVERSION".
`
