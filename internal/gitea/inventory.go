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

// Inventory reads repositories, their workflows and the runners of one server. It
// makes few requests at a time, follows no redirect, and removes the token from every
// answer, so that it cannot come back in a message or a name.
type Inventory struct {
	client  *gitea.Client
	url     string
	asker   asker
	ctx     context.Context // of all requests, as the SDK's client keeps it
	forgejo string          // its version, "" for Gitea
}

// NewInventory asks for the server's version, which decides what else can be asked.
func NewInventory(ctx context.Context, url string, token Token) (*Inventory, error) {
	i := &Inventory{url: url, ctx: ctx, asker: asker{throttledClient(token.secret), url, token.secret}}
	use := func(version string) (err error) {
		i.client, err = gitea.NewClient(url, gitea.SetContext(ctx), gitea.SetToken(token.secret),
			gitea.SetHTTPClient(i.asker.http), gitea.SetGiteaVersion(version))
		return err
	}
	if err := use(""); err != nil {
		return nil, fmt.Errorf("use %q: %.200q", url, err)
	}
	// The client would ask by itself, and not report what came instead.
	version, response, err := i.client.ServerVersion()
	if err == nil {
		i.forgejo, version = forgejoVersion(version)
		err = use(cmp.Or(version, "none"))
	}
	if response != nil && response.Response != nil && response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("read the server's version: %q is neither Gitea nor Forgejo (404); give the remote of "+
			"one", url)
	}
	if err != nil {
		return nil, i.explain("read the server's version", response, err)
	}
	return i, nil
}

// throttledClient returns a client that sends few requests at once, follows no
// redirect and removes the secret from answers.
func throttledClient(secret string) *http.Client {
	return &http.Client{
		Transport:     &throttled{slots: make(chan struct{}, atOnce), secret: secret},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// throttled is a transport that sends few requests at once, each of bounded time and
// size.
type throttled struct {
	slots  chan struct{}
	secret string
}

func (g *throttled) RoundTrip(r *http.Request) (*http.Response, error) {
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

// explain returns an error with the request, the answer and what to do. Every error
// of an Inventory comes from it.
func (i *Inventory) explain(what string, response *gitea.Response, err error) error {
	answer := fmt.Sprintf("%.200q", err)
	status := 0
	if response != nil && response.Response != nil {
		status = response.StatusCode
	}
	switch {
	case status == http.StatusUnauthorized:
		return fmt.Errorf("%s: %q rejects the token (401: %s); make a new one, with the scope read:repository",
			what, i.url, answer)
	case status == http.StatusForbidden:
		return fmt.Errorf("%s: %q does not let the token do that (403: %s)", what, i.url, answer)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %q has none, or shows none without a token that may read it (404): %w", what, i.url,
			errNone)
	case status/100 == 3:
		return fmt.Errorf("%s: %q redirects to another address (%d), which is not followed; "+
			"give the remote the address that the server has now", what, i.url, status)
	case status/100 > 3:
		return fmt.Errorf("%s: %q answers %d: %s", what, i.url, status, answer)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %q did not answer in time", what, i.url)
	case i.forgejo != "" && isTooOld(answer):
		return i.unsupported(what)
	case isTooOld(answer):
		return fmt.Errorf("%s: the server is too old to report it: %s", what, answer)
	case i.forgejo != "" && isNoAnswer(answer):
		return fmt.Errorf("%s: %q is Forgejo %.50q, whose answer is not known (%s)", what, i.url, i.forgejo, answer)
	case isNoAnswer(answer):
		return fmt.Errorf("%s: the answer of %q is not Gitea's (%s); is it a proxy's page?", what, i.url, answer)
	}
	return fmt.Errorf("%s: %q: %s", what, i.url, answer)
}

// isTooOld reports whether the client has refused to ask a server of this version.
func isTooOld(answer string) bool {
	return strings.Contains(answer, "is older than") || strings.Contains(answer, "does not satisfy version")
}

// isNoAnswer reports whether an answer cannot be parsed.
func isNoAnswer(answer string) bool {
	return slices.ContainsFunc(notGitea, func(part string) bool { return strings.Contains(answer, part) })
}

// notGitea are the client's errors for an answer that it cannot parse.
var notGitea = []string{"invalid character", "unexpected end of JSON", "cannot unmarshal", "malformed version"}

var errNone = errors.New("none")

// pages collects a list page by page. Gitea's lists of runners and tasks have their
// total in the body and set no Link header, and the server may return fewer items
// than requested, so that only the total or an empty page is the end.
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

// Siblings returns the repositories of the same owner, a user or an organization,
// that the token may see. It searches by the owner's id: a list by the owner's
// name needs a token with read:user as well.
func (i *Inventory) Siblings(full string) ([]string, error) {
	owner, name, _ := strings.Cut(full, "/")
	repository, response, err := i.client.GetRepo(owner, name)
	if err != nil {
		return nil, i.explain(fmt.Sprintf("read the repository %q", full), response, err)
	}
	if repository.Owner == nil || repository.Owner.ID <= 0 {
		return nil, fmt.Errorf("read the repository %q: %q does not name its owner", full, i.url)
	}
	return i.search(fmt.Sprintf("list the repositories of %q", owner),
		gitea.SearchRepoOptions{OwnerID: repository.Owner.ID})
}

// Repositories returns all repositories of the server that the token may see: the
// token of an administrator sees all.
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

// Runners returns all runners of the server, if the token may read them, else those
// of the repositories and their owners, and an error with why not all.
func (i *Inventory) Runners(repositories []string) (workflow.Pool, error) {
	all, err := i.RunnersOf(Scope{})
	if err == nil {
		return workflow.Pool{Runners: all, Whole: true}, nil
	}
	pool, seen := workflow.Pool{}, map[int64]bool{}
	lists, _ := i.lists(scopesOf(repositories)) // the refusal above is reported
	for _, r := range slices.Concat(lists...) {
		if !seen[r.ID] {
			seen[r.ID] = true
			pool.Runners = append(pool.Runners, r)
		}
	}
	return pool, fmt.Errorf("not all runners can be seen (that needs a token with read:admin), only %d: %w",
		len(pool.Runners), err)
}

// WorkflowFiles calls visit with the workflows of a repository's default branch, from
// the first folder that it has and the folders below that, as the server itself looks for
// them. A name has the path below that folder.
func (i *Inventory) WorkflowFiles(full string, visit func(name string, data []byte)) error {
	owner, name, _ := strings.Cut(full, "/")
	for _, dir := range workflow.Dirs(i.forgejo != "") {
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

// workflowsBelow reads the workflows of one folder and of those below it. errNone
// means that the folder does not exist.
func (i *Inventory) workflowsBelow(owner, name, dir string, visit func(name string, data []byte)) error {
	what := fmt.Sprintf("read the workflows of %q", owner+"/"+name)
	files, folders := 0, []string{""}
	for n := 0; n < len(folders); n++ {
		list, response, err := i.client.ListContents(owner, name, "", path.Join(dir, folders[n]))
		if err != nil {
			if err = i.explain(what, response, err); n > 0 && errors.Is(err, errNone) {
				continue // it has been removed since the list
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

// LastRuns returns the newest run of each workflow of a repository among its latest
// tasks. The id of a task is not that of its run: the run's number identifies it.
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

// started returns a time of the server's, or zero: unset ones are 1970-01-01.
func started(t time.Time) time.Time {
	if t.Unix() <= 0 {
		return time.Time{}
	}
	return t.UTC()
}
