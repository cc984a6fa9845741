// Package gitserver answers git clients over HTTP as a Gitea does, for tests of
// what runners make of it.
package gitserver

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Gitea is a handler that serves bare repositories, for writing to their owner.
//
// As Gitea (routers/web/repo/githttp.go), it asks who has no token for one
// unless the repository is public; whether it exists stays a secret. The token
// of a job is always valid, but opens a private repository only to those that
// its owner has let in.
type Gitea struct {
	Root    string // has the bare repositories, as OWNER/NAME
	Private bool   // all of them
	Token   string // of a job that may read them then
	Old     bool   // whether it shows other jobs that a private repository exists
	Owner   string // the password of who may push; "": nobody
}

func (g *Gitea) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(r.URL.Path, "/", 4) // "", OWNER, NAME, what git wants
	if len(parts) < 4 || !exists(filepath.Join(g.Root, parts[1])) {
		http.Error(w, "Not found.", http.StatusNotFound)
		return
	}
	found := exists(filepath.Join(g.Root, parts[1], parts[2]))
	_, token, signed := r.BasicAuth()
	open := !g.Private || token == g.Token
	push := r.URL.Query().Get("service") == "git-receive-pack" || strings.HasSuffix(r.URL.Path, "/git-receive-pack")
	owner := g.Owner != "" && token == g.Owner
	switch {
	case push && !owner:
		w.Header().Set("WWW-Authenticate", `Basic realm="Gitea"`)
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
	case !signed && (g.Private || !found):
		w.Header().Set("WWW-Authenticate", `Basic realm="Gitea"`)
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
	case found && !open && g.Old:
		http.Error(w, "User permission denied", http.StatusForbidden)
	case !found || !open:
		http.Error(w, "Repository not found", http.StatusNotFound)
	default:
		g.serve(w, r, owner)
	}
}

func (g *Gitea) serve(w http.ResponseWriter, r *http.Request, owner bool) {
	git, err := exec.LookPath("git")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	env := []string{"GIT_PROJECT_ROOT=" + g.Root, "GIT_HTTP_EXPORT_ALL=1"}
	if owner {
		env = append(env, "REMOTE_USER=owner")
		// A push beyond 1 MB comes in chunks, which CGI has not; r has one user.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	(&cgi.Handler{Path: git, Args: []string{"http-backend"}, Env: env}).ServeHTTP(w, r)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
