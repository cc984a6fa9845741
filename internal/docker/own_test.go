package docker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hostguard/lock"
)

// daemon answers GET requests by their path, without the version; 404 for others.
func daemon(t *testing.T, answers map[string]string) *Engine {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		body, found := answers["/"+path]
		if !found && !strings.HasSuffix(r.URL.Path, "/_ping") {
			w.WriteHeader(404)
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	engine, err := Connect(t.Context(), func(name string) string {
		return map[string]string{"DOCKER_HOST": "tcp://" + server.Listener.Addr().String()}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func inspected(id, status, upper string) string {
	return fmt.Sprintf(`{"Id": %q, "Name": "/n", "State": {"Status": %q, "StartedAt": "T-%s"}, `+
		`"GraphDriver": {"Data": {"UpperDir": %q}}}`,
		id, status, id, upper)
}

// What this process sees of itself, and what the daemon reports: only where both
// agree it is known in which container it is.
func TestAContainerIsOursOnlyByWhatIsOursAlone(t *testing.T) {
	const bridged = `{"Id": "x", "HostConfig": {"NetworkMode": "bridge"}}`
	const alone = `[` + bridged + `, {"Id": "z", "HostConfig": {"NetworkMode": "container:other"}}]`
	const shared = `[` + bridged + `, {"Id": "y", "HostConfig": {"NetworkMode": "container:x"}}]`
	for name, c := range map[string]struct {
		in      Inside
		list    string
		x, y    string // what inspecting them answers
		want    string
		started string
	}{
		"by its control group": {
			Inside{Group: "y", Network: "x"}, shared,
			inspected("x", "running", ""),
			inspected("y", "running", ""), "y", "T-y",
		},
		"by its control group, of another daemon": {
			Inside{Group: "q", Network: "x"}, shared,
			inspected("x", "running", ""), "", "", "",
		},
		"by its root": {
			Inside{Network: "x", Root: "/d/x/diff"}, shared,
			inspected("x", "running", "/d/x/diff"),
			inspected("y", "running", "/d/y/diff"), "x", "T-x",
		},
		"by its root, which is relative": {
			Inside{Network: "x", Root: "x/diff"}, shared,
			inspected("x", "running", "/d/x/diff"), "", "x", "T-x",
		},
		"in the network of another": {
			Inside{Network: "x", Root: "/d/y/diff"}, shared,
			inspected("x", "running", "/d/x/diff"),
			inspected("y", "running", "/d/y/diff"), "y", "T-y",
		},
		"in the network of another that ended": {
			Inside{Network: "x", Root: "/d/y/diff"}, shared,
			inspected("x", "exited", "/d/x/diff"),
			inspected("y", "running", "/d/y/diff"), "y", "T-y",
		},
		"neither's root": {
			Inside{Network: "x", Root: "/d/q/diff"}, shared,
			inspected("x", "running", "/d/x/diff"),
			inspected("y", "running", "/d/y/diff"), "", "",
		},
		"another root, and nobody shares": {
			Inside{Network: "x", Root: "/d/q/diff"}, alone,
			inspected("x", "running", "/d/x/diff"), "", "", "",
		},
		"no root known, and nobody shares": {Inside{Network: "x", Root: "/d/x/diff"}, alone,
			inspected("x", "running", ""), "", "x", "T-x"},
		"no root known, and another shares": {Inside{Network: "x", Root: "/d/x/diff"}, shared,
			inspected("x", "running", ""), inspected("y", "running", ""), "", ""},
		"no list, and no root":    {Inside{Network: "x"}, "", inspected("x", "running", ""), "", "", ""},
		"not running yet":         {Inside{Network: "x"}, alone, inspected("x", "created", ""), "", "", ""},
		"an answer about another": {Inside{Network: "x"}, alone, inspected("w", "running", ""), "", "", ""},
		"of another daemon": {
			Inside{Network: "q", Root: "/d/x/diff"}, alone,
			inspected("x", "running", "/d/x/diff"), "", "", "",
		},
		"on the host": {Inside{}, alone, "", "", "", ""},
	} {
		answers := map[string]string{"/containers/x/json": c.x, "/containers/y/json": c.y}
		if c.list != "" {
			answers["/containers/json"] = c.list
		}
		if id, started := daemon(t, answers).Own(t.Context(), c.in); id != c.want || started != c.started {
			t.Errorf("%s: %q, %q; want %q, %q", name, id, started, c.want, c.started)
		}
	}
}

func TestWhatAContainerShowsOfItsHolder(t *testing.T) {
	for name, c := range map[string]struct {
		answer, started string
		want            lock.Life
	}{
		"runs":                        {inspected("x", "running", ""), "T-x", lock.Alive},
		"paused":                      {inspected("x", "paused", ""), "T-x", lock.Alive},
		"runs, start not recorded":    {inspected("x", "running", ""), "", lock.Alive},
		"started again":               {inspected("x", "running", ""), "before", lock.Dead},
		"ended":                       {inspected("x", "exited", ""), "T-x", lock.Dead},
		"about to be started again":   {inspected("x", "restarting", ""), "T-x", lock.Dead},
		"about to be, not recorded":   {inspected("x", "restarting", ""), "", lock.Unknown},
		"another's answer":            {inspected("y", "running", ""), "T-x", lock.Unknown},
		"a status of another version": {inspected("x", "hibernating", ""), "T-x", lock.Unknown},
		"no state":                    {`{"Id": "x"}`, "T-x", lock.Unknown},
	} {
		inspect := map[string]string{"/containers/x/json": c.answer}
		life, evidence := daemon(t, inspect).Container(t.Context(), "x", c.started)
		if life != c.want || evidence == "" {
			t.Errorf("%s: %s (%s), want %s", name, life, evidence, c.want)
		}
	}
	if life, _ := daemon(t, nil).Container(t.Context(), "x", ""); life != lock.Dead {
		t.Errorf("gone: %s", life)
	}
}
