package operate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/runnerdir"
	"hostguard/internal/safefile"
	"hostguard/runner/workflow"
	"hostguard/runner/yamltree"
)

// checkoutInput returns the input for the directory of a checkout; text is appended to
// its description.
func checkoutInput(dir *string, text string) cli.Input {
	*dir = "."
	return cli.Input{Name: "checkout", Kind: cli.Text(dir, nil), FlagOnly: true, Arg: "DIR",
		Text: "default the current directory" + text}
}

// A checkout is a directory with a repository in it: its workflows, and the
// server that its remotes name.

// localWorkflows reads the workflows of a checkout. Each file that cannot be read is a
// problem.
func localWorkflows(ctx context.Context, files *runnerdir.Files, dir string,
) (workflows []workflow.Workflow, problems []error, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	read, err := askAbout[[]workflowFile](ctx, files, dir, "workflows", dir)
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

// workflowFiles reads the files of a checkout's workflows, also in subdirectories, as Gitea
// does; it never follows a link out of the checkout.
func workflowFiles(dir string) (files []workflowFile, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the checkout %q: %w", dir, cli.Pathless(err))
	}
	defer root.Close()
	size := 0
	for _, folder := range workflow.Dirs {
		err := fs.WalkDir(root.FS(), folder, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !workflow.IsFile(name) || entry.IsDir() {
				return nil
			}
			f := workflowFile{Name: strings.TrimPrefix(name, folder+"/")}
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
			return nil, fmt.Errorf("read %q: %w", filepath.Join(dir, folder), cli.Pathless(err))
		}
		break // as Gitea does: only the first that exists
	}
	return files, nil
}

// remoteOf returns the server that a checkout's remotes name, and the token for it:
// GITEA_TOKEN, or the one in a URL of the same server.
func remoteOf(ctx context.Context, s *cli.Session, dir string) (gitea.Remote, error) {
	err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "--git-dir").Run()
	if errors.Is(err, exec.ErrNotFound) {
		return gitea.Remote{}, errors.New("git is not installed, so the remotes of the checkout are not known")
	}
	if err != nil {
		return gitea.Remote{}, fmt.Errorf("%q is not a git checkout, or belongs to another user and is not in git's "+
			"safe.directory; give -checkout", dir)
	}
	var found []gitea.Remote
	for _, name := range []string{"gitea", "origin"} {
		out, err := exec.CommandContext(ctx, "git", "-C", dir, "remote", "get-url", name).Output()
		if err != nil { // its text may hold the URL, and so a token
			continue
		}
		r, err := gitea.ParseRemote(strings.TrimSpace(string(out)))
		if err != nil {
			return gitea.Remote{}, fmt.Errorf("the remote %q of %q: %w", name, dir, err)
		}
		found = append(found, r)
	}
	if len(found) == 0 {
		return gitea.Remote{}, fmt.Errorf("%q has no remote \"gitea\" or \"origin\"; give -checkout", dir)
	}
	r := found[0]
	switch {
	case r.Server == "":
		return r, fmt.Errorf("the remote on %q is not an HTTP URL, so the address of its API is not known; add a "+
			"remote \"gitea\" with an https:// URL", r.Host)
	case r.Host == "github.com":
		return r, errors.New("the remote is on github.com, which is not a Gitea server; add a remote \"gitea\"")
	}
	if token := s.Getenv("GITEA_TOKEN"); token != "" {
		r.Token = gitea.NewToken(token)
		return r, nil
	}
	given := func(o gitea.Remote) bool { return o.Server == r.Server && o.Token.Given() }
	if i := slices.IndexFunc(found, given); i >= 0 {
		r.Token = found[i].Token
	}
	return r, nil
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
