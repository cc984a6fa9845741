package operate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/mounts"
	"hostguard/internal/runnerdir"
	"hostguard/internal/safefile"
	"hostguard/runner"
	"hostguard/runner/workflow"
	"hostguard/runner/yamltree"
)

// checkoutInput returns the input for the directory of a checkout; text is appended to
// its description.
func checkoutInput(dir *string, text string) cli.Input {
	*dir = "."
	return cli.Input{Name: "checkout", Kind: cli.Text(dir, checkDirectory), FlagOnly: true, Arg: "DIR",
		Text: "default the current directory" + text}
}

// checkDirectory fails if a directory is not there. One that this user cannot see, or that
// may never answer, is left to what reads it.
func checkDirectory(dir string) error {
	full, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if mounts.Check(full) != nil {
		return nil
	}
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such directory")
	case err == nil && !info.IsDir():
		return errors.New("it is not a directory")
	}
	return nil
}

// A checkout is a directory with a repository in it: its workflows, and the
// server that its remotes name.

// localWorkflows reads the workflows of a checkout as its server does; of a server that is
// not known also those that only Forgejo reads, with their directory before the name. Each
// file that cannot be read is a problem.
func localWorkflows(ctx context.Context, files *runnerdir.Files, dir string, server runner.Server,
) (workflows []workflow.Workflow, problems []error, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	read, err := askAbout[[]workflowFile](ctx, files, dir, "workflows", workflowsOf{dir, server})
	if err != nil {
		return nil, nil, err
	}
	for _, f := range read {
		var w workflow.Workflow
		var err error
		if f.Problem != "" {
			err = errors.New(f.Problem)
		} else {
			w, err = workflow.Parse(f.Name, f.Data)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("workflow %q: %.200q", f.Name, err))
			continue
		}
		workflows = append(workflows, w)
	}
	return workflows, problems, nil
}

// workflowFile is a file of a checkout, or why it cannot be read.
type workflowFile struct {
	Name    string
	Data    []byte
	Problem string
}

// maxWorkflows bounds what is read of a checkout.
const maxWorkflows = 8 << 20

// workflowsOf asks for the workflows of a checkout.
type workflowsOf struct {
	Dir    string
	Server runner.Server
}

// workflowFiles reads the files of a checkout's workflows, also in subdirectories, as its
// server does; it never follows a link out of the checkout.
func workflowFiles(q workflowsOf) (files []workflowFile, err error) {
	root, err := os.OpenRoot(q.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the checkout %q: %w", q.Dir, cli.Pathless(err))
	}
	defer root.Close()
	size := 0
	for _, folder := range workflow.Dirs(q.Server != runner.Gitea) {
		prefix := ""
		if q.Server == runner.UnknownServer && folder == workflow.ForgejoDir {
			prefix = folder + "/"
		}
		err := fs.WalkDir(root.FS(), folder, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !workflow.IsFile(name) || entry.IsDir() {
				return nil
			}
			f := workflowFile{Name: prefix + strings.TrimPrefix(name, folder+"/")}
			data, err := safefile.ReadIn(root, name, yamltree.MaxFile+1)
			if err != nil {
				f.Problem = cli.Pathless(err).Error()
			}
			f.Data = data
			files = append(files, f)
			if size += len(name) + len(data); size > maxWorkflows {
				return errors.New("more workflows than any checkout has")
			}
			return nil
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", filepath.Join(q.Dir, folder), cli.Pathless(err))
		}
		if prefix == "" {
			break // only the first that exists
		}
	}
	return files, nil
}

// serverVariable names the server of the checkout's repository, in place of the remote:
// then it alone gets GITEA_TOKEN, whatever the checkout says.
const serverVariable = "GITEA_SERVER_URL"

// remoteOf returns the server of a checkout and the token for it: GITEA_TOKEN, or the one
// in a remote's URL of the same server.
func remoteOf(ctx context.Context, s *cli.Session, dir string) (gitea.Remote, error) {
	found, err := remotes(ctx, s, dir)
	if err != nil {
		return gitea.Remote{}, err
	}
	r, token := found[0], s.Getenv("GITEA_TOKEN")
	switch given := strings.TrimSuffix(s.Getenv(serverVariable), "/"); {
	case given != "":
		u, err := url.Parse(given)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return r, cli.Usagef("%s must be the address of a server, such as https://gitea.example.com",
				serverVariable)
		}
		r.Server = given
	case r.Server == "":
		return r, fmt.Errorf("the remote on %q is not an HTTP URL, so the address of its API is not known; add a "+
			"remote \"gitea\" with an https:// URL, or set %s", r.Host, serverVariable)
	case r.Host == "github.com":
		return r, errors.New("the remote is on github.com, which is not a Gitea server; add a remote \"gitea\"")
	case token != "":
		if err := checkOwn(ctx, s, dir); err != nil {
			return r, fmt.Errorf("GITEA_TOKEN is not sent to %q: %w; set %s to the server that it is for", r.Server,
				err, serverVariable)
		}
	}
	given := func(o gitea.Remote) bool { return o.Server == r.Server && o.Token.Given() }
	r.Token = gitea.Token{}
	if token != "" {
		r.Token = gitea.NewToken(token)
	} else if i := slices.IndexFunc(found, given); i >= 0 {
		r.Token = found[i].Token
	}
	return r, nil
}

// remotes returns the remotes "gitea" and "origin" of a checkout, of which it has one at
// least.
func remotes(ctx context.Context, s *cli.Session, dir string) (found []gitea.Remote, err error) {
	_, err = git(ctx, s, dir, "rev-parse", "--git-dir")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("git is not installed, so the remotes of the checkout are not known")
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a git checkout, or belongs to another user and is not in git's "+
			"safe.directory; give -checkout", dir)
	}
	for _, name := range []string{"gitea", "origin"} {
		out, err := git(ctx, s, dir, "remote", "get-url", name)
		if err != nil { // its text may hold the URL, and so a token
			continue
		}
		r, err := gitea.ParseRemote(out)
		if err != nil {
			return nil, fmt.Errorf("the remote %q of %q: %w", name, dir, err)
		}
		found = append(found, r)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%q has no remote \"gitea\" or \"origin\"; give -checkout", dir)
	}
	return found, nil
}

// gitTime bounds one call of git, which may wait for ever for what it finds in a checkout.
const gitTime = 10 * time.Second

// git returns what git prints about a checkout. Root has it run as the caller, if the
// checkout is his.
func git(ctx context.Context, s *cli.Session, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	uid := caller(s)
	if info, err := os.Stat(dir); err == nil && uid != os.Geteuid() && int(info.Sys().(*syscall.Stat_t).Uid) == uid {
		gid, err := strconv.ParseUint(s.Getenv("SUDO_GID"), 10, 32)
		if err != nil {
			return "", fmt.Errorf("SUDO_GID is not a group: %w", err)
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		cmd.Env = []string{"PATH=" + s.Getenv("PATH"), "HOME=/"}
	}
	out, err := cmd.Output()
	return strings.TrimSuffix(string(out), "\n"), err
}

// caller returns the user who has called this command, by sudo or not.
func caller(s *cli.Session) int {
	uid, err := strconv.ParseUint(s.Getenv("SUDO_UID"), 10, 32)
	if os.Geteuid() != 0 || err != nil {
		return os.Geteuid()
	}
	return int(uid)
}

// checkOwn fails if somebody else than root and the caller can change what a checkout
// names as its server, whatever git's safe.directory allows.
func checkOwn(ctx context.Context, s *cli.Session, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	out, err := git(ctx, s, dir, "rev-parse", "--git-dir", "--git-common-dir")
	if err != nil {
		return fmt.Errorf("find the repository of %q: %w", dir, err)
	}
	paths := []string{dir}
	for path := range strings.Lines(out) {
		if path = strings.TrimSuffix(path, "\n"); !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		paths = append(paths, filepath.Join(path, "config"), filepath.Join(path, "config.worktree"))
	}
	for _, path := range paths {
		if err := install.CheckOwners(path, caller(s)); err != nil {
			return err
		}
	}
	return nil
}

// openInventory returns the server that a checkout's remotes name, and its inventory.
func openInventory(ctx context.Context, s *cli.Session, checkout string) (gitea.Remote, *gitea.Inventory, error) {
	remote, err := remoteOf(ctx, s, checkout)
	if err != nil {
		return gitea.Remote{}, nil, err
	}
	inventory, err := gitea.NewInventory(ctx, remote.Server, remote.Token)
	return remote, inventory, err
}
