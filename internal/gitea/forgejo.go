package gitea

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"code.gitea.io/sdk/gitea"

	"hostguard/lock"
	"hostguard/runner/workflow"
)

// Forgejo has the API of Gitea 1.22, and its own for runs and runners, which the SDK does
// not know.

// forgejoVersion returns the version of a Forgejo, "" for a Gitea, and the version of the
// Gitea whose API it has. Forgejo's is 14.0.0+gitea-1.22.0.
func forgejoVersion(version string) (forgejo, api string) {
	if forgejo, api, found := strings.Cut(version, "+gitea-"); found && forgejo != "" {
		return forgejo, api
	}
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n >= 7 { // the first with numbers of its own
		return version, "1.22.0"
	}
	return "", version
}

// asker sends requests that the SDK does not know.
type asker struct {
	http   *http.Client
	url    string
	secret string
}

// get decodes the answer about a path of the API.
func (a asker) get(ctx context.Context, path string, answer any) (*gitea.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.url, "/")+"/api/v1"+path, nil)
	if err != nil {
		return nil, err
	}
	if a.secret != "" {
		request.Header.Set("Authorization", "token "+a.secret)
	}
	r, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	response := &gitea.Response{Response: r}
	data, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return response, err
	case r.StatusCode != http.StatusOK:
		return response, fmt.Errorf("%.200s", data)
	}
	return response, json.Unmarshal(data, answer)
}

// Forgejo returns the server's version if it is a Forgejo, or "".
func (i *Inventory) Forgejo() string { return i.forgejo }

func (i *Inventory) unsupported(what string) error {
	return fmt.Errorf("%s: not supported with Forgejo (%.50q at %q)", what, i.forgejo, i.url)
}

// forgejoRunners returns a page of the runners of a scope, and how many there are.
func (i *Inventory) forgejoRunners(s Scope, o gitea.ListOptions) ([]workflow.Runner, int64, error) {
	var list []struct {
		ID     int64    `json:"id"`
		Name   string   `json:"name"`
		Labels []string `json:"labels"`
		Status string   `json:"status"` // offline, idle or active
	}
	path := fmt.Sprintf("%s/actions/runners?page=%d&limit=%d", s.path(), o.Page, o.PageSize)
	response, err := i.asker.get(i.ctx, path, &list)
	if err != nil {
		return nil, 0, i.explain(fmt.Sprintf("list the runners of %s", s), response, err)
	}
	some := make([]workflow.Runner, 0, len(list))
	for _, r := range list {
		some = append(some, workflow.Runner{ID: r.ID, Name: r.Name, Labels: append([]string{}, r.Labels...),
			Online: r.Status == "idle" || r.Status == "active", Busy: r.Status == "active"})
	}
	total, err := strconv.ParseInt(response.Header.Get("X-Total-Count"), 10, 64)
	if err != nil {
		total = -1
	}
	return some, total, nil
}

// path returns where the API has a scope.
func (s Scope) path() string {
	switch {
	case s.name != "":
		return "/repos/" + url.PathEscape(s.owner) + "/" + url.PathEscape(s.name)
	case s.user:
		return "/user"
	case s.owner != "":
		return "/orgs/" + url.PathEscape(s.owner)
	}
	return "/admin"
}

// askForgejo asks for the run alone: Forgejo's jobs have no times.
func (s *Server) askForgejo(ctx context.Context, owner, repo string, id int64) (lock.Life, string) {
	var run struct {
		ID      int64     `json:"id"`
		Status  string    `json:"status"`
		Stopped time.Time `json:"stopped"`
	}
	path := Scope{owner: owner, name: repo}.path() + fmt.Sprintf("/actions/runs/%d", id)
	response, err := asker{throttledClient(s.token), s.url, s.token}.get(ctx, path, &run)
	switch {
	case err != nil:
		return s.unknown(err)
	case run.ID != id:
		return s.unknown(errAnotherRun)
	}
	switch run.Status {
	case "success", "failure", "cancelled", "skipped":
		return ended("run", run.Stopped, response)
	}
	return lock.Unknown, "its run is still running, and Forgejo does not report whether its job is"
}
