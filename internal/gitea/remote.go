package gitea

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"hostguard/internal/hexid"
)

// Remote is a parsed URL of a git remote. It prints without its token.
type Remote struct {
	Server     string // scheme://host[:port][/path], "" where git does not speak HTTP
	Host       string
	Repository string // OWNER/NAME
	Token      Token
}

// Token is a secret that no format prints.
type Token struct{ secret string }

func NewToken(secret string) Token { return Token{secret} }

func (Token) Format(f fmt.State, _ rune)   { fmt.Fprint(f, "[token]") }
func (Token) MarshalText() ([]byte, error) { return []byte("[token]"), nil }

// Given reports whether t is not empty.
func (t Token) Given() bool { return t.secret != "" }

var errRemote = errors.New("not the URL of a repository; it must be like https://HOST/OWNER/NAME")

// ParseRemote reads the URL of a git remote. Its errors do not repeat the URL:
// there may be a token in it.
func ParseRemote(raw string) (Remote, error) {
	if !strings.Contains(raw, "://") { // git@host:owner/name
		host, path, found := strings.Cut(raw, ":")
		if !found || strings.Contains(host, "/") {
			return Remote{}, errRemote
		}
		raw = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return Remote{}, errRemote
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	parts := strings.Split(path, "/")
	if len(parts) < 2 || parts[len(parts)-1] == "" || parts[len(parts)-2] == "" {
		return Remote{}, errRemote
	}
	n := len(parts) - 2
	r := Remote{Host: u.Host, Repository: strings.Join(parts[n:], "/")}
	if u.Scheme == "http" || u.Scheme == "https" {
		server := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.Join(parts[:n], "/")}
		r.Server = strings.TrimSuffix(server.String(), "/")
		if u.User != nil {
			r.Token = tokenOf(u.User)
		}
	}
	return r, nil
}

// tokenLength is the length of a Gitea's access token, in hexadecimal digits.
const tokenLength = 40

// tokenOf returns the token before the host of a URL: the password, or the user where
// that is one. A user's name alone is none, and what is public is read without.
func tokenOf(user *url.Userinfo) Token {
	password, _ := user.Password()
	switch {
	case password == "x-oauth-basic", password == "" && hexid.Is(user.Username(), tokenLength):
		return NewToken(user.Username())
	}
	return NewToken(password)
}
