package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"hostguard/internal/privsep"
	"hostguard/internal/safefile"
)

// The docker command's own files. A context is a name with an address, kept below the
// SHA-256 of that name:
//
//	~/.docker/config.json                          {"currentContext": "rootless"}
//	~/.docker/contexts/meta/<sha256>/meta.json     {"Name": …, "Endpoints": {"docker": {"Host": …}}}
//	~/.docker/contexts/tls/<sha256>/docker/*.pem

// files reads them. What another user than root can change, root has opened by a process of
// that user's, and does not follow.
type files struct {
	dir     string // absolute, or "" where there is no home
	helpers privsep.Helpers
}

// maxFile bounds a file of the docker command's; real ones have some kilobytes.
const maxFile = 1 << 20

// contextVariable chooses a context, before the configuration does.
const contextVariable = "DOCKER_CONTEXT"

// configDir returns the directory of the docker command's configuration.
func configDir(getenv func(string) string) string {
	dir := getenv("DOCKER_CONFIG")
	if dir == "" {
		home := getenv("HOME")
		if me, err := user.Current(); home == "" && err == nil {
			home = me.HomeDir
		}
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	return dir
}

// Handlers returns what a helper process answers to this package: see package privsep.
func Handlers() map[string]privsep.Handler {
	return map[string]privsep.Handler{"docker": privsep.Handle(readFile)}
}

func readFile(path string) ([]byte, error) {
	data, err := safefile.Read(path, maxFile+1)
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%.200q has more than %d bytes", path, maxFile)
	}
	return data, err
}

// read returns a file, and the user who decides over it: 0 unless this is root.
func (f *files) read(ctx context.Context, path string) (data []byte, decider int, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, 0, err
	}
	if os.Geteuid() == 0 {
		decider, err = privsep.Decider(path)
	}
	switch {
	case err != nil:
	case decider == 0:
		data, err = readFile(path)
	default:
		data, err = privsep.Ask[[]byte](ctx, &f.helpers, decider, "docker", path)
	}
	return data, decider, err
}

// context returns the name of the docker command's context, and what chooses it; "" for
// the default one. A configuration that cannot be read chooses none, as for the docker command.
func (f *files) context(ctx context.Context, getenv func(string) string) (name, by string, err error) {
	if name, by = getenv(contextVariable), contextVariable; name == "" && f.dir != "" {
		path := filepath.Join(f.dir, "config.json")
		var config struct {
			CurrentContext string `json:"currentContext"`
		}
		data, decider, failed := f.read(ctx, path)
		if failed != nil || json.Unmarshal(data, &config) != nil {
			return "", "", ctx.Err()
		}
		name, by = config.CurrentContext, fmt.Sprintf("%q", path)
		if decider != 0 && name != "" && name != "default" {
			return "", "", unfollowed(name, path, decider)
		}
	}
	if name == "default" {
		name = ""
	}
	return name, by, nil
}

// unfollowed returns the error for a context of another user's, which root does not follow:
// it would connect to whatever that user names.
func unfollowed(name, path string, decider int) error {
	return unusable("set DOCKER_HOST, or DOCKER_CONTEXT=default",
		"root does not follow the docker context %.100q, since user %d can change %.200q", name, decider, path)
}

// endpoint returns the daemon of a context.
func (f *files) endpoint(ctx context.Context, name, by string) (at endpoint, err error) {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	path := filepath.Join(f.dir, "contexts", "meta", id, "meta.json")
	at.by, at.named = fmt.Sprintf("the docker context %.100q", name), true
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	data, decider, err := f.read(ctx, path)
	switch {
	case decider != 0:
		return at, unfollowed(name, path, decider)
	case errors.Is(err, fs.ErrNotExist):
		return at, unusable(chooseAnother(by), "%s, which %s chooses, does not exist: there is no %.300q", at.by, by,
			path)
	case err == nil:
		err = json.Unmarshal(data, &meta)
	}
	docker, found := meta.Endpoints["docker"]
	if err == nil && !found {
		err = errors.New("it has no endpoint for docker")
	}
	if err != nil {
		return at, unusable(chooseAnother(by), "%s, which %s chooses, cannot be read: %.300q: %.200q", at.by, by, path,
			reasonOf(err))
	}
	if at.host = docker.Host; at.host == "" {
		at.host = usualSocket
	}
	if err := at.normalize(); err != nil || at.socket() {
		return at, err
	}
	at.certs = filepath.Join(f.dir, "contexts", "tls", id, "docker")
	return at, at.loadContextTLS(ctx, f, docker.SkipTLSVerify)
}

// chooseAnother returns how to choose another context, where by chooses it now.
func chooseAnother(by string) string {
	if by == contextVariable {
		return "set DOCKER_CONTEXT to one of docker context ls, or set DOCKER_HOST"
	}
	return "choose another by docker context use, or set DOCKER_HOST"
}

// loadContextTLS reads the certificates of a context, if it has some.
func (at *endpoint) loadContextTLS(ctx context.Context, f *files, skip bool) error {
	if err := at.loadTLS(ctx, f, !skip); err != nil {
		return err
	}
	if !skip && at.tls.RootCAs == nil && at.tls.Certificates == nil {
		at.tls = nil
	}
	return nil
}
