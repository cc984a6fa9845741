package gitea

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Run is a run of a workflow.
type Run struct {
	ID         int64
	Number     int64  `json:"run_number"`
	Attempt    int64  `json:"run_attempt"`
	Status     string // queued, waiting, in_progress or completed
	Conclusion string // success, failure, cancelled or skipped
	URL        string `json:"html_url"`
}

// Job is one of a run's.
type Job struct {
	ID         int64
	Name       string
	Status     string
	Conclusion string
	Runner     string `json:"runner_name"`
}

// CreateRepository makes an empty repository of the user's.
func (u *User) CreateRepository(name string, private bool) error {
	request := map[string]any{"name": name, "private": private, "default_branch": "main"}
	return u.Call(http.MethodPost, "/user/repos", request, nil)
}

// Commit commits files to the branch main of a repository, which may be empty: texts
// by their path. Gitea runs workflows after it, as after a push.
func (u *User) Commit(repo string, files map[string]string) error {
	var changes []map[string]string
	for path, text := range files {
		content := base64.StdEncoding.EncodeToString([]byte(text))
		change := map[string]string{"operation": "create", "path": path, "content": content}
		var old struct{ SHA string }
		if u.Call(http.MethodGet, "/repos/"+repo+"/contents/"+path, nil, &old) == nil {
			change["operation"], change["sha"] = "update", old.SHA
		}
		changes = append(changes, change)
	}
	request := map[string]any{"branch": "main", "message": "ci", "files": changes}
	return u.Call(http.MethodPost, "/repos/"+repo+"/contents", request, nil)
}

// Push pushes the commit of a working tree, and the tags that point to it.
func (u *User) Push(repo, dir string) error {
	remote := strings.Replace(u.server.URL, "://", "://"+u.Name+":"+password+"@", 1) + "/" + repo + ".git"
	git := exec.Command("git", "-C", dir, "push", "--quiet", "--force", "--tags", remote, "HEAD:refs/heads/main")
	git.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := git.CombinedOutput(); err != nil {
		return fmt.Errorf("push %s: %w: %s", repo, err, out)
	}
	return nil
}

// Publish pushes a directory's files as one commit with tags, and returns its ID.
func (u *User) Publish(repo, dir string, tags ...string) (commit string, err error) {
	work, err := os.MkdirTemp("/tmp", "hgpush")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	store := filepath.Join(work, "git")
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "main"},
		{"add", "--all", "--force"},
		{"-c", "user.name=ci", "-c", "user.email=ci@localhost", "commit", "--quiet", "-m", "release"},
	} {
		if _, err := git(store, dir, args...); err != nil {
			return "", err
		}
	}
	for _, tag := range tags {
		if _, err := git(store, dir, "tag", "--force", tag); err != nil {
			return "", err
		}
	}
	if commit, err = git(store, dir, "rev-parse", "HEAD"); err != nil {
		return "", err
	}
	return commit, u.Push(repo, store)
}

func git(store, tree string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "GIT_DIR="+store, "GIT_WORK_TREE="+tree, "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Runs returns the runs of a repository, the oldest first.
func (u *User) Runs(repo string) ([]Run, error) {
	var answer struct {
		Runs []Run `json:"workflow_runs"`
	}
	err := u.Call(http.MethodGet, "/repos/"+repo+"/actions/runs?limit=50", nil, &answer)
	slices.SortFunc(answer.Runs, func(a, b Run) int { return int(a.Number - b.Number) })
	return answer.Runs, err
}

// Jobs returns the jobs of a run, in the order of their names.
func (u *User) Jobs(repo string, run int64) ([]Job, error) {
	var answer struct{ Jobs []Job }
	err := u.Call(http.MethodGet, fmt.Sprintf("/repos/%s/actions/runs/%d/jobs", repo, run), nil, &answer)
	slices.SortFunc(answer.Jobs, func(a, b Job) int { return strings.Compare(a.Name, b.Name) })
	return answer.Jobs, err
}

// Run waits for the run of a number.
func (u *User) Run(repo string, number int64) (run Run, err error) {
	err = wait(fmt.Sprintf("run %d of %s", number, repo), func() (bool, error) {
		runs, err := u.Runs(repo)
		i := slices.IndexFunc(runs, func(r Run) bool { return r.Number == number })
		if i >= 0 {
			run = runs[i]
		}
		return i >= 0, err
	})
	return run, err
}

// Ended waits for the end of a run by its ID.
func (u *User) Ended(repo string, id int64) (Run, error) { return u.until(repo, id, "completed") }

// Started waits until a job of a run runs.
func (u *User) Started(repo string, id int64) (Run, error) { return u.until(repo, id, "in_progress") }

func (u *User) until(repo string, id int64, status string) (run Run, err error) {
	err = wait(fmt.Sprintf("run %d of %s %s", id, repo, status), func() (bool, error) {
		err := u.Call(http.MethodGet, fmt.Sprintf("/repos/%s/actions/runs/%d", repo, id), nil, &run)
		return run.Status == status, err
	})
	if err != nil {
		err = fmt.Errorf("%w, it is %s", err, run.Status)
	}
	return run, err
}

// wait waits until look sees what it looks for.
func wait(what string, look func() (bool, error)) error {
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) { // a look costs the server 5 ms
		seen, err := look()
		if err != nil || seen {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("no %s within %s", what, limit)
		}
	}
}

// Cancel cancels a run as its page does: the API cannot.
func (u *User) Cancel(repo string, run int64) error {
	_, _, err := u.Web(http.MethodPost, fmt.Sprintf("/%s/actions/runs/%d/cancel", repo, run))
	return err
}

// Rerun runs all jobs of a run once more.
func (u *User) Rerun(repo string, run int64) error {
	_, _, err := u.Web(http.MethodPost, fmt.Sprintf("/%s/actions/runs/%d/rerun", repo, run))
	return err
}

// Log returns the logs of all jobs of a run, one after the other.
func (u *User) Log(repo string, run int64) (string, error) {
	jobs, err := u.Jobs(repo, run)
	if err != nil {
		return "", err
	}
	if len(jobs) == 0 {
		return "", errors.New("the run has no jobs")
	}
	var all strings.Builder
	for _, job := range jobs {
		var log string
		if err := u.Call(http.MethodGet, fmt.Sprintf("/repos/%s/actions/jobs/%d/logs", repo, job.ID), nil, &log); err != nil {
			return "", err
		}
		all.WriteString(log)
	}
	return all.String(), nil
}
