package gitea

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The server's own user: it refuses to run as root.
const nobody = 65534

// limit is how long anything may take on a machine that is busy with other tests.
const limit = 2 * time.Minute

// password is that of every user.
const password = "rig-password"

// Server is a Gitea that runs.
type Server struct {
	URL   string // such as http://127.0.0.1:3000, without a slash at its end
	Admin *User  // the first user, root

	dir       string // everything it writes
	daemon    *exec.Cmd
	ended     chan error   // by daemon
	socket    net.Listener // or nil
	registers sync.Mutex   // one runner at a time
}

// Start starts a server with one user, who is its administrator.
func Start() (*Server, error) { return StartAt("") }

// StartAt starts a server that is known by another URL than its own, as behind a
// proxy: that of its pages and clones.
func StartAt(public string) (*Server, error) {
	program, err := Build()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "hggitea")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(program, public); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) start(program, public string) error {
	// The user nobody may not be able to read the checkout.
	copied := filepath.Join(s.dir, "program")
	if exec.Command("cp", "-rl", program, copied).Run() != nil { // another file system
		if out, err := exec.Command("cp", "-r", program, s.dir+"/program").CombinedOutput(); err != nil {
			return fmt.Errorf("copy Gitea: %w: %s", err, out)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	s.URL = "http://" + address
	listener.Close() // Gitea takes the port
	if public == "" {
		public = s.URL
	}
	if err := s.configure(address, public); err != nil {
		return err
	}
	if err := s.launch(); err != nil {
		return err
	}
	s.Admin = &User{Name: "root", server: s}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	create := s.command(ctx, "admin", "user", "create", "--admin", "--username", s.Admin.Name,
		"--password", password, "--email", "root@localhost", "--must-change-password=false")
	if out, err := create.CombinedOutput(); err != nil {
		return fmt.Errorf("create the administrator: %w: %s", err, out)
	}
	s.Admin.Token, err = s.Admin.NewToken("all")
	return err
}

// launch starts the server's process and waits until it answers.
func (s *Server) launch() error {
	s.daemon = s.command(context.Background(), "web")
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.daemon.Stdout, s.daemon.Stderr = log, log
	if err := s.daemon.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	go func(daemon *exec.Cmd, ended chan<- error) {
		ended <- daemon.Wait()
		close(ended)
	}(s.daemon, s.ended)
	if err := s.ready(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// Kill ends the server with SIGKILL; Restart starts it again on what it left.
func (s *Server) Kill() error {
	err := s.daemon.Process.Kill()
	<-s.ended
	return err
}

// Restart starts a server that was killed.
func (s *Server) Restart() error { return s.launch() }

// PID returns the process id of the server, until it is restarted.
func (s *Server) PID() int { return s.daemon.Process.Pid }

func (s *Server) configure(address, public string) error {
	_, port, _ := net.SplitHostPort(address)
	for _, name := range []string{"data", "repositories", "home"} {
		path := filepath.Join(s.dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := os.Chown(path, nobody, nobody); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	text := strings.NewReplacer("{dir}", s.dir, "{port}", port, "{url}", public).Replace(`RUN_USER = nobody
WORK_PATH = {dir}/home
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = {url}/
LOCAL_ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {dir}/program
APP_DATA_PATH = {dir}/data
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = {dir}/data/gitea.db
[repository]
ROOT = {dir}/repositories
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2$1$50
[service]
DISABLE_REGISTRATION = true
[oauth2]
ENABLED = false
[actions]
ENABLED = true
DEFAULT_ACTIONS_URL = self
[indexer]
ISSUE_INDEXER_TYPE = db
[queue]
TYPE = channel
[log]
LEVEL = error
`)
	// It keeps the secrets in it that it makes.
	file := filepath.Join(s.dir, "home", "app.ini")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Chown(file, nobody, nobody)
}

// command returns a command of the program, run as nobody.
func (s *Server) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(args, "--config", filepath.Join(s.dir, "home", "app.ini"))
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "program", "gitea"), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(s.dir, "home"), "USER=nobody"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

// ready waits until the server answers.
func (s *Server) ready() error {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-s.ended:
			return fmt.Errorf("the server has ended: %w", err)
		default:
		}
		answer, err := http.Get(s.URL + "/api/healthz")
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the server does not answer within %s", limit)
}

// Stop ends the server and removes what it has written.
func (s *Server) Stop() error {
	if s.socket != nil {
		s.socket.Close()
	}
	if s.daemon != nil && s.daemon.Process != nil {
		_ = s.daemon.Process.Kill()
		if s.ended != nil {
			<-s.ended
		}
	}
	return os.RemoveAll(s.dir)
}

// User makes a user, with a token that may do all that he may.
func (s *Server) User(name string, admin bool) (*User, error) {
	err := s.Admin.Call(http.MethodPost, "/admin/users", map[string]any{
		"username": name, "email": name + "@localhost.localdomain", "password": password, "must_change_password": false,
	}, nil)
	if err != nil {
		return nil, err
	}
	if admin {
		change := map[string]any{"source_id": 0, "login_name": name, "admin": true}
		if err := s.Admin.Call(http.MethodPatch, "/admin/users/"+name, change, nil); err != nil {
			return nil, err
		}
	}
	u := &User{Name: name, server: s}
	u.Token, err = u.NewToken("all")
	return u, err
}

// RegistrationToken returns a token for runners of the whole server.
func (s *Server) RegistrationToken() (string, error) {
	var answer struct{ Token string }
	err := s.Admin.Call(http.MethodPost, "/admin/actions/runners/registration-token", nil, &answer)
	return answer.Token, err
}

// RegisteredRunner is a runner as the server knows it.
type RegisteredRunner struct {
	ID       int64
	Name     string
	Status   string
	Busy     bool
	Disabled bool
	Labels   []struct{ Name string }
}

// Runners returns the runners that are registered with the whole server.
func (s *Server) Runners() ([]RegisteredRunner, error) {
	var answer struct{ Runners []RegisteredRunner }
	err := s.Admin.Call(http.MethodGet, "/admin/actions/runners", nil, &answer)
	return answer.Runners, err
}

// User is one of a server's.
type User struct {
	Name  string
	Token string

	server *Server
	web    *http.Client // that he has signed in with
}

// NewToken makes a token with these scopes, such as "read:repository".
func (u *User) NewToken(scopes ...string) (string, error) {
	var answer struct{ SHA1 string }
	request := map[string]any{"name": fmt.Sprint(time.Now().UnixNano()), "scopes": scopes}
	sign := func(r *http.Request) { r.SetBasicAuth(u.Name, password) }
	err := u.call(http.MethodPost, "/users/"+u.Name+"/tokens", request, &answer, sign)
	return answer.SHA1, err
}

// Call calls the API, with a path below /api/v1, and decodes its answer.
func (u *User) Call(method, path string, request, answer any) error {
	return u.call(method, path, request, answer, func(r *http.Request) { r.Header.Set("Authorization", "token "+u.Token) })
}

func (u *User) call(method, path string, request, answer any, sign func(*http.Request)) error {
	var body bytes.Buffer
	if request != nil {
		if err := json.NewEncoder(&body).Encode(request); err != nil {
			return err
		}
	}
	r, err := http.NewRequest(method, u.server.URL+"/api/v1"+path, &body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	sign(r)
	text, err := do(http.DefaultClient, r)
	if err != nil || answer == nil {
		return err
	}
	return decode(text, answer)
}

// decode puts an answer into a string as it is.
func decode(text []byte, answer any) error {
	if s, ok := answer.(*string); ok {
		*s = string(text)
		return nil
	}
	return json.Unmarshal(text, answer)
}

// do sends a request and fails unless its status is a success.
func do(client *http.Client, r *http.Request) ([]byte, error) {
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %s: %.500s", r.Method, r.URL.Path, response.Status, text)
	}
	return text, nil
}

// Web sends a request of a browser in which the user has signed in, with a path
// such as /wooo/site/actions/runs/1/cancel, and returns the page and its URL.
func (u *User) Web(method, path string) (page, at string, err error) {
	if u.web == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return "", "", err
		}
		client := &http.Client{Jar: jar}
		form := url.Values{"user_name": {u.Name}, "password": {password}}
		answer, err := client.PostForm(u.server.URL+"/user/login", form)
		if err != nil {
			return "", "", err
		}
		answer.Body.Close()
		if strings.HasSuffix(answer.Request.URL.Path, "/user/login") {
			return "", "", fmt.Errorf("%s cannot sign in: %s", u.Name, answer.Status)
		}
		u.web = client
	}
	r, err := http.NewRequest(method, u.server.URL+path, nil)
	if err != nil {
		return "", "", err
	}
	response, err := u.web.Do(r)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	return string(text), response.Request.URL.RequestURI(), err
}

// Socket returns the path of a socket that leads to the server, for machines without a
// network. It is there until the server is stopped.
func (s *Server) Socket() (string, error) {
	path := filepath.Join(s.dir, "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return "", err
	}
	s.socket = listener
	if err := os.Chmod(path, 0o666); err != nil {
		return "", err
	}
	address := strings.TrimPrefix(s.URL, "http://")
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go join(from, address)
		}
	}()
	return path, nil
}

// join copies what comes from a connection to an address, and back.
func join(from net.Conn, address string) {
	defer from.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(from, to)
}
