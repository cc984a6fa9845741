package page

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Files().ServeHTTP(w, r)
	return w
}

func TestFilesAreOnlyRead(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/page.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/page.css", 200, "text/css; charset=utf-8"},
		{"GET", "/other", 404, ""},
		{"GET", "/../page.js", 404, ""},
		{"POST", "/", 405, ""},
		{"DELETE", "/page.js", 405, ""},
	} {
		w := get(c.method, c.path)
		if w.Code != c.status || c.kind != "" && w.Header().Get("Content-Type") != c.kind {
			t.Errorf("%s %s: %d %v", c.method, c.path, w.Code, w.Header())
		}
		if c.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("HEAD has a body of %d bytes", w.Body.Len())
		}
	}
}

func TestEveryAnswerHasAPolicyThatAllowsNothingForeignOrInline(t *testing.T) {
	for _, path := range []string{"/", "/page.js", "/other"} {
		h := get("GET", path).Header()
		p := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(p, "default-src 'none'; script-src 'self'; ") || strings.Contains(p, "unsafe") ||
			!strings.Contains(p, "frame-ancestors 'none'") {
			t.Errorf("%s: %s", path, p)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestAFileThatTheBrowserHasIsNotSentAgain(t *testing.T) {
	tag := get("GET", "/page.js").Header().Get("ETag")
	if w := get("GET", "/page.js", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestAStandalonePageNamesNoOtherFile(t *testing.T) {
	var b bytes.Buffer
	if err := Standalone(&b, &Document{Name: "ci-host-1"}); err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{`src="page.js"`, `href="page.css"`, "unsafe-inline", "http://localhost"} {
		if strings.Contains(b.String(), reference) {
			t.Errorf("it has %s", reference)
		}
	}
	for _, part := range []string{"sha256-" + digest(script), "sha256-" + digest(style), `"name":"ci-host-1"`} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("it lacks %s", part)
		}
	}
}
