package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

var (
	//go:embed bundle/page.html
	shell []byte
	//go:embed bundle/page.css
	style []byte
	//go:embed bundle/page.js
	script []byte
)

// The places in the shell that Standalone replaces by what they name.
var (
	policyPlace = []byte(`<meta name="referrer" content="no-referrer">`)
	stylePlace  = []byte(`<link rel="stylesheet" href="page.css">`)
	scriptPlace = []byte(`<script src="page.js" defer></script>`)
)

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Files serves the page at /, /page.css and /page.js, to GET and HEAD. It names no address
// outside the server that it came from, and its policy has the browser refuse any.
func Files() http.Handler {
	files := map[string]struct {
		kind string
		body []byte
	}{
		"/":         {"text/html; charset=utf-8", shell},
		"/page.css": {"text/css; charset=utf-8", style},
		"/page.js":  {"text/javascript; charset=utf-8", script},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "the page is only read: use GET", http.StatusMethodNotAllowed)
			return
		}
		file, found := files[r.URL.Path]
		if !found {
			http.Error(w, "not found: the page is at /", http.StatusNotFound)
			return
		}
		tag := `"` + digest(file.body) + `"`
		h.Set("ETag", tag)
		h.Set("Cache-Control", "no-cache")
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", file.kind)
		h.Set("Content-Length", strconv.Itoa(len(file.body)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(file.body) // a reader who went away needs no word
		}
	})
}

// Standalone writes the page as one HTML file with d inside. It asks nothing of any network,
// and its policy lets only the script and the style that it has run.
func Standalone(w io.Writer, d *Document) error {
	data := d.AppendJSON(nil)
	content := fmt.Sprintf("default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; img-src data:; "+
		"base-uri 'none'; form-action 'none'", digest(script), digest(style))
	rest := shell
	for _, part := range []struct{ place, open, body, end []byte }{
		{policyPlace, []byte(`<meta http-equiv="Content-Security-Policy" content="`), []byte(content),
			append([]byte(`">`), policyPlace...)},
		{stylePlace, []byte("<style>"), style, []byte("</style>")},
		{scriptPlace, []byte(`<script type="application/json" id="data">`), data, []byte("</script>")},
	} {
		before, after, found := bytes.Cut(rest, part.place)
		if !found {
			return fmt.Errorf("write the page: bundle/page.html has no %s: run make page", part.place)
		}
		rest = after
		for _, b := range [][]byte{before, part.open, part.body, part.end} {
			if _, err := w.Write(b); err != nil {
				return fmt.Errorf("write the page: %w", err)
			}
		}
	}
	// At its end, since an inline script is not deferred.
	before, after, found := bytes.Cut(rest, []byte("</body>"))
	if !found {
		return fmt.Errorf("write the page: bundle/page.html has no </body>: run make page")
	}
	for _, b := range [][]byte{before, []byte("<script>"), script, []byte("</script></body>"), after} {
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("write the page: %w", err)
		}
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}
