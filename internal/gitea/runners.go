package gitea

import (
	"errors"
	"fmt"
	"strings"

	"code.gitea.io/sdk/gitea"
)

// Registered is a runner's registration at its server.
type Registered struct {
	Disabled bool // it gets no jobs

	change func(disabled bool) error
}

// Registered returns the runner with the ID and name of its registration, from those
// of the server, of the repository's owner, of the token's user or of the repository,
// whichever the token may see. Servers before 1.26 cannot disable a runner, and are
// not asked.
func (i *Inventory) Registered(id int64, name, repository string) (Registered, error) {
	what := fmt.Sprintf("look at runner %d", id)
	if err := i.client.CheckServerVersionConstraint(">=1.26.0"); err != nil {
		return Registered{}, i.explain(what, nil, err)
	}
	var refusal error
	for _, e := range i.runnerEndpoints(repository) {
		r, response, err := e.get(id)
		if err != nil {
			if err = i.explain(what, response, err); refusal == nil || errors.Is(refusal, errNone) {
				refusal = err
			}
			continue
		}
		if r.ID != id || r.Name != name {
			return Registered{}, fmt.Errorf("%s: %q knows it as %.100q, not as %.100q", what, i.url, r.Name, name)
		}
		return Registered{Disabled: r.Disabled, change: func(disabled bool) error {
			what := fmt.Sprintf("set disabled=%t of runner %d", disabled, id)
			r, response, err := e.update(id, gitea.EditActionRunnerOption{Disabled: &disabled})
			if err != nil {
				return i.explain(what, response, err)
			}
			if r.Disabled != disabled {
				return fmt.Errorf("%s: %q answers disabled=%t", what, i.url, r.Disabled)
			}
			return nil
		}}, nil
	}
	return Registered{}, refusal
}

// runnerEndpoint is one of the places where the API has runners.
type runnerEndpoint struct {
	get    func(id int64) (*gitea.ActionRunner, *gitea.Response, error)
	update func(id int64, o gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error)
}

func (i *Inventory) runnerEndpoints(repository string) []runnerEndpoint {
	owner, repo, _ := strings.Cut(repository, "/")
	c := i.client
	return []runnerEndpoint{
		{c.GetAdminActionRunner, c.UpdateAdminActionRunner},
		{
			func(id int64) (*gitea.ActionRunner, *gitea.Response, error) { return c.GetOrgActionRunner(owner, id) },
			func(id int64, o gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error) {
				return c.UpdateOrgActionRunner(owner, id, o)
			},
		},
		{c.GetUserActionRunner, c.UpdateUserActionRunner},
		{
			func(id int64) (*gitea.ActionRunner, *gitea.Response, error) {
				return c.GetRepoActionRunner(owner, repo, id)
			},
			func(id int64, o gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error) {
				return c.UpdateRepoActionRunner(owner, repo, id, o)
			},
		},
	}
}

// SetDisabled stops a runner from getting jobs, or lets it get them again.
func (r Registered) SetDisabled(disabled bool) error { return r.change(disabled) }
