package gitea

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostguard/lock"
)

// comments opens the issue ci/locks#1 of a server that answers by a function. The token's
// user is 7.
func comments(t *testing.T, answer http.HandlerFunc) *Comments {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token s3cret" {
			t.Errorf("%s %s without the token", r.Method, r.URL)
		}
		if r.URL.Path == "/api/v1/user" {
			fmt.Fprint(w, `{"id": 7}`)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := OpenComments(t.Context(), server.URL, NewToken("s3cret"), Issue{"ci/locks", 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyTheTokensOwnCommentsAreEntries(t *testing.T) {
	c := comments(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `[
			{"id": 3, "user": {"id": 8}, "body": "{\"name\": \"deploy\"}"},
			{"id": 4, "user": {"id": 7}, "body": "Who locked this?"},
			{"id": 5, "user": {"id": 7}, "body": "{\"name\": \"deploy\", \"labels\": {\"a\": \"b\"}}"},
			{"id": 6, "user": {"id": 7}, "body": "{\"name\": \"other\"}"},
			{"id": 9, "body": "{\"name\": \"deploy\"}"}]`)
	})
	entries, err := c.List(t.Context(), "dep")
	if err != nil || len(entries) != 1 || entries[0].Fence != 5 || entries[0].ID != fmt.Sprintf("%064x", 5) ||
		entries[0].Labels["a"] != "b" {
		t.Errorf("%+v, %v", entries, err)
	}
}

// A page may miss an entry that moves to the one before while it is read.
func TestAListInPagesIsNone(t *testing.T) {
	c := comments(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", `<http://x/?page=2>; rel="next"`)
		fmt.Fprint(w, `[]`)
	})
	if entries, err := c.List(t.Context(), ""); !errors.Is(err, lock.ErrRefused) {
		t.Errorf("%+v, %v", entries, err)
	}
}

// A host whose clock is wrong must not count the lock of a living holder as old.
func TestAnEntrysAgeIsMeasuredByTheServersClock(t *testing.T) {
	c := comments(t, func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Add(-5 * time.Hour) // the server's
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		fmt.Fprintf(w, `[{"id": 5, "user": {"id": 7}, "created_at": %q, "body": "{\"name\": \"deploy\"}"}]`,
			now.Add(-time.Minute).Format(time.RFC3339))
	})
	entries, err := c.List(t.Context(), "deploy")
	if err != nil || len(entries) != 1 {
		t.Fatalf("%+v, %v", entries, err)
	}
	if age := time.Since(entries[0].Created); age < 55*time.Second || age > 65*time.Second {
		t.Errorf("it is %s old", age)
	}
}

// Gitea would notify users, and write into issues, that a reason of a lock names.
func TestABodyMentionsNothing(t *testing.T) {
	labels := map[string]string{"reason": "ask @mac!, see wooo/shop#12, !3, `x` https://git.example.com/a/b/issues/4"}
	var body string
	c := comments(t, func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Body string }
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		body = request.Body
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"id": 12, "user": {"id": 7}}`)
	})
	id, err := c.Create(t.Context(), "deploy", labels)
	if err != nil || id != fmt.Sprintf("%064x", 12) {
		t.Fatalf("%q, %v", id, err)
	}
	if strings.ContainsAny(body, "@#!/`") {
		t.Errorf("the body is %s", body)
	}
	var read content
	if err := json.Unmarshal([]byte(body), &read); err != nil || read.Labels["reason"] != labels["reason"] {
		t.Errorf("%s is read as %+v, %v", body, read, err)
	}
}

func TestWhatGiteasAnswersMean(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"no token": {401, `{}`, lock.ErrRefused},
		"no right": {403, `{"message": "token does not have at least one of required scope(s)"}`,
			lock.ErrRefused},
		"no repository":     {404, `{}`, lock.ErrRefused},
		"no Gitea for now":  {404, `404 page not found`, nil},
		"archived":          {423, `{}`, lock.ErrRefused},
		"moved":             {302, ``, lock.ErrRefused},
		"too many requests": {429, ``, nil},
		"broken":            {500, ``, nil},
		"a proxy":           {502, `<html>`, nil},
		"a page":            {201, `<html>`, nil},
		"another's":         {201, `{"id": 12, "user": {"id": 8}}`, nil},
		"nothing":           {201, `{}`, nil},
	} {
		requests := 0
		c := comments(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.body)
		})
		id, err := c.Create(t.Context(), "deploy", nil)
		refused := errors.Is(err, lock.ErrRefused)
		if err == nil || refused != (test.want != nil) || errors.Is(err, lock.ErrConflict) {
			t.Errorf("%s: %q, %v", name, id, err)
		}
		if requests != 1 {
			t.Errorf("%s: %d requests", name, requests)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the token is in %v", name, err)
		}
	}
}

// Who may not see a repository gets the same answer as for a comment that is gone.
func TestACommentIsGoneOnlyWhereItsIssueIsSeen(t *testing.T) {
	for _, issue := range []int{http.StatusOK, http.StatusNotFound} {
		c := comments(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.URL.Path == "/api/v1/repos/ci/locks/issues/1" {
				w.WriteHeader(issue)
				fmt.Fprint(w, "{}")
				return
			}
			if r.Method != http.MethodDelete || r.URL.Path != "/api/v1/repos/ci/locks/issues/comments/12" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			w.WriteHeader(http.StatusNotFound)
		})
		err := c.Remove(t.Context(), fmt.Sprintf("%064x", 12))
		if gone := errors.Is(err, lock.ErrNotFound); gone != (issue == http.StatusOK) || err == nil {
			t.Errorf("the issue's status is %d: %v", issue, err)
		}
	}
}

func TestAnIssueWithoutANumberIsNotMade(t *testing.T) {
	for _, answer := range []string{`{}`, `{"number": 0}`, `{"number": -3}`, `{"number": 1e30}`, `{"number": "2"}`} {
		c := comments(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
		l := LockIssue{Issue: c.issue, comments: c}
		if err := l.MakeIssue(t.Context()); err == nil || l.Issue.Number != 1 {
			t.Errorf("%s: %v, %v", answer, l.Issue, err)
		}
	}
}

// A 404 of a proxy while Gitea restarts ends no release: it is tried again.
func TestNotFoundByAProxyIsNoRefusal(t *testing.T) {
	c := comments(t, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	err := c.Remove(t.Context(), fmt.Sprintf("%064x", 12))
	if err == nil || errors.Is(err, lock.ErrRefused) || errors.Is(err, lock.ErrNotFound) {
		t.Errorf("Remove = %v", err)
	}
	if _, err := c.List(t.Context(), ""); err == nil || errors.Is(err, lock.ErrRefused) {
		t.Errorf("List = %v", err)
	}
}

// Only the comment itself, of this user, is "there".
func TestWhichCommentsAreThere(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		there  bool
		fails  bool
	}{
		"it is":          {200, `{"id": 12, "user": {"id": 7}}`, true, false},
		"another's":      {200, `{"id": 12, "user": {"id": 8}}`, false, false},
		"another":        {200, `{"id": 13, "user": {"id": 7}}`, false, false},
		"gone":           {404, `{}`, false, false},
		"a proxy":        {404, `404 page not found`, false, false},
		"a page":         {200, `<html>`, false, true},
		"no comment":     {204, ``, false, true},
		"broken":         {500, ``, false, true},
		"the token ends": {401, `{}`, false, true},
	} {
		c := comments(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/api/v1/repos/ci/locks/issues/comments/12" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.body)
		})
		there, err := c.Present(t.Context(), fmt.Sprintf("%064x", 12))
		if there != test.there || (err != nil) != test.fails {
			t.Errorf("%s: %t, %v", name, there, err)
		}
	}
	c := comments(t, func(http.ResponseWriter, *http.Request) { t.Error("asked for no comment") })
	if there, err := c.Present(t.Context(), "../x"); there || err == nil {
		t.Errorf("%t, %v", there, err)
	}
}

func TestAnIssueIsNoPath(t *testing.T) {
	if issue, err := ParseIssue("ci/locks#12"); err != nil || issue != (Issue{"ci/locks", 12}) {
		t.Errorf("%v, %v", issue, err)
	}
	for _, s := range []string{"", "ci/locks", "ci#1", "/locks#1", "ci/#1", "../x#1", "ci/..#1", "ci/a/b#1", "ci/a?b#1",
		"ci/a#0", "ci/a#-1", "ci/a#1/x", "ci/a b#1"} {
		if issue, err := ParseIssue(s); err == nil {
			t.Errorf("%q is %v", s, issue)
		}
	}
}
