package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/client"
)

// ErrUsage marks an environment in which no Docker daemon can be reached, so that
// trying again does not help.
var ErrUsage = errors.New("wrong settings for Docker")

// ErrNoDaemon means that nothing listens at the daemon's address.
var ErrNoDaemon = errors.New("no Docker daemon")

// Unusable is the error of a daemon that cannot be used, and what helps.
type Unusable struct {
	What, Fix string
	kind      error
}

func (u *Unusable) Error() string { return u.What + "; " + u.Fix }
func (u *Unusable) Unwrap() error { return u.kind }

// unusable returns the error of settings with which no daemon can be used.
func unusable(fix, format string, args ...any) error {
	return &Unusable{fmt.Sprintf(format, args...), fix, ErrUsage}
}

// explain adds to the error of a daemon that cannot be reached what to do about it.
// To the client a socket without permission is a failed connection as well, so
// permission is tested first.
func (e *Engine) explain(err error) error {
	at, err := e.at, error(brief{err})
	switch {
	case errors.Is(err, os.ErrPermission):
		what, fix := at.noPermission()
		return &Unusable{what, fix, os.ErrPermission}
	case errors.Is(err, context.DeadlineExceeded):
		return &Unusable{fmt.Sprintf("the Docker daemon at %q did not answer in time", at.host),
			"is it hung? See its log, or " + at.fix(), nil}
	}
	if what, fix := at.explainTLS(err); what != "" {
		return unusable(fix, "%s", what)
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return &Unusable{fmt.Sprintf("%s at %s: the name %.100q has no address", ErrNoDaemon, at, unknown.Name),
			"correct it, or the host's DNS", ErrNoDaemon}
	}
	if client.IsErrConnectionFailed(err) {
		fix := "start it, or " + at.fix()
		if other := at.otherSocket(); other != "" {
			fix = fmt.Sprintf("start it, or set DOCKER_HOST=unix://%s, where one may listen", other)
		}
		return &Unusable{fmt.Sprintf("%s at %s", ErrNoDaemon, at), fix, ErrNoDaemon}
	}
	return fmt.Errorf("ask the Docker daemon at %q: %w", at.host, err)
}

// explainTLS returns what is wrong with the encryption, and what helps; "" if nothing is.
func (at endpoint) explainTLS(err error) (what, fix string) {
	const daemon = "the Docker daemon at %s "
	text := err.Error()
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case at.tls == nil && !at.socket() && wantsTLS(text):
		what, fix = fmt.Sprintf(daemon+"wants TLS, and none is set", at),
			"set DOCKER_TLS_VERIFY=1, with ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH or ~/.docker"
		if at.named {
			fix = at.certFix()
		}
	case at.tls == nil:
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record),
		strings.Contains(text, "HTTP response to HTTPS client"):
		what, fix = fmt.Sprintf(daemon+"does not speak TLS", at),
			"unset DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH, or give the port that does"
		if at.named {
			fix = "give the context the port that does, or create it without certificates"
		}
	case errors.As(err, &unknown):
		what = fmt.Sprintf(daemon+"has a certificate of another authority than %s", at, at.authority())
		fix = "put the daemon's own ca.pem there; if it should be that one, another server answers at this address"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what, fix = at.expired(daemon, invalid.Cert)
	case errors.As(err, &name):
		what = fmt.Sprintf(daemon+"has a certificate for another name: %.200q", at, name.Error())
		fix = "use one of its names, or give the daemon a certificate for this one"
	case errors.As(err, &invalid):
		what = fmt.Sprintf(daemon+"has a certificate that is not valid: %.200q", at, invalid.Error())
		fix = "give the daemon another one"
	case strings.Contains(text, "remote error: tls:"):
		_, alert, _ := strings.Cut(text, "remote error: tls: ")
		return at.explainAlert(alert)
	}
	return what, fix
}

// wantsTLS reports whether an answer is that of a server that was asked without TLS: Go's
// and nginx's have words for it, others send the alert.
func wantsTLS(text string) bool {
	return strings.Contains(text, "HTTP request to an HTTPS server") ||
		strings.Contains(text, "plain HTTP request was sent to HTTPS port") ||
		strings.Contains(text, `malformed HTTP response "\x15\x03`)
}

// authority describes whose certificates are accepted.
func (at endpoint) authority() string {
	if at.tls.RootCAs == nil {
		return "those of this host"
	}
	return fmt.Sprintf("%q", filepath.Join(at.certs, "ca.pem"))
}

func (at endpoint) expired(daemon string, cert *x509.Certificate) (what, fix string) {
	if time.Now().Before(cert.NotBefore) {
		return fmt.Sprintf(daemon+"has a certificate (%.60q) that is valid only from %s on", at,
			cert.Subject.CommonName, cert.NotBefore.UTC().Format(time.DateTime)), "set this host's clock"
	}
	return fmt.Sprintf(daemon+"has a certificate (%.60q) that has expired on %s", at, cert.Subject.CommonName,
		cert.NotAfter.UTC().Format(time.DateOnly)), "renew the daemon's certificates, and copy its ca.pem here"
}

// explainAlert explains why the daemon has ended the handshake: because of this side's
// certificate.
func (at endpoint) explainAlert(alert string) (what, fix string) {
	const daemon = "the Docker daemon at %s "
	if len(at.tls.Certificates) == 0 {
		return fmt.Sprintf(daemon+"wants a certificate of its client, and %q has none", at, at.certs), at.certFix()
	}
	file := filepath.Join(at.certs, "cert.pem")
	if leaf := at.tls.Certificates[0].Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		return fmt.Sprintf(daemon+"refuses the certificate %q, which has expired on %s", at, file,
			leaf.NotAfter.UTC().Format(time.DateOnly)), "make a new one"
	}
	return fmt.Sprintf(daemon+"refuses the certificate %q: %.60q", at, file, alert),
		"make one by the authority that the daemon has as --tlscacert"
}

// noPermission returns why this user may not use the daemon's socket, and what helps.
func (at endpoint) noPermission() (what, fix string) {
	path := at.path()
	what = fmt.Sprintf("no permission for the Docker socket %q", at.host)
	if other := at.otherSocket(); other != "" {
		fix = fmt.Sprintf("for the one of this user set DOCKER_HOST=unix://%s; else ", other)
	}
	info, err := os.Stat(path)
	if err != nil { // the directory is closed
		return what, fix + at.closedDirectory(path)
	}
	owner := info.Sys().(*syscall.Stat_t)
	gid, me := int(owner.Gid), userName()
	group := strconv.Itoa(gid)
	known, err := user.LookupGroupId(group)
	switch {
	case info.Mode().Perm()&0o020 == 0 || gid == 0:
		fix += at.withoutGroup(path, owner.Uid, me)
		if gid == 0 && info.Mode().Perm()&0o020 != 0 {
			fix += "; in a container: docker run --group-add 0"
		}
		return what, fix
	case err != nil: // as in a container
		return what, fix + fmt.Sprintf("add this user to the group %d that owns it; in a container: docker run "+
			"--group-add %d", gid, gid)
	}
	groups, _ := os.Getgroups()
	if slices.Contains(groups, gid) {
		return what, fix + fmt.Sprintf("this user is in its group %q: see what else denies it, such as AppArmor or "+
			"SELinux", known.Name)
	}
	if u, err := user.Current(); err == nil {
		if ids, err := u.GroupIds(); err == nil && slices.Contains(ids, group) {
			return what, fix + fmt.Sprintf("this process was started before %s joined the group %q: log in again, and "+
				"restart the service of the runner", me, known.Name)
		}
	}
	return what, fix + fmt.Sprintf("sudo usermod -aG %s %s, then log in again, and restart the service of the runner",
		known.Name, me)
}

// withoutGroup returns what helps with a socket that only its owner may use.
func (at endpoint) withoutGroup(path string, owner uint32, me string) string {
	switch {
	case strings.Contains(path, "podman"):
		return "use this user's own Podman: systemctl --user enable --now podman.socket, and set " +
			"DOCKER_HOST=unix://$XDG_RUNTIME_DIR/podman/podman.sock"
	case owner != 0:
		return fmt.Sprintf("it is of user %d alone: run it as that user", owner)
	case at.hasSnap():
		return fmt.Sprintf("Docker's snap has no group of its own: sudo groupadd --system docker; sudo usermod -aG "+
			"docker %s; sudo snap disable docker; sudo snap enable docker; then log in again", me)
	}
	return fmt.Sprintf("it is root's alone: sudo groupadd --system docker; sudo usermod -aG docker %s; "+
		"sudo systemctl restart docker.socket docker; then log in again", me)
}

// closedDirectory returns what helps with a socket in a directory of another user's, as
// that of rootless Docker is.
func (at endpoint) closedDirectory(path string) string {
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil {
			return fmt.Sprintf("its directory %q is of user %d: run it as that user", dir,
				info.Sys().(*syscall.Stat_t).Uid)
		}
	}
	return "open its directory to this user"
}

// otherSocket returns a socket of this user's, or Podman's, where the usual one cannot be
// used and nobody has chosen it.
func (at endpoint) otherSocket() string {
	if at.by != "" {
		return ""
	}
	return at.first("run/user/"+strconv.Itoa(os.Geteuid())+"/docker.sock",
		"run/user/"+strconv.Itoa(os.Geteuid())+"/podman/podman.sock", "run/podman/podman.sock")
}

// firstSocket returns the address that a runner finds by itself, or "".
func (at endpoint) firstSocket() string {
	own := "run/user/" + strconv.Itoa(os.Geteuid())
	path := at.first("var/run/docker.sock", "run/podman/podman.sock", own+"/docker.sock", own+"/podman/podman.sock")
	if path == "" {
		return ""
	}
	return "unix://" + path
}

// first returns the first of these sockets that exists.
func (at endpoint) first(sockets ...string) string {
	for _, path := range sockets {
		path = filepath.Join("/", at.root, path)
		if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
			return path
		}
	}
	return ""
}

// hasSnap reports whether Docker's snap is installed.
func (at endpoint) hasSnap() bool {
	_, err := os.Lstat(filepath.Join("/", at.root, "var/snap/docker"))
	return err == nil
}

// userName returns the name of this user, or his number.
func userName() string {
	if me, err := user.Current(); err == nil && me.Username != "" {
		return me.Username
	}
	return strconv.Itoa(os.Geteuid())
}
