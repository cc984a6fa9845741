package runnerdir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"hostguard/install"
	"hostguard/internal/privsep"
	"hostguard/internal/safefile"
	"hostguard/runner"
	"hostguard/runner/config"
)

// Files works on the files of runners. Root's are opened by root, and those of a user by a
// process of that user's: see package privsep. The zero value is ready.
type Files struct{ Helpers privsep.Helpers }

// Handlers returns what a helper process answers to Files.
func Handlers() map[string]privsep.Handler {
	return map[string]privsep.Handler{
		"look": privsep.Handle(look), "status": privsep.Handle(status), "registration": privsep.Handle(registrationIn),
		"resolve": privsep.Handle(resolve), "jobs": privsep.Handle(list), "replace": privsep.Handle(replace),
		"restore": privsep.Handle(restore), "make": privsep.Handle(makeDir), "remove": privsep.Handle(remove),
		"register": privsep.Handle(register),
		"place":    privsep.Handle(place), "program": privsep.Handle(program), "owner": privsep.Handle(ownerAt),
		"has-registration": privsep.Handle(hasRegistration), "read-only": privsep.Handle(readOnly),
		"script": privsep.Handle(script), "units": privsep.Handle(unitFiles),
		"read": privsep.Handle(readText), "owners": privsep.Handle(owners), "identity": privsep.Handle(identity),
	}
}

// none is an answer without content.
type none struct{}

// As returns the user as whom a path has to be opened: the own one, or for root the user
// who can change what the path leads to.
func As(path string) (int, error) {
	if uid := os.Geteuid(); uid != 0 {
		return uid, nil
	}
	return privsep.Decider(path)
}

// ask has whoever decides over a path answer a request about it.
func ask[A any](ctx context.Context, f *Files, path, kind string, q any) (A, error) {
	uid, err := As(path)
	if err != nil {
		var none A
		return none, err
	}
	return privsep.Ask[A](ctx, &f.Helpers, uid, kind, q)
}

// Place names a runner: the directory that it works in, and its configuration, "" for one
// that was started without. It then has the default for each setting.
type Place struct{ Dir, Config string }

// first returns the file that is read first.
func (p Place) first() string { return cmp.Or(p.Config, filepath.Join(p.Dir, ".runner")) }

// Runner is a runner as its directory shows it. Text and Identity are one reading of the
// configuration, and of the registration that it names.
type Runner struct {
	Text         []byte
	Changed      time.Time // the configuration
	Registration string    // the file, without links; "" if the configuration cannot be read
	Registered   bool
	Identity     []byte // the registration without its token; nil if it cannot be read
	ReadOnly     bool   // nobody can change the configuration: its file system is mounted so
}

// Read reads the runner at a place as the user uid; as -1, as whoever decides over the
// configuration. Its error is nil only if there is a text.
func (f *Files) Read(ctx context.Context, uid int, at Place) (r Runner, c config.Config, err error) {
	if uid < 1 || os.Geteuid() != 0 { // root's word for a path says nothing of who can change it
		if uid, err = As(at.first()); err != nil {
			return r, c, err
		}
	}
	if r, err = privsep.Ask[Runner](ctx, &f.Helpers, uid, "look", at); err != nil {
		return Runner{}, c, err
	}
	if r.Registration != "" && !filepath.IsAbs(r.Registration) {
		return Runner{}, c, fmt.Errorf("a process of user %d names no full path of the registration", uid)
	}
	c, err = r.parse(at.Config)
	return r, c, err
}

// parse returns the configuration of a runner.
func (r Runner) parse(file string) (config.Config, error) {
	c, err := config.Parse(r.Text)
	if err != nil {
		return c, fmt.Errorf("read %q: %.200q", file, err)
	}
	if r.Identity != nil {
		_ = c.ReadRegistration(r.Identity) // one that is none gives no name
	}
	return c, nil
}

func look(at Place) (r Runner, err error) {
	if at.Config == "" {
		r.Text = []byte("{}")
	} else if r.Text, r.Changed, err = readFile(at.Config); err != nil {
		return r, err
	} else {
		r.ReadOnly, _ = readOnly(filepath.Dir(resolveLinks(at.Config)))
	}
	c, err := config.Parse(r.Text)
	if err != nil {
		return r, fmt.Errorf("read %q: %.200q", at.Config, err)
	}
	if c.Connected { // it is in the configuration itself
		r.Registration, r.Registered = resolveLinks(at.Config), true
		return r, nil
	}
	file := c.Registration
	if !filepath.IsAbs(file) {
		file = filepath.Join(at.Dir, file)
	}
	r.Registration = resolveLinks(file)
	data, _, err := readFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil: // it is there; its labels are for runners without any in config.yaml
		r.Registered = true
		return r, nil
	}
	r.Identity, err = config.WithoutToken(data)
	r.Registered = err == nil
	return r, nil
}

// ReadOnly reports whether nobody can change anything in a directory, since its file system
// is mounted so.
func (f *Files) ReadOnly(ctx context.Context, dir string) bool {
	is, err := ask[bool](ctx, f, dir, "read-only", dir)
	return err == nil && is
}

func readOnly(dir string) (bool, error) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return err == nil && s.Flags&readOnlyFlag != 0, nil
}

// readOnlyFlag is ST_RDONLY of statfs(2).
const readOnlyFlag = 1

// Script returns the text of a shell script, read as the user uid; as -1, as whoever
// decides over it. It is "" for anything else.
func (f *Files) Script(ctx context.Context, uid int, path string) string {
	if uid < 1 || os.Geteuid() != 0 {
		var err error
		if uid, err = As(path); err != nil {
			return ""
		}
	}
	text, _ := privsep.Ask[string](ctx, &f.Helpers, uid, "script", path)
	return text
}

// UnitFiles returns the services in a directory of systemd's, as far as they can be read.
func (f *Files) UnitFiles(ctx context.Context, dir string) map[string]string {
	all, _ := ask[map[string]string](ctx, f, dir, "units", dir)
	return all
}

// maxUnits bounds the services that are read of one directory.
const maxUnits = 200

func unitFiles(dir string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.service"))
	all := map[string]string{}
	for _, path := range paths[:min(len(paths), maxUnits)] {
		if data, err := safefile.Read(path, maxScript); err == nil {
			all[filepath.Base(path)] = string(data)
		}
	}
	return all, err
}

// maxScript bounds what is read of a script.
const maxScript = 64 << 10

func script(path string) (string, error) {
	data, err := safefile.Read(path, 256)
	if err != nil || !runner.IsShellScript(data) {
		return "", err
	}
	data, err = safefile.Read(path, maxScript)
	return string(data), err
}

// Status returns the state of a runner's directory: missing, unregistered or registered.
func (f *Files) Status(ctx context.Context, dir string) string {
	if s, err := ask[string](ctx, f, dir, "status", dir); err == nil &&
		slices.Contains([]string{"unregistered", "registered"}, s) {
		return s
	}
	return "missing"
}

func status(dir string) (string, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "missing", nil
	}
	if r, err := look(Place{dir, filepath.Join(dir, "config.yaml")}); err == nil {
		if r.Registered {
			return "registered", nil
		}
		return "unregistered", nil
	}
	if info, err := os.Stat(filepath.Join(dir, ".runner")); err == nil && info.Mode().IsRegular() {
		return "registered", nil // the runner needs no config.yaml
	}
	return "unregistered", nil
}

// RegistrationIn reads the registration of a runner from the first of paths, files or
// directories that may have it, such as the mounts of a container; false if none can be
// read.
func (f *Files) RegistrationIn(ctx context.Context, paths []string) (config.Registration, bool) {
	for _, p := range paths {
		if r, err := ask[config.Registration](ctx, f, p, "registration", p); err == nil && r.ID > 0 {
			return r, true
		}
	}
	return config.Registration{}, false
}

// HasRegistration reports whether one of paths is, or directly has, a registration.
func (f *Files) HasRegistration(ctx context.Context, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		has, err := ask[bool](ctx, f, p, "has-registration", p)
		return err == nil && has
	})
}

func hasRegistration(path string) (bool, error) {
	for _, file := range []string{path, filepath.Join(path, ".runner")} {
		if data, _, err := readFile(file); err == nil && filepath.Base(file) == ".runner" {
			if is, err := config.WithoutToken(data); err == nil && len(is) > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

func registrationIn(path string) (config.Registration, error) {
	for _, file := range []string{path, filepath.Join(path, ".runner")} {
		if data, _, err := readFile(file); err == nil {
			if r, err := config.ParseRegistration(data); err == nil {
				return r, nil
			}
		}
	}
	return config.Registration{}, fs.ErrNotExist
}

// Resolve returns a path that is equal for two names of one file: a daemon that is known by
// the name of a link must not get a second one beside it. One that cannot be followed stays
// as it is.
func (f *Files) Resolve(ctx context.Context, path string) string {
	if !filepath.IsAbs(path) {
		return path
	}
	if real, err := ask[string](ctx, f, path, "resolve", path); err == nil && filepath.IsAbs(real) {
		return real
	}
	return path
}

func resolve(path string) (string, error) { return resolveLinks(path), nil }

func resolveLinks(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil && path != "" {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

// Different reports whether two paths exist and name different files.
func (f *Files) Different(ctx context.Context, a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	one, err := ask[Identity](ctx, f, a, "identity", a)
	if err != nil {
		return false
	}
	other, err := ask[Identity](ctx, f, b, "identity", b)
	return err == nil && one != other
}

// Identity tells a file from all others.
type Identity struct{ Device, Inode uint64 }

func identity(path string) (Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Identity{}, err
	}
	return identityOf(info), nil
}

func identityOf(info fs.FileInfo) Identity {
	s := info.Sys().(*syscall.Stat_t)
	return Identity{s.Dev, s.Ino}
}

// Owner returns the owner of a runner's directory, who must be the one who can change what
// the path leads to: a unit would run as him what somebody else puts there.
func (f *Files) Owner(ctx context.Context, dir string) (int, error) {
	if os.Geteuid() != 0 { // changes nothing that is not this user's
		info, err := os.Stat(dir)
		if err != nil {
			return 0, err
		}
		return owner(info), nil
	}
	decider, err := privsep.Decider(dir)
	if err != nil {
		return 0, err
	}
	if decider == privsep.Nobody {
		return 0, errors.New("all users can change what this path leads to; put it where only root and its user can")
	}
	if decider == 0 { // and nobody else can change what is in it
		return 0, install.CheckOwners(dir, 0)
	}
	uid, err := privsep.Ask[int](ctx, &f.Helpers, decider, "owner", dir)
	if err == nil && uid != decider {
		err = fmt.Errorf("it leads to a directory of user %d, but user %d can change where it leads", uid, decider)
	}
	return decider, err
}

func ownerAt(dir string) (int, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return 0, err
	}
	return owner(info), nil
}

// Text reads a file as the user uid; as -1, as whoever decides over it.
func (f *Files) Text(ctx context.Context, uid int, path string, most int64) (_ []byte, err error) {
	if uid < 1 || os.Geteuid() != 0 {
		if uid, err = As(path); err != nil {
			return nil, err
		}
	}
	return privsep.Ask[[]byte](ctx, &f.Helpers, uid, "read", span{path, most})
}

type span struct {
	Path string
	Most int64
}

// readText reads a file. Its errors do not repeat the path.
func readText(q span) ([]byte, error) {
	data, err := safefile.Read(q.Path, q.Most)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return data, err
}

// Program returns the first of the paths that is an executable file; "" for none.
func (f *Files) Program(ctx context.Context, paths []string) string {
	for _, path := range paths {
		if is, err := ask[bool](ctx, f, path, "program", path); err == nil && is {
			return path
		}
	}
	return ""
}

func program(path string) (bool, error) {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0, nil
}

// Exists reports whether there is something at a path, or that is not known.
func (f *Files) Exists(ctx context.Context, path string) bool {
	_, err := ask[Identity](ctx, f, path, "identity", path)
	return !errors.Is(err, fs.ErrNotExist)
}

// CheckPlace refuses a path for the directory of a user's runner at which anybody else, but
// root, could make or change something. A directory that exists has to be the user's.
func (f *Files) CheckPlace(ctx context.Context, dir string, uid int) error {
	_, err := privsep.Ask[none](ctx, &f.Helpers, uid, "place", placeOf{dir, uid})
	return err
}

type placeOf struct {
	Dir string
	UID int
}

func place(q placeOf) (none, error) {
	return none{}, cmp.Or(CheckPlace(q.Dir, q.UID), install.CheckOwners(q.Dir, q.UID))
}

// CheckOwners refuses a path at which others than root and the user could change something.
func (f *Files) CheckOwners(ctx context.Context, path string, uid int) error {
	_, err := privsep.Ask[none](ctx, &f.Helpers, uid, "owners", placeOf{path, uid})
	return err
}

func owners(q placeOf) (none, error) { return none{}, install.CheckOwners(q.Dir, q.UID) }

// edit is the exchange of a text.
type edit struct {
	Path, Kept string
	Was, Is    []byte
}

// Replace does what the function Replace does, as whoever decides over the path.
func (f *Files) Replace(ctx context.Context, path, kept string, was, is []byte) error {
	_, err := ask[none](ctx, f, path, "replace", edit{path, kept, was, is})
	return err
}

func replace(e edit) (none, error) { return none{}, Replace(e.Path, e.Kept, e.Was, e.Is) }

// Restore does what the function Restore does, as whoever decides over the path.
func (f *Files) Restore(ctx context.Context, path, kept string, was, is []byte) error {
	_, err := ask[none](ctx, f, path, "restore", edit{path, kept, was, is})
	return err
}

func restore(e edit) (none, error) { return none{}, Restore(e.Path, e.Kept, e.Was, e.Is) }

// newDir is the directory of a runner to be made, or one that was.
type newDir struct {
	Dir    string
	Config []byte
	Is     Identity

	Registration []byte
}

// Make makes the directory of a runner of the user, who alone may access it, and returns
// what Remove needs.
func (f *Files) Make(ctx context.Context, uid int, dir string, config []byte) (Identity, error) {
	return privsep.Ask[Identity](ctx, &f.Helpers, uid, "make", newDir{Dir: dir, Config: config})
}

func makeDir(q newDir) (Identity, error) {
	made, err := Make(q.Dir, os.Geteuid(), os.Getegid(), q.Config)
	if err != nil {
		return Identity{}, err
	}
	return identityOf(made.info), nil
}

// Remove removes a directory that Make has made, with all that it contains by now. It is
// not an error if it does not exist.
func (f *Files) Remove(ctx context.Context, uid int, dir string, is Identity) error {
	_, err := privsep.Ask[none](ctx, &f.Helpers, uid, "remove", newDir{Dir: dir, Is: is})
	return err
}

// Register creates the registration file of a runner in a directory that Make has made.
func (f *Files) Register(ctx context.Context, uid int, dir string, is Identity, registration []byte) error {
	_, err := privsep.Ask[none](ctx, &f.Helpers, uid, "register", newDir{Dir: dir, Is: is, Registration: registration})
	return err
}

func remove(q newDir) (none, error) { return none{}, removeMade(q.Dir, q.Is) }

// Jobs returns the jobs' directories below parent: those in which, by users, a process
// works, and those in which none does and nothing has changed lately. An error means that
// there may be more of either.
func (f *Files) Jobs(ctx context.Context, parent string, now time.Time, users func(dir string) ([]int, error),
) (active []string, left []runner.JobDir, err error) {
	l, err := ask[jobList](ctx, f, parent, "jobs", parent)
	if err != nil || l.Dir == "" {
		return nil, nil, err
	}
	if !filepath.IsAbs(l.Dir) || len(l.Jobs) > most {
		return nil, nil, fmt.Errorf("the list of jobs in %q is invalid", parent)
	}
	if l.Unseen != "" {
		err = errors.New(l.Unseen)
	}
	for _, j := range l.Jobs {
		if strings.Contains(j.Name, "/") {
			continue
		}
		path := filepath.Join(l.Dir, j.Name)
		switch pids, seeErr := users(path); {
		case errors.Is(seeErr, fs.ErrNotExist): // its job has ended since the list
		case seeErr != nil:
			err = seeErr
		case len(pids) > 0:
			active = append(active, path)
		case now.Sub(j.Changed) >= settled:
			left = append(left, runner.JobDir{Path: path, Changed: j.Changed})
		}
	}
	return active, left, err
}
