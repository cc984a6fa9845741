package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/client"
)

// endpoint is where a daemon is reached.
type endpoint struct {
	host string      // unix:///path or tcp://address:port
	tls  *tls.Config // nil without TLS

	by    string // what names the host, such as DOCKER_HOST; "" for the usual socket
	named bool   // that is a context
	certs string // the directory of the certificates, or where they would be
	env   bool   // variables choose TLS
	root  string // in tests, before /run and /var
}

const (
	usualSocket = "unix://" + "/var/run/docker.sock"
	tcpPort     = "2375" // of the docker command, with TLS too
	tlsHost     = "tcp://localhost:2376"
)

// findEndpoint finds the daemon as the docker command does: DOCKER_HOST, else the context of
// DOCKER_CONTEXT, else that of its configuration, else the usual socket.
func findEndpoint(ctx context.Context, getenv func(string) string) (endpoint, error) {
	files := &files{dir: configDir(getenv)}
	defer files.helpers.Close()
	at := endpoint{host: strings.TrimSpace(getenv(client.EnvOverrideHost))}
	if at.host == "" {
		name, by, err := files.context(ctx, getenv)
		if err != nil {
			return at, err
		}
		if name != "" {
			return files.endpoint(ctx, name, by)
		}
	} else {
		at.by = "DOCKER_HOST"
	}
	verify := getenv(client.EnvTLSVerify) != ""
	at.env = verify || getenv("DOCKER_TLS") != "" || getenv(client.EnvOverrideCertPath) != ""
	if at.host == "" {
		at.host = usualSocket
		if verify || getenv("DOCKER_TLS") != "" {
			at.host, at.by = tlsHost, "DOCKER_TLS_VERIFY"
		}
	}
	if err := at.normalize(); err != nil {
		return at, err
	}
	at.certs = files.dir
	if dir := getenv(client.EnvOverrideCertPath); dir != "" {
		at.certs = dir
	}
	if at.env && !at.socket() {
		return at, at.loadTLS(ctx, files, verify)
	}
	return at, nil
}

// String describes the endpoint.
func (at endpoint) String() string {
	if at.named {
		return fmt.Sprintf("%q, of %s", at.host, at.by)
	}
	return fmt.Sprintf("%q", at.host)
}

// fix returns how to choose another daemon.
func (at endpoint) fix() string {
	if at.named {
		return "choose another by docker context use, or set DOCKER_HOST"
	}
	return "set DOCKER_HOST"
}

func (at endpoint) socket() bool { return strings.HasPrefix(at.host, "unix://") }

// path returns the socket's path.
func (at endpoint) path() string { return strings.TrimPrefix(at.host, "unix://") }

// CheckSame fails if a runner that uses host has its containers on another daemon. A runner
// without one, or with "-", knows no contexts: it uses the first usual socket that exists.
func (e *Engine) CheckSame(host string) error {
	if host == "-" || host == "" {
		if host = e.at.firstSocket(); host == "" || !e.at.named {
			return nil
		}
	}
	there := endpoint{host: host, by: "its docker_host"}
	if err := there.normalize(); err != nil {
		return err
	}
	if there.host == e.at.host || there.socket() && e.at.socket() && sameFile(there.path(), e.at.path()) {
		return nil
	}
	return unusable("set DOCKER_HOST="+there.host, "the runner's containers are on the Docker daemon at %q, and this "+
		"command asks the one at %s", there.host, e.at)
}

// sameFile reports whether two paths lead to one file, as /run and /var/run do.
func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// normalize completes the host as the docker command does, and refuses one at which no
// daemon can be reached.
func (at *endpoint) normalize() error {
	if _, port, err := net.SplitHostPort(at.host); err == nil && strings.Trim(port, "0123456789") == "" {
		at.host = "tcp://" + at.host
	}
	scheme, rest, found := strings.Cut(at.host, "://")
	u, err := url.Parse(at.host)
	switch {
	case err == nil && u.User != nil && scheme != "ssh": // not printed: it contains a password
		return unusable("use tcp://address:port", "%s holds a user or a password, which no Docker daemon asks for",
			at.name())
	case scheme == "ssh":
		return unusable("run hostguard on that host, or give unix:// or tcp://",
			"%s=%q: ssh needs the docker command's connection helper", at.name(), sshHost(u, err))
	case scheme == "unix" && rest == "":
		at.host = usualSocket
	case scheme == "unix" && !strings.HasPrefix(rest, "/"), scheme != "unix" && scheme != "tcp", !found:
		return unusable("use unix:///path or tcp://address:port", "%s=%q is no address of a Docker daemon", at.name(),
			at.host)
	case scheme == "tcp":
		if err != nil {
			return unusable("use tcp://address:port", "%s=%q: %.200q", at.name(), at.host, errors.Unwrap(err))
		}
		name, port := u.Hostname(), u.Port()
		if name == "" {
			name = "localhost"
		}
		if port == "" {
			port = tcpPort
		}
		at.host = "tcp://" + net.JoinHostPort(name, port) + u.Path
	}
	return nil
}

// name returns what names the host, as a name before its value.
func (at endpoint) name() string {
	if at.by == "" {
		return "DOCKER_HOST"
	}
	return at.by
}

// sshHost returns an ssh:// address without a password.
func sshHost(u *url.URL, err error) string {
	if err != nil {
		return "ssh://"
	}
	return u.Redacted()
}

// loadTLS reads the certificates of a directory: ca.pem, cert.pem, key.pem.
func (at *endpoint) loadTLS(ctx context.Context, files *files, verify bool) error {
	at.tls = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !verify}
	read := func(name string, needed bool) ([]byte, error) {
		data, _, err := files.read(ctx, filepath.Join(at.certs, name))
		if err == nil || !needed && errors.Is(err, fs.ErrNotExist) {
			return data, nil
		}
		return nil, err
	}
	fail := func(name string, err error) error {
		return unusable(at.certFix(), "the certificates for the Docker daemon at %s: %q: %.200q", at,
			filepath.Join(at.certs, name), reasonOf(err))
	}
	if verify {
		ca, err := read("ca.pem", at.env)
		if err != nil {
			return fail("ca.pem", err)
		}
		if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(ca) {
			at.tls.RootCAs = pool
		} else if len(ca) > 0 || at.env {
			return fail("ca.pem", errors.New("it holds no certificate"))
		}
	}
	cert, err := read("cert.pem", false)
	if err != nil {
		return fail("cert.pem", err)
	}
	key, err := read("key.pem", cert != nil)
	if err != nil {
		return fail("key.pem", err)
	}
	if cert == nil {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fail("cert.pem", err)
	}
	at.tls.Certificates = []tls.Certificate{pair}
	return nil
}

// certFix returns where the certificates belong.
func (at endpoint) certFix() string {
	if at.env {
		return "put ca.pem, cert.pem and key.pem of the daemon there, or set DOCKER_CERT_PATH to their directory"
	}
	return "create the context again, by docker context create NAME --docker host=…,ca=…,cert=…,key=…"
}

// reasonOf returns an error without the path, which the message has.
func reasonOf(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
