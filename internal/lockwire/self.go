package lockwire

import (
	"cmp"
	"context"
	"os"
	"strings"

	"hostguard/internal/actrunner"
	"hostguard/internal/docker"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// Job returns what the runner writes about this job into its environment.
func Job(getenv func(string) string) lock.Job {
	return lock.Job{
		Server:     getenv("GITHUB_SERVER_URL"),
		Repository: getenv("GITHUB_REPOSITORY"),
		Workflow:   getenv("GITHUB_WORKFLOW"),
		Job:        getenv("GITHUB_JOB"),
		RunID:      getenv("GITHUB_RUN_ID"),
		RunNumber:  getenv("GITHUB_RUN_NUMBER"),
		Attempt:    getenv("GITHUB_RUN_ATTEMPT"),
		Actor:      getenv("GITHUB_ACTOR"),
		Event:      getenv("GITHUB_EVENT_NAME"),
		RunnerName: getenv("RUNNER_NAME"),
		Task:       actrunner.TaskOfToken(getenv("ACTIONS_RUNTIME_TOKEN")),
		RunURL:     runURL(getenv),
	}
}

// self returns a description of this process and its job. Everyone can read it in
// labels.
func self(getenv func(string) string) lock.Claim {
	host := proc.Local()
	c := lock.Claim{
		Nonce:      lock.NewNonce(),
		Place:      host.Place(),
		Process:    host.Process(os.Getpid()),
		JobDir:     JobDir(getenv),
		Workspace:  getenv("GITHUB_WORKSPACE"),
		StaleAfter: lock.DefaultStaleAfter,
		Job:        Job(getenv),
	}
	c.Actions = lock.HasActions(c.JobDir)
	// A runner of many jobs proves nothing without this job's directory, which
	// sudo drops from the environment.
	runner, step, oneJob := host.Runner()
	if oneJob || c.JobDir != "" {
		c.Runner = runner
	}
	c.Step, c.Cgroup = step, host.Cgroup()
	if oneJob && c.JobDir == "" {
		c.Tracking = getenv(lock.TrackingVariable)
	}
	if getenv("GITHUB_ACTIONS") == "" {
		c.Parent = host.Parent()
	}
	return c
}

// OwnContainer returns the container that this process is in, if the engine runs it, and
// when that was started.
func OwnContainer(ctx context.Context, engine *docker.Engine) (id, started string) {
	group, network, root := proc.Local().Container()
	return engine.Own(ctx, docker.Inside{Group: group, Network: network, Root: root})
}

// runURL returns the page of this job's run, or "".
//
// Gitea up to 1.25, and Forgejo, look a page up by the run's number in its
// repository; Gitea from 1.26 on by its ID first, which may be the number of
// another run. What asks for the number there, older ones ignore. A server that
// declares capabilities to its runner is 1.27 or later.
func runURL(getenv func(string) string) string {
	id, number := getenv("GITHUB_RUN_ID"), getenv("GITHUB_RUN_NUMBER")
	page := id
	switch {
	case getenv("FORGEJO_ACTIONS") == "true":
		page = cmp.Or(number, id)
	case getenv("GITEA_ACTIONS") == "true":
		page = cmp.Or(getenv("GITEA_RUN_ID"), id)
		if number != "" && (getenv("GITEA_RUN_ID") == "" || getenv("GITEA_ACTIONS_CAPABILITIES") == "") {
			page = number + "?by_index=1"
		}
	}
	server, repository := strings.TrimRight(getenv("GITHUB_SERVER_URL"), "/"), getenv("GITHUB_REPOSITORY")
	if server == "" || repository == "" || page == "" {
		return ""
	}
	return server + "/" + repository + "/actions/runs/" + page
}

// JobDir returns the private directory of this job, or "".
func JobDir(getenv func(string) string) string { return actrunner.JobDir(getenv("RUNNER_TEMP")) }
