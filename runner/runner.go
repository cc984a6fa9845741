// Package runner judges Gitea's act_runner by its host and its workflows: by what its
// configuration, its units, its containers and the host's schedules mean together.
// The packages config, workflow and shell parse these.
//
// It takes values and returns verdicts, without any I/O. What could not be seen is a
// value too, and never counts as good. Foreign texts (labels, commands, names) are
// unchanged in the fields of a verdict: the code that prints them must quote them.
package runner
