package docker

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// signed is a certificate with its key.
type signed struct{ cert, key []byte }

func (s signed) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(s.cert, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-10 * 24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{parsed, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign makes a certificate for 127.0.0.1 that change has altered.
func (a authority) sign(t *testing.T, change func(*x509.Certificate)) signed {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "build.example"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if change != nil {
		change(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})}
}

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-24 * time.Hour) }

// tlsDaemon is a daemon with a certificate, which wants one of its clients if there is
// an authority for these. It returns HOST:PORT.
func tlsDaemon(t *testing.T, cert signed, clients []byte) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.45")
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert.pair(t)}}
	if clients != nil {
		server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		server.TLS.ClientCAs.AppendCertsFromPEM(clients)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func plainDaemon(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.45")
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// save writes files below a directory; nil is none.
func save(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if data == nil {
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, found := strings.CutPrefix(pair, name+"="); found {
				return value
			}
		}
		return ""
	}
}

// tlsCase is a daemon, the files of its client, and what becomes of them.
type tlsCase struct {
	at        string
	files     map[string][]byte
	env       string
	want, fix string // "" for success
}

// tlsCases returns cases with the variable verify, and with others.
func tlsCases(t *testing.T, verify string) map[string]tlsCase {
	t.Helper()
	ours, theirs := newAuthority(t, "our authority"), newAuthority(t, "their authority")
	client := ours.sign(t, nil)
	good, wide := tlsDaemon(t, ours.sign(t, nil), ours.pem), tlsDaemon(t, ours.sign(t, nil), nil)
	of := func(change func(*x509.Certificate)) string { return tlsDaemon(t, ours.sign(t, change), nil) }
	certs := func(ca []byte, s signed) map[string][]byte {
		return map[string][]byte{"ca.pem": ca, "cert.pem": s.cert, "key.pem": s.key}
	}
	mine, yesterday := certs(ours.pem, client), time.Now().Add(-24*time.Hour).UTC().Format(time.DateOnly)
	later := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }
	nameless := func(c *x509.Certificate) { c.IPAddresses = nil }
	useless := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }
	swapped := signed{client.cert, theirs.sign(t, nil).key}
	return map[string]tlsCase{
		"with certificates":               {at: good, files: mine, env: verify},
		"without one of its own":          {at: wide, files: certs(ours.pem, signed{}), env: verify},
		"not verified":                    {at: good, files: certs(theirs.pem, client), env: "DOCKER_TLS=1"},
		"by any value, as docker does it": {at: good, files: mine, env: "DOCKER_TLS_VERIFY=0"},
		"a plain client": {at: good, want: "wants TLS, and none is set",
			fix: "set DOCKER_TLS_VERIFY=1, with ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH or ~/.docker"},
		"a plain daemon": {at: plainDaemon(t), files: mine, env: verify, want: "does not speak TLS",
			fix: "unset DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH, or give the port that does"},
		"another authority": {at: good, files: certs(theirs.pem, client), env: verify,
			want: "has a certificate of another authority than", fix: "put the daemon's own ca.pem there"},
		"expired": {at: of(expired), files: mine, env: verify, fix: "renew the daemon's certificates",
			want: `has a certificate ("build.example") that has expired on ` + yesterday},
		"not valid yet": {at: of(later), files: mine, env: verify, want: "valid only from",
			fix: "set this host's clock"},
		"for another name": {at: of(nameless), files: mine, env: verify, want: "has a certificate for another name",
			fix: "use one of its names"},
		"for another use": {at: of(useless), files: mine, env: verify, want: "is not valid",
			fix: "give the daemon another one"},
		"no certificate of its own": {at: good, files: certs(ours.pem, signed{}), env: verify,
			want: "wants a certificate of its client, and", fix: "put ca.pem, cert.pem and key.pem of the daemon"},
		"its own is refused": {at: good, files: certs(ours.pem, theirs.sign(t, nil)), env: verify,
			want: `refuses the certificate`, fix: "make one by the authority that the daemon has as --tlscacert"},
		"its own has expired": {at: good, files: certs(ours.pem, ours.sign(t, expired)), env: verify,
			want: "which has expired on", fix: "make a new one"},
		"no files": {at: good, env: verify, want: `ca.pem": "no such file or directory"`, fix: "put ca.pem"},
		"no key": {at: good, files: certs(ours.pem, signed{cert: client.cert}), env: verify,
			want: `key.pem": "no such file or directory"`, fix: "put ca.pem"},
		"a key of another": {at: good, files: certs(ours.pem, swapped), env: verify,
			want: "private key does not match public key", fix: "put ca.pem"},
		"no PEM": {at: good, files: certs([]byte("x"), client), env: verify, want: "it holds no certificate",
			fix: "put ca.pem"},
		"too large": {at: good, files: certs(bytes.Repeat([]byte("x"), 10<<20), client), env: verify,
			want: "more than 1048576 bytes", fix: "put ca.pem"},
	}
}

// Before, DOCKER_TLS_VERIFY without DOCKER_CERT_PATH was ignored, and each of the failures
// was "no Docker daemon; start it".
func TestTLSByVariables(t *testing.T) {
	for name, c := range tlsCases(t, "DOCKER_TLS_VERIFY=1") {
		t.Run(name, func(t *testing.T) {
			for _, place := range []string{"~/.docker", "DOCKER_CONFIG", "DOCKER_CERT_PATH"} {
				home := t.TempDir()
				vars := []string{"HOME=" + home, "DOCKER_HOST=tcp://" + c.at, c.env}
				dir := filepath.Join(home, ".docker")
				if place != "~/.docker" {
					dir = filepath.Join(home, "certs")
				}
				if place != "~/.docker" && c.env != "" {
					vars = append(vars, place+"="+dir)
				}
				save(t, dir, c.files)
				e, err := Connect(t.Context(), env(vars...))
				if c.want != "" {
					refused(t, err, c.want, c.fix)
				} else if err != nil || e.API != "1.45" {
					t.Errorf("%s: %v", place, err)
				}
			}
		})
	}
}

// refused fails unless the error is that of wrong settings, with its fix, in one line.
func refused(t *testing.T, err error, want, fix string) {
	t.Helper()
	u, ok := errors.AsType[*Unusable](err)
	if !ok || !errors.Is(err, ErrUsage) || !strings.Contains(u.What, want) || !strings.HasPrefix(u.Fix, fix) ||
		strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("%v; want %q and the fix %q", err, want, fix)
	}
}

// A server that is not written in Go answers a plain request in its own way.
func TestOtherServersThatWantTLS(t *testing.T) {
	for name, answer := range map[string]string{
		"an alert": "\x15\x03\x01\x00\x02\x02\x16",
		"nginx": "HTTP/1.1 400 Bad Request\r\n\r\n" +
			"<center>The plain HTTP request was sent to HTTPS port</center>",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				request := make([]byte, 1024)
				n, _ := conn.Read(request)
				if head, _, found := strings.Cut(answer, "<"); found && bytes.HasPrefix(request[:n], []byte("HEAD")) {
					_, _ = io.WriteString(conn, head)
				} else {
					_, _ = io.WriteString(conn, answer)
				}
				conn.Close()
			}
		}()
		_, err = Connect(t.Context(), env("DOCKER_HOST=tcp://"+listener.Addr().String()))
		if err == nil || !strings.Contains(err.Error(), "wants TLS, and none is set") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The docker command does not encrypt a socket, whatever the variables are.
func TestASocketNeedsNoCertificates(t *testing.T) {
	e := listing(t, nil)
	vars := env("DOCKER_HOST="+e.Address(), "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=/nowhere")
	if _, err := Connect(t.Context(), vars); err != nil {
		t.Error(err)
	}
}
