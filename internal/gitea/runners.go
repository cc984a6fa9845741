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
	type (
		get    = func() (*gitea.ActionRunner, *gitea.Response, error)
		update = func(gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error)
	)
	owner, repo, _ := strings.Cut(repository, "/")
	var refusal error
	for _, of := range []struct {
		get
		update
	}{
		{
			func() (*gitea.ActionRunner, *gitea.Response, error) { return i.client.GetAdminActionRunner(id) },
			func(o gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error) {
				return i.client.UpdateAdminActionRunner(id, o)
			},
		},
		{
			func() (*gitea.ActionRunner, *gitea.Response, error) { return i.client.GetOrgActionRunner(owner, id) },
			func(o gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error) {
				return i.client.UpdateOrgActionRunner(owner, id, o)
			},
		},
		{
			func() (*gitea.ActionRunner, *gitea.Response, error) { return i.client.GetUserActionRunner(id) },
			func(o gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error) {
				return i.client.UpdateUserActionRunner(id, o)
			},
		},
		{
			func() (*gitea.ActionRunner, *gitea.Response, error) {
				return i.client.GetRepoActionRunner(owner, repo, id)
			},
			func(o gitea.EditActionRunnerOption) (*gitea.ActionRunner, *gitea.Response, error) {
				return i.client.UpdateRepoActionRunner(owner, repo, id, o)
			},
		},
	} {
		r, response, err := of.get()
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
			r, response, err := of.update(gitea.EditActionRunnerOption{Disabled: &disabled})
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

// SetDisabled stops a runner from getting jobs, or lets it get them again.
func (r Registered) SetDisabled(disabled bool) error { return r.change(disabled) }
