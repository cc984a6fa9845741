package gitea

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"code.gitea.io/sdk/gitea"

	"hostguard/runner/workflow"
)

const (
	atOnce       = 4       // requests, however many repositories
	pageSize     = 50      // the server's own limit may be lower
	maxPages     = 200     // of a list that never ends
	maxAnswer    = 8 << 20 // bytes
	maxWorkflows = 200     // files of one repository
)

// Inventory reads what one server tells about repositories, their workflows and
// its runners. It asks a few things at a time, follows no redirect, and takes the
// token out of every answer, so that it cannot come back in a message or a name.
type Inventory struct {
	client *gitea.Client
	url    string
}

// NewInventory asks for the server's version, which tells what else can be asked.
func NewInventory(ctx context.Context, url string, token Token) (*Inventory, error) {
	i := &Inventory{url: url}
	use := func(version string) (err error) {
		i.client, err = gitea.NewClient(url, gitea.SetContext(ctx), gitea.SetToken(token.secret),
			gitea.SetHTTPClient(gentleClient(token.secret)), gitea.SetGiteaVersion(version))
		return err
	}
	if err := use(""); err != nil {
		return nil, fmt.Errorf("use %q: %.200q", url, err)
	}
	// Left to itself, the client would ask too, and not tell what came instead.
	version, response, err := i.client.ServerVersion()
	if err == nil {
		err = use(cmp.Or(version, "none"))
	}
	if err != nil {
		return nil, i.explain("read the server's version", response, err)
	}
	return i, nil
}

func gentleClient(secret string) *http.Client {
	return &http.Client{
		Transport:     &gentle{slots: make(chan struct{}, atOnce), secret: secret},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// gentle lets few requests through at once, each for a bounded time and size.
type gentle struct {
	slots  chan struct{}
	secret string
}

func (g *gentle) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case g.slots <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	defer func() { <-g.slots }()
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	response, err := http.DefaultTransport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, err
	}
	if g.secret != "" {
		body = bytes.ReplaceAll(body, []byte(g.secret), []byte("[token]"))
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// explain says what was asked, what came instead and what to do. It is the only
// way an error leaves an Inventory.
func (i *Inventory) explain(what string, response *gitea.Response, err error) error {
	said := fmt.Sprintf("%.200q", err)
	status := 0
	if response != nil && response.Response != nil {
		status = response.StatusCode
	}
	switch {
	case status == http.StatusUnauthorized:
		return fmt.Errorf("%s: %q does not take the token (401: %s); make a new one, with the scope read:repository", what, i.url, said)
	case status == http.StatusForbidden:
		return fmt.Errorf("%s: %q does not let the token do that (403: %s)", what, i.url, said)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %q has none, or shows none without a token that may read it (404): %w", what, i.url, errNone)
	case status/100 == 3:
		return fmt.Errorf("%s: %q sends elsewhere (%d), which is not followed; give the remote the address that the server has now", what, i.url, status)
	case status/100 > 3:
		return fmt.Errorf("%s: %q answers %d: %s", what, i.url, status, said)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %q did not answer in time", what, i.url)
	case strings.Contains(said, "is older than") || strings.Contains(said, "does not satisfy version"):
		return fmt.Errorf("%s: the server is too old to tell: %s", what, said)
	case slices.ContainsFunc(notGitea, func(part string) bool { return strings.Contains(said, part) }):
		return fmt.Errorf("%s: %q answers something that is not Gitea's (%s); is it a proxy's page?", what, i.url, said)
	}
	return fmt.Errorf("%s: %q: %s", what, i.url, said)
}

// notGitea is what the client says of an answer that it cannot read.
var notGitea = []string{"invalid character", "unexpected end of JSON", "cannot unmarshal", "malformed version"}

var errNone = errors.New("none")

// pages collects a list page by page. Gitea's lists of runners and tasks tell
// their total in the body and set no Link header, and the server may give fewer
// than were asked for, so that only the total or an empty page is the end.
func pages[T any](page func(gitea.ListOptions) (items []T, total int64, err error)) ([]T, error) {
	var all []T
	for n := 1; n <= maxPages; n++ {
		items, total, err := page(gitea.ListOptions{Page: n, PageSize: pageSize})
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if len(items) == 0 || total >= 0 && int64(len(all)) >= total {
			return all, nil
		}
	}
	return nil, fmt.Errorf("the list goes on after %d pages", maxPages)
}

// Siblings are the repositories of the same owner, a user or an organization,
// that the token may see. It searches by the owner's id: a list by the owner's
// name takes a token with read:user as well.
func (i *Inventory) Siblings(full string) ([]string, error) {
	owner, name, _ := strings.Cut(full, "/")
	repository, response, err := i.client.GetRepo(owner, name)
	if err != nil {
		return nil, i.explain(fmt.Sprintf("read the repository %q", full), response, err)
	}
	if repository.Owner == nil || repository.Owner.ID <= 0 {
		return nil, fmt.Errorf("read the repository %q: %q does not tell its owner", full, i.url)
	}
	return i.search(fmt.Sprintf("list the repositories of %q", owner), gitea.SearchRepoOptions{OwnerID: repository.Owner.ID})
}

// Repositories are all of the server that the token may see: an administrator's
// sees all that there are.
func (i *Inventory) Repositories() ([]string, error) {
	return i.search("list the repositories of the server", gitea.SearchRepoOptions{})
}

func (i *Inventory) search(what string, options gitea.SearchRepoOptions) ([]string, error) {
	return pages(func(o gitea.ListOptions) ([]string, int64, error) {
		options.ListOptions = o
		list, response, err := i.client.SearchRepos(options)
		if err != nil {
			return nil, 0, i.explain(what, response, err)
		}
		total, err := strconv.ParseInt(response.Header.Get("X-Total-Count"), 10, 64)
		if err != nil {
			total = -1
		}
		names := make([]string, 0, len(list))
		for _, r := range list {
			names = append(names, r.FullName)
		}
		return names, total, nil
	})
}

// Runners are all runners of the server, if the token may read them, else those
// of the repositories and their owners; the error says why not all.
func (i *Inventory) Runners(repositories []string) (workflow.Pool, error) {
	all, err := i.RunnersOf(Scope{})
	if err == nil {
		return workflow.Pool{Runners: all, Whole: true}, nil
	}
	pool, seen := workflow.Pool{}, map[int64]bool{}
	lists, _ := i.lists(scopesOf(repositories)) // the refusal above says it all
	for _, r := range slices.Concat(lists...) {
		if !seen[r.ID] {
			seen[r.ID] = true
			pool.Runners = append(pool.Runners, r)
		}
	}
	return pool, fmt.Errorf("not all runners can be seen (that takes a token with read:admin), only %d: %w", len(pool.Runners), err)
}

// WorkflowFiles are the workflows of a repository's default branch, from the
// first folder that it has and the folders below that, as Gitea itself looks for
// them. A name has the path below that folder.
func (i *Inventory) WorkflowFiles(full string, visit func(name string, data []byte)) error {
	owner, name, _ := strings.Cut(full, "/")
	for _, dir := range workflow.Dirs {
		if err := i.workflowsBelow(owner, name, dir, visit); !errors.Is(err, errNone) {
			return err
		}
	}
	// No such folder, or no such repository.
	if _, response, err := i.client.GetRepo(owner, name); err != nil {
		return i.explain(fmt.Sprintf("read the repository %q", full), response, err)
	}
	return nil
}

// workflowsBelow reads the workflows of one folder, which errNone says is not there,
// and of those below it.
func (i *Inventory) workflowsBelow(owner, name, dir string, visit func(name string, data []byte)) error {
	what := fmt.Sprintf("read the workflows of %q", owner+"/"+name)
	files, folders := 0, []string{""}
	for n := 0; n < len(folders); n++ {
		list, response, err := i.client.ListContents(owner, name, "", path.Join(dir, folders[n]))
		if err != nil {
			if err = i.explain(what, response, err); n > 0 && errors.Is(err, errNone) {
				continue // it was removed meanwhile
			}
			return err
		}
		for _, entry := range list {
			below := path.Join(folders[n], entry.Name)
			switch {
			case entry.Type == "dir":
				folders = append(folders, below)
			case entry.Type == "file" && workflow.IsFile(entry.Name):
				files++
				data, response, err := i.client.GetFile(owner, name, "", path.Join(dir, below))
				if err != nil {
					return i.explain(what, response, err)
				}
				visit(below, data)
			}
			if files > maxWorkflows || len(folders) > maxWorkflows {
				return fmt.Errorf("%s: there are more than %d", what, maxWorkflows)
			}
		}
	}
	return nil
}

// LastRuns are the newest run of each workflow of a repository among its latest
// tasks. A task's id is no run's id: the run's number names it.
func (i *Inventory) LastRuns(full string) (map[string]workflow.Run, error) {
	owner, name, _ := strings.Cut(full, "/")
	answer, response, err := i.client.ListRepoActionTasks(owner, name, gitea.ListOptions{Page: 1, PageSize: pageSize})
	if err != nil {
		return nil, i.explain(fmt.Sprintf("list the tasks of %q", full), response, err)
	}
	last := map[string]workflow.Run{}
	for _, t := range answer.WorkflowRuns {
		if run := last[t.WorkflowID]; t.RunNumber > run.Number {
			last[t.WorkflowID] = workflow.Run{Number: t.RunNumber, Status: t.Status, Started: started(t.RunStartedAt)}
		}
	}
	return last, nil
}

// started is a time that was told: unset ones are 1970-01-01.
func started(t time.Time) time.Time {
	if t.Unix() <= 0 {
		return time.Time{}
	}
	return t.UTC()
}
