package gitea

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"code.gitea.io/sdk/gitea"

	"hostguard/runner/workflow"
)

// Scope is whose jobs a runner takes: those of the whole server, which is the zero
// value, of an owner or of one repository.
type Scope struct {
	owner, name string // name: of one repository
	user        bool   // the owner is the token's own user, no organization
}

func (s Scope) String() string {
	switch {
	case s.name != "":
		return fmt.Sprintf("the repository %q", s.owner+"/"+s.name)
	case s.user:
		return "the token's user"
	case s.owner != "":
		return fmt.Sprintf("the organization %q", s.owner)
	}
	return "the server"
}

// Reads and Writes return what a token of the scope needs to list its runners, and
// to add and remove some.
func (s Scope) Reads() string  { return "read:" + s.category() }
func (s Scope) Writes() string { return "write:" + s.category() }

func (s Scope) category() string {
	switch {
	case s.name != "":
		return "repository, of an administrator of the repository"
	case s.user:
		return "user"
	case s.owner != "":
		return "organization, of an owner of the organization"
	}
	return "admin, of an administrator of the server"
}

// Whole reports whether s is the scope of the whole server.
func (s Scope) Whole() bool { return s == Scope{} }

// scopesOf returns the scopes of the repositories and their owners.
func scopesOf(repositories []string) []Scope {
	var scopes []Scope
	for _, full := range repositories {
		owner, name, _ := strings.Cut(full, "/")
		scopes = append(scopes, Scope{owner: owner, name: name})
		if s := (Scope{owner: owner}); !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// calls are those of the SDK about the runners of one scope.
type calls struct {
	list   func(gitea.ListActionRunnersOptions) (*gitea.ActionRunnersResponse, *gitea.Response, error)
	token  func() (*gitea.RegistrationToken, *gitea.Response, error)
	remove func(id int64) (*gitea.Response, error)
}

func (i *Inventory) calls(s Scope) calls {
	c := i.client
	switch {
	case s.name != "":
		return calls{
			func(o gitea.ListActionRunnersOptions) (*gitea.ActionRunnersResponse, *gitea.Response, error) {
				return c.ListRepoActionRunners(s.owner, s.name, o)
			},
			func() (*gitea.RegistrationToken, *gitea.Response, error) {
				return c.CreateRepoActionRunnerRegistrationToken(s.owner, s.name)
			},
			func(id int64) (*gitea.Response, error) { return c.DeleteRepoActionRunner(s.owner, s.name, id) },
		}
	case s.user:
		return calls{c.ListUserActionRunners, c.CreateUserActionRunnerRegistrationToken, c.DeleteUserActionRunner}
	case s.owner != "":
		return calls{
			func(o gitea.ListActionRunnersOptions) (*gitea.ActionRunnersResponse, *gitea.Response, error) {
				return c.ListOrgActionRunners(s.owner, o)
			},
			func() (*gitea.RegistrationToken, *gitea.Response, error) {
				return c.CreateOrgActionRunnerRegistrationToken(s.owner)
			},
			func(id int64) (*gitea.Response, error) { return c.DeleteOrgActionRunner(s.owner, id) },
		}
	}
	return calls{c.ListAdminActionRunners, c.CreateAdminActionRunnerRegistrationToken, c.DeleteAdminActionRunner}
}

// RunnersOf returns the runners that take jobs of that scope alone, and for the
// server those of every scope.
func (i *Inventory) RunnersOf(s Scope) ([]workflow.Runner, error) {
	return pages(func(o gitea.ListOptions) ([]workflow.Runner, int64, error) {
		if i.forgejo != "" {
			return i.forgejoRunners(s, o)
		}
		answer, response, err := i.calls(s).list(gitea.ListActionRunnersOptions{ListOptions: o})
		if err != nil {
			return nil, 0, i.explain(fmt.Sprintf("list the runners of %s", s), response, err)
		}
		var some []workflow.Runner
		for _, r := range answer.Runners {
			l := workflow.Runner{ID: r.ID, Name: r.Name, Labels: []string{}, Online: r.Status == "online", Busy: r.Busy,
				Disabled: r.Disabled}
			for _, label := range r.Labels {
				l.Labels = append(l.Labels, label.Name)
			}
			some = append(some, l)
		}
		return some, answer.TotalCount, nil
	})
}

// lists asks for the runners of several scopes. One that may not be read is
// empty, and has an error.
func (i *Inventory) lists(scopes []Scope) ([][]workflow.Runner, []error) {
	lists, errs := make([][]workflow.Runner, len(scopes)), make([]error, len(scopes))
	var group sync.WaitGroup
	for n, s := range scopes {
		group.Go(func() { lists[n], errs[n] = i.RunnersOf(s) })
	}
	group.Wait()
	return lists, errs
}

// ScopeOf returns the scope in which a runner is registered, among those of the
// repositories, of their owners, of the token's user and of the server.
func (i *Inventory) ScopeOf(id int64, name string, repositories []string) (Scope, error) {
	scopes := append(scopesOf(repositories), Scope{user: true}, Scope{})
	lists, errs := i.lists(scopes)
	for n, list := range lists {
		if slices.ContainsFunc(list, func(r workflow.Runner) bool { return r.ID == id && r.Name == name }) {
			return scopes[n], nil
		}
	}
	err := errs[len(errs)-1] // the server lists those of all others, too
	if err == nil {
		err = errors.New("it has none of this id and name; is it the server that the runner is registered at?")
	}
	return Scope{}, fmt.Errorf("find the runner %q, whose id is %d, at %q: %w", name, id, i.url, err)
}

// RegistrationToken returns a token by which a runner registers itself in the scope.
// Gitea keeps it until it is reset, for any number of runners.
func (i *Inventory) RegistrationToken(s Scope) (Token, error) {
	what := fmt.Sprintf("get a registration token of %s", s)
	if i.forgejo != "" {
		return Token{}, i.unsupported(what)
	}
	token, response, err := i.calls(s).token()
	if err != nil {
		return Token{}, i.explain(what, response, err)
	}
	if token.Token == "" {
		return Token{}, fmt.Errorf("%s: %q gives an empty one", what, i.url)
	}
	return NewToken(token.Token), nil
}

// RemoveRunner removes a runner's registration, if the id is that of a runner of
// this name in the scope.
func (i *Inventory) RemoveRunner(s Scope, id int64, name string) error {
	what := fmt.Sprintf("remove the runner %q, whose id is %d", name, id)
	if i.forgejo != "" {
		return i.unsupported(what)
	}
	list, err := i.RunnersOf(s)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	at := slices.IndexFunc(list, func(r workflow.Runner) bool { return r.ID == id })
	switch {
	case at < 0:
		return fmt.Errorf("%s: %q shows no such runner of %s", what, i.url, s)
	case list[at].Name != name:
		return fmt.Errorf("%s: at %q that id is of %q", what, i.url, list[at].Name)
	}
	response, err := i.calls(s).remove(id)
	if err != nil {
		if err = i.explain(what, response, err); errors.Is(err, errNone) {
			return nil // between the list and now
		}
	}
	return err
}
