package cli

import (
	"slices"
)

func help(c *Console, all []Command, args []string) int {
	if len(args) == 0 {
		c.help(helpMain)
		return StatusOK
	}
	name, _ := nameOf(args)
	i := slices.IndexFunc(all, func(cmd Command) bool { return cmd.Name == name })
	if i < 0 {
		c.Error("no help for %q; one of %s", name, names(like(all, name)))
		return StatusUsage
	}
	c.help(all[i].Help)
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
