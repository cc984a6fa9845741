package gitea

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const registrationToken = "c0ffee-canary"

// runnerService is a server that answers so.
func runnerService(t *testing.T, answer http.HandlerFunc) Registration {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return Registration{Server: server.URL, Name: "host-awoooi", Labels: []string{"awoooi-host:host", "u:docker://a:b"}}
}

func TestRegistrationIsThatOfTheRunner(t *testing.T) {
	r := runnerService(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		want := map[string]any{"name": "host-awoooi", "token": registrationToken, "labels": []any{"awoooi-host", "u"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if r.URL.Path != registerPath || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s, %s", r.Method, r.URL, r.Header.Get("Content-Type"))
		}
		fmt.Fprint(w, `{"runner":{"id":"12","uuid":"5e-1","token":"own","name":"host-awoooi",`+
			`"labels":["awoooi-host","u"]}}`)
	})
	is, err := Register(t.Context(), r, NewToken(registrationToken))
	if err != nil || is.ID != 12 {
		t.Fatal(is, err)
	}
	data, err := is.File()
	if err != nil || strings.Contains(string(data), registrationToken) {
		t.Fatalf("%s %v", data, err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "WARNING")
	want := map[string]any{"id": 12.0, "uuid": "5e-1", "name": "host-awoooi", "token": "own", "address": r.Server,
		"labels": []any{"awoooi-host:host", "u:docker://a:b"}, "ephemeral": false}
	if diff := cmp.Diff(want, file); diff != "" {
		t.Error(diff)
	}
	if text := fmt.Sprintf("%v %+v %#v", is, is, is); strings.Contains(text, "own") {
		t.Errorf("it prints its token: %s", text)
	}
}

func TestServersThatDoNotRegister(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("it follows")
	}))
	defer elsewhere.Close()
	good := `{"runner":{"id":"12","uuid":"5e-1","token":"own","name":"host-awoooi"}}`
	for name, c := range map[string]struct {
		status       int
		answer, want string
	}{
		"refused": {500, `{"code":"unknown","message":"token ` + registrationToken + ` not found"}`,
			`it answers 500: token [token] not found`},
		"a page":           {502, "<html>\n::set-env name=x::y</html>", "it answers 502"},
		"redirects":        {307, elsewhere.URL, "redirects to another address (307)"},
		"endless":          {200, strings.Repeat(" ", maxAnswer+1), "more than"},
		"not JSON":         {200, "<html>" + registrationToken, "is not Gitea's"},
		"no ID":            {200, strings.Replace(good, "12", "0", 1), "is not Gitea's"},
		"another's name":   {200, strings.Replace(good, "awoooi", "ewoooc", 1), "is not Gitea's"},
		"no token":         {200, strings.Replace(good, "own", "", 1), "is not Gitea's"},
		"token with lines": {200, strings.Replace(good, "own", `a\nb`, 1), "is not Gitea's"},
		"huge UUID":        {200, strings.Replace(good, "5e-1", strings.Repeat("5", 300), 1), "is not Gitea's"},
		"another type":     {200, `{"runner":[1]}`, "is not Gitea's"},
		"cut":              {200, good[:len(good)-2], "is not Gitea's"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runnerService(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.status == 307 {
					w.Header().Set("Location", c.answer)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.answer)
			})
			is, err := Register(t.Context(), r, NewToken(registrationToken))
			if err == nil || !strings.Contains(err.Error(), c.want) || is.ID != 0 ||
				strings.Contains(err.Error(), "own") {
				t.Fatalf("%+v, %v, want %q", is, err, c.want)
			}
			text := err.Error()
			if strings.Contains(text, registrationToken) || strings.Contains(text, "\n") || len(text) > 700 {
				t.Errorf("it prints too much: %s", text)
			}
		})
	}
}

func TestNothingIsSentWithABrokenRegistrationToken(t *testing.T) {
	r := runnerService(t, func(http.ResponseWriter, *http.Request) { t.Error("it is sent") })
	for _, token := range []string{"", " ", "a\nb", "a\r", "a b"} {
		if _, err := Register(t.Context(), r, NewToken(token)); err == nil {
			t.Errorf("%q was taken", token)
		}
	}
}

func TestAnInterruptedRegistrationEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	begun := make(chan struct{})
	r := runnerService(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(begun)
		<-r.Context().Done()
	})
	go func() { <-begun; cancel(stop) }()
	if _, err := Register(ctx, r, NewToken(registrationToken)); !errors.Is(err, stop) {
		t.Error(err)
	}
}
