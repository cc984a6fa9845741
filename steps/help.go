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

const helpVersion = `usage: hostguard version

Prints "hostguard VERSION OS/ARCH GOVERSION".
`
