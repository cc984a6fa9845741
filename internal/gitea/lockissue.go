package gitea

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"hostguard/lock"
)

// LockIssue is what the locks of lock-backend gitea need at a server: a private
// repository, and in it an issue whose comments they are.
type LockIssue struct {
	Issue   Issue
	User    string // the token's
	Exists  bool   // the repository
	Private bool
	Issued  bool // the issue exists
	Closed  bool // or its repository is archived, so that nobody can comment

	comments *Comments
}

// DefaultRepository is the name of the repository, of the token's user, where none is given.
const DefaultRepository = "hostguard-locks"

// FindLockIssue looks for an issue. The zero Issue is the first of the default repository.
func FindLockIssue(ctx context.Context, url string, token Token, issue Issue) (*LockIssue, error) {
	l := &LockIssue{comments: &Comments{asker: asker{throttledClient(token.secret), url, token.secret}}}
	var user struct {
		ID    int64
		Login string
	}
	l.Issue = issue
	l.comments.issue = issue
	if _, err := l.comments.call(ctx, http.MethodGet, "/user", nil, &user); err != nil {
		return nil, l.comments.explain("read the token's user, for", err)
	}
	if user.ID <= 0 || !isName(user.Login) {
		return nil, fmt.Errorf("%w: read the token's user: the answer of %q is not Gitea's", lock.ErrRefused, url)
	}
	l.User, l.comments.user = user.Login, user.ID
	if issue == (Issue{}) {
		l.Issue = Issue{user.Login + "/" + DefaultRepository, 1}
		l.comments.issue = l.Issue
	}
	var repository struct{ Private, Archived bool }
	_, err := l.comments.call(ctx, http.MethodGet, "/repos/"+l.Issue.Repository, nil, &repository)
	switch {
	case status(err) == http.StatusNotFound:
		return l, nil
	case err != nil:
		return nil, l.comments.explain("look for the repository of", err)
	}
	l.Exists, l.Private, l.Closed = true, repository.Private, repository.Archived
	var found struct {
		Number      int64
		PullRequest any `json:"pull_request"`
	}
	_, err = l.comments.call(ctx, http.MethodGet, l.Issue.path(), nil, &found)
	if err != nil && status(err) != http.StatusNotFound {
		return nil, l.comments.explain("look for", err)
	}
	l.Issued = err == nil && found.Number == l.Issue.Number && found.PullRequest == nil
	return l, nil
}

// MakeRepository makes the private repository.
func (l *LockIssue) MakeRepository(ctx context.Context) error {
	owner, name, _ := strings.Cut(l.Issue.Repository, "/")
	path := "/user/repos"
	if owner != l.User {
		path = "/orgs/" + owner + "/repos"
	}
	_, err := l.comments.call(ctx, http.MethodPost, path, map[string]any{
		"name": name, "private": true, "description": "Locks of hostguard: the comments of one issue",
	}, nil)
	if code := status(err); code == http.StatusForbidden || code == http.StatusNotFound {
		return fmt.Errorf("make the repository %q: %q does not let the token do that (%d); make it by hand, private, "+
			"or give a token with the scopes write:repository and write:user once",
			l.Issue.Repository, l.comments.asker.url, code)
	}
	if err != nil {
		return fmt.Errorf("make the repository %q at %q: %w", l.Issue.Repository, l.comments.asker.url, err)
	}
	return nil
}

// RemoveRepository removes the repository that MakeRepository has made.
func (l *LockIssue) RemoveRepository(ctx context.Context) error {
	_, err := l.comments.call(ctx, http.MethodDelete, "/repos/"+l.Issue.Repository, nil, nil)
	if err != nil && status(err) != http.StatusNotFound {
		return fmt.Errorf("remove the repository %q at %q: %w", l.Issue.Repository, l.comments.asker.url, err)
	}
	return nil
}

// MakeIssue makes the issue, whose number the server chooses.
func (l *LockIssue) MakeIssue(ctx context.Context) error {
	var made struct{ Number int64 }
	_, err := l.comments.call(ctx, http.MethodPost, "/repos/"+l.Issue.Repository+"/issues", map[string]string{
		"title": "Locks", "body": "Each comment here is the lock of a job, or a job that waits for one. hostguard " +
			"makes and removes them; see `hostguard status`.",
	}, &made)
	if err != nil {
		return l.comments.explain("make an issue for", err)
	}
	if made.Number <= 0 {
		return fmt.Errorf("make an issue for %s: the answer of %q is not Gitea's", l.Issue, l.comments.asker.url)
	}
	l.Issue.Number = made.Number
	l.comments.issue = l.Issue
	return nil
}

// Try makes an entry that is nobody's lock, finds it in a list and removes it.
func (l *LockIssue) Try(ctx context.Context) error {
	const name = "hg-try"
	id, err := l.comments.Create(ctx, name, nil)
	if err != nil {
		return err
	}
	entries, err := l.comments.List(ctx, name)
	if removed := l.comments.Remove(ctx, id); err == nil {
		err = removed
	}
	for _, e := range entries {
		if e.ID == id {
			return err
		}
	}
	if err == nil {
		err = fmt.Errorf("%q does not list the comment that was just made to %s", l.comments.asker.url, l.Issue)
	}
	return err
}
