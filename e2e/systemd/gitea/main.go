// Command gitea is the way from a machine without a network to its Gitea: it listens
// on 127.0.0.1:3000 and hands all requests on to the socket /gitea.sock.
//
// With a method and a path of the API as arguments it is a client of it instead,
// with the token of the file /srv/gitea/token.
//
// A file "fails" has lines of a method, a path's beginning and a status, by which such
// requests fail before the server sees them. The method REPLY loses the reply.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
)

func main() {
	if len(os.Args) == 3 {
		request(os.Args[1], os.Args[2])
		return
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "gitea"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", "/gitea.sock")
	}}
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := failing(r.Method, r.URL.Path); status != 0 {
			http.Error(w, "it fails: "+r.Header.Get("Authorization"), status)
			return
		}
		if failing("REPLY", r.URL.Path) != 0 {
			w = lost{w}
		}
		proxy.ServeHTTP(w, r)
	})))
}

// lost ends the connection instead of a reply.
type lost struct{ http.ResponseWriter }

func (lost) WriteHeader(int) { panic(http.ErrAbortHandler) }

// failing is the status by which a request is to fail, or 0.
func failing(method, path string) int {
	data, _ := os.ReadFile("fails")
	for line := range strings.Lines(string(data)) {
		var m, begins string
		var status int
		if n, _ := fmt.Sscan(line, &m, &begins, &status); n == 3 && m == method && strings.HasPrefix(path, begins) {
			return status
		}
	}
	return 0
}

func request(method, path string) {
	token, err := os.ReadFile("/srv/gitea/token")
	if err != nil {
		log.Fatal(err)
	}
	r, err := http.NewRequest(method, "http://127.0.0.1:3000/api/v1"+path, nil)
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Authorization", "token "+strings.TrimSpace(string(token)))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil || answer.StatusCode/100 != 2 {
		log.Fatal(answer.Status, err)
	}
}
