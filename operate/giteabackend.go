package operate

import (
	"context"
	"fmt"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/lockwire"
)

const helpBackendGitea = `usage: hostguard backend gitea [-init [-apply]] [-json]

Checks whether jobs of this host can keep their locks in a Gitea (-lock-backend
gitea): the token's user and scopes, the private repository and the issue whose
comments the locks are. With -init it prints which of these it would make, and makes
them with -apply; what is there already stays as it is.

environment: HOSTGUARD_GITEA_URL and HOSTGUARD_GITEA_TOKEN, and HOSTGUARD_GITEA_ISSUE
(OWNER/NAME#NUMBER) if it is not to be issue 1 of hostguard-locks of the token's user.
The token needs write:issue, read:user and, to see whether the job of a holder still
runs, read:repository; to make the repository also write:repository and write:user.

{inputs}

exit status: 0 locks can be kept there, or planned; 1 something is missing; 2 wrong
use; 3 no answer, or the token may not do that.

example: hostguard backend gitea -init -apply
`

// backendGitea is one run of backend gitea.
type backendGitea struct {
	planOptions
	init bool
}

func (b *backendGitea) Inputs() []cli.Input {
	return append(b.planOptions.Inputs(), cli.Input{
		Name: "init", Kind: cli.Bool(&b.init), FlagOnly: true, Text: "make what is missing",
	})
}

func (b *backendGitea) Run(ctx context.Context, s *cli.Session) error {
	at, err := lockwire.ReadGiteaServer(s.Getenv)
	if err != nil {
		return err
	}
	if b.apply && !b.init {
		return cli.Usagef("-apply needs -init: without it there is nothing to change")
	}
	if s.Getenv(lockwire.GiteaIssue) != "" {
		if at, err = lockwire.ReadGiteaSettings(s.Getenv); err != nil {
			return err
		}
	}
	found, err := gitea.FindLockIssue(ctx, at.URL, at.Token, at.Issue)
	if err != nil {
		return err
	}
	if b.init && at.Issue.Number > 1 && !found.Issued { // else each run would make one of another number
		return cli.Refusedf("%s=%s: there is no such issue, and a new one gets the next number, not this: give it an "+
			"issue that is there, or unset it for one in a repository of its own", lockwire.GiteaIssue, at.Issue)
	}
	changes := b.plan(found)
	if b.init || b.json {
		undo := "deleting the repository " + found.Issue.Repository
		if err := runPlan(ctx, s, changes, b.planOptions, undo); err != nil {
			return err
		}
	}
	switch {
	case len(changes) > 0 && !b.init:
		return cli.Refusedf("%s is not there, or the token's user %q may not see it: hostguard backend gitea -init "+
			"makes it", found.Issue, found.User)
	case len(changes) > 0 && !b.apply:
		return nil
	case found.Closed:
		return cli.Refusedf("the repository of %s is archived: nobody can take a lock there", found.Issue)
	}
	if err := found.Try(ctx); err != nil {
		return err
	}
	if found.Exists && !found.Private {
		s.Warning("the repository of %s is not private: everybody can read who holds which lock, and why", found.Issue)
	}
	if !b.json {
		s.Print("locks can be kept in %s at %q, by the user %q; set for all jobs of each host, such as in the "+
			"runner's envs: HOSTGUARD_LOCK_BACKEND=gitea HOSTGUARD_GITEA_URL=%s %s=%s and HOSTGUARD_GITEA_TOKEN",
			found.Issue, at.URL, found.User, at.URL, lockwire.GiteaIssue, found.Issue)
	}
	return nil
}

// plan returns what is missing.
func (b *backendGitea) plan(found *gitea.LockIssue) (changes []change) {
	if !found.Exists {
		changes = append(changes, change{
			text: fmt.Sprintf("make the private repository %q", found.Issue.Repository),
			do:   found.MakeRepository, undo: found.RemoveRepository,
		})
	}
	if !found.Issued {
		changes = append(changes, change{
			text: fmt.Sprintf("make an issue in %q, whose comments will be the locks", found.Issue.Repository),
			do:   found.MakeIssue,
		})
	}
	return changes
}
