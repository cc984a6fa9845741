// Package runner judges Gitea's act_runner as its host and its workflows show
// it: what its configuration, its units, its containers and the host's schedules
// mean together. config, workflow and shell read what these are made of.
//
// It takes values and returns verdicts; it reads, asks and changes nothing. What
// could not be seen is a value too, and never counts as good. Texts of others
// (labels, commands, names) stay as they are in the fields of a verdict: whoever
// prints them quotes them.
package runner
