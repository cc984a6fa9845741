package gitea

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/lock"
)

// Comments keeps entries as the comments of one issue, for all machines that reach the
// server. Only those of the token's own user count. Several may have one name.
//
// No request is ever repeated here: a create whose answer was lost may have been done.
// An ID comes from the server's database and never returns; it is the entry's Fence.
type Comments struct {
	asker asker
	issue Issue
	user  int64
}

var (
	_ lock.Engine   = (*Comments)(nil)
	_ lock.Presence = (*Comments)(nil)
)

// Issue is an issue of a repository.
type Issue struct {
	Repository string // OWNER/NAME
	Number     int64
}

func (i Issue) String() string { return fmt.Sprintf("%s#%d", i.Repository, i.Number) }

func (i Issue) path() string { return fmt.Sprintf("/repos/%s/issues/%d", i.Repository, i.Number) }

// ParseIssue parses OWNER/NAME#NUMBER.
func ParseIssue(s string) (Issue, error) {
	repository, number, _ := strings.Cut(s, "#")
	owner, name, _ := strings.Cut(repository, "/")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || !isName(owner) || !isName(name) {
		return Issue{}, errors.New("must be OWNER/NAME#NUMBER, such as ci/locks#1")
	}
	return Issue{repository, n}, nil
}

// isName reports whether s can be the name of an owner or a repository, which becomes
// part of a path.
func isName(s string) bool {
	return s != "" && strings.Trim(s, ".") != "" &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// OpenComments asks the server for the token's user, and fails where it may not write
// comments to the issue.
func OpenComments(ctx context.Context, url string, token Token, issue Issue) (*Comments, error) {
	c := &Comments{asker: asker{throttledClient(token.secret), url, token.secret}, issue: issue}
	var user struct{ ID int64 }
	if _, err := c.call(ctx, http.MethodGet, "/user", nil, &user); err != nil {
		return nil, c.explain("read the token's user, for", err)
	}
	if user.ID <= 0 {
		return nil, fmt.Errorf("%w: read the token's user: the answer of %q is not Gitea's", lock.ErrRefused, url)
	}
	c.user = user.ID
	return c, nil
}

// comment is what matters of a comment.
type comment struct {
	ID      int64     `json:"id"`
	Body    string    `json:"body"`
	Created time.Time `json:"created_at"`
	User    struct {
		ID int64 `json:"id"`
	} `json:"user"`
}

// content is the body of a comment.
type content struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

// encode returns the body of a comment. Gitea reads names of users, issues and commits out
// of a comment, and would notify the ones and write into the others: nothing of that kind
// is left in the text, which is the same JSON.
func (c content) encode() (string, error) {
	text, err := json.Marshal(c)
	return unmentioned.Replace(string(text)), err
}

var unmentioned = strings.NewReplacer("@", `\u0040`, "#", `\u0023`, "!", `\u0021`, "/", `\u002f`, "`", `\u0060`)

// Create adds a comment.
func (c *Comments) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	body, err := content{name, labels}.encode()
	if err != nil {
		return "", fmt.Errorf("%w: %w", lock.ErrRefused, err)
	}
	var created comment
	_, err = c.call(ctx, http.MethodPost, c.issue.path()+"/comments", map[string]string{"body": body}, &created)
	if err != nil {
		return "", c.explain("add a comment to", err)
	}
	if created.ID <= 0 || created.User.ID != c.user { // it would never be listed
		return "", fmt.Errorf("add a comment to %s at %q: the answer has no comment of this user", c.issue, c.asker.url)
	}
	return entryID(created.ID), nil
}

// List returns the entries whose names begin with one of the prefixes. The server reads
// all comments in one look at its database, so the list is what was there at one moment.
func (c *Comments) List(ctx context.Context, prefixes ...string) ([]lock.Entry, error) {
	var comments []comment
	response, err := c.call(ctx, http.MethodGet, c.issue.path()+"/comments", nil, &comments)
	if err != nil {
		return nil, c.explain("list the comments of", err)
	}
	if response.Header.Get("Link") != "" { // one could go from the next page to this while it is read
		return nil, fmt.Errorf("%w: list the comments of %s at %q: the server gives them in pages, which is not "+
			"supported", lock.ErrRefused, c.issue, c.asker.url)
	}
	now, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	var entries []lock.Entry
	for _, comment := range comments {
		var content content
		if comment.User.ID != c.user || comment.ID <= 0 || json.Unmarshal([]byte(comment.Body), &content) != nil ||
			!slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(content.Name, p) }) {
			continue
		}
		entries = append(entries, lock.Entry{
			ID: entryID(comment.ID), Name: content.Name, Labels: content.Labels, Fence: uint64(comment.ID),
			// By this machine's clock, which may differ from the server's.
			Created: time.Now().Add(-max(now.Sub(comment.Created), 0)),
		})
	}
	return entries, nil
}

// Remove takes away the comment with this ID.
func (c *Comments) Remove(ctx context.Context, id string) error {
	path, _, err := c.commentPath(id)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodDelete, path, nil, nil)
	if status(err) != http.StatusNotFound {
		return c.explain("remove a comment of", err)
	}
	// Who may not see the repository any more gets the same answer.
	if _, err = c.call(ctx, http.MethodGet, c.issue.path(), nil, nil); err != nil {
		return c.explain("remove a comment of", err)
	}
	return lock.ErrNotFound
}

// Present asks for the one comment: a tenth of a list of 1,000. "There is none" may also be the
// answer to one who may not see the repository, or that of a proxy.
func (c *Comments) Present(ctx context.Context, id string) (bool, error) {
	path, n, err := c.commentPath(id)
	if err != nil {
		return false, err
	}
	var found comment
	switch _, err := c.call(ctx, http.MethodGet, path, nil, &found); {
	case status(err) == http.StatusNotFound:
		return false, nil
	case err != nil:
		return false, c.explain("look for a comment of", err)
	}
	return found.ID == n && found.User.ID == c.user, nil
}

// commentPath returns the path of the comment with that ID, and its number.
func (c *Comments) commentPath(id string) (path string, n int64, err error) {
	n, err = strconv.ParseInt(id, 16, 64)
	if err != nil || n <= 0 {
		return "", 0, fmt.Errorf("%w: %.64q is not the ID of a comment", lock.ErrNotFound, id)
	}
	return fmt.Sprintf("/repos/%s/issues/comments/%d", c.issue.Repository, n), n, nil
}

// Watch refuses: Gitea wakes nobody.
func (c *Comments) Watch(context.Context, string) (<-chan struct{}, error) {
	return nil, fmt.Errorf("%w: Gitea reports no events", lock.ErrRefused)
}

func entryID(comment int64) string { return fmt.Sprintf("%064x", comment) }

// answered is an answer of the server that is no success.
type answered struct {
	status int
	text   string
}

func (a *answered) Error() string { return fmt.Sprintf("%d: %.200q", a.status, a.text) }

// isGiteas reports whether an answer has the form of Gitea's own errors. A proxy's "not found" while
// Gitea restarts has not.
func isGiteas(err error) bool {
	a, ok := errors.AsType[*answered](err)
	return ok && json.Unmarshal([]byte(a.text), new(struct{})) == nil
}

// status returns the status of an answer that was no success, or 0.
func status(err error) int {
	if a, ok := errors.AsType[*answered](err); ok {
		return a.status
	}
	return 0
}

// call makes one request and decodes its answer. An error that is not answered leaves
// open whether the request was done.
func (c *Comments) call(ctx context.Context, method, path string, body, answer any) (*http.Response, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.asker.url, "/")+"/api/v1"+path,
		bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "token "+c.asker.secret)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.asker.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode/100 != 2:
		return response, &answered{response.StatusCode, string(data)}
	case answer != nil:
		return response, json.Unmarshal(data, answer)
	}
	return response, nil
}

// explain translates an error into one of lock's, and adds what to do.
func (c *Comments) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	what = fmt.Sprintf("%s %s at %q", what, c.issue, c.asker.url)
	fix := ""
	switch code := status(err); {
	case code == http.StatusUnauthorized:
		fix = "it rejects the token; give HOSTGUARD_GITEA_TOKEN one that is valid"
	case code == http.StatusForbidden:
		fix = "the token needs the scopes write:issue and read:user, and its user may have to be a collaborator"
	case code == http.StatusNotFound && !isGiteas(err):
		return fmt.Errorf("%s: the answer is not Gitea's: it is away behind a proxy, or that is not its address (%w)",
			what, err)
	case code == http.StatusNotFound:
		fix = "there is none, or the token's user may not see it; see hostguard backend gitea"
	case code == http.StatusLocked:
		fix = "the repository is archived"
	case code/100 == 3:
		fix = "it redirects to another address, which is not followed; give HOSTGUARD_GITEA_URL the one that it has now"
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code/100 > 4:
		return fmt.Errorf("%s: %w", what, err)
	case code != 0:
		fix = "is this a Gitea?"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer in time: %w", what, context.DeadlineExceeded)
	default:
		return fmt.Errorf("%s: %w", what, cause(err))
	}
	return fmt.Errorf("%w: %s: %s (%w)", lock.ErrRefused, what, fix, err)
}

// cause returns an error without the method and address that the HTTP client adds.
func cause(err error) error { return cmp.Or(errors.Unwrap(err), err) }
