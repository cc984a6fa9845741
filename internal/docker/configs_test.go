package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostguard/lock"
)

func TestTheIDOfAConfigIsFoundInItsEntrys(t *testing.T) {
	const config = "p2kz0o9qzv5xw1y7n3m8b6c40"
	id, err := entryID(config)
	if err != nil || len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Fatalf("%q, %v", id, err)
	}
	if got, err := configID(id); got != config || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, id := range []string{"", strings.Repeat("0", 64), strings.Repeat("f", 64), id[:63] + "1", "../" + id[3:]} {
		if got, err := configID(id); err == nil {
			t.Errorf("%q is the entry of config %q", id, got)
		}
	}
	if id, err := entryID("../containers/prune"); err == nil {
		t.Errorf("an ID that would change the path of a request: %q", id)
	}
}

// A config's name has at most 64 letters, digits, '-', '_' and '.', and a letter or digit
// at either end.
func TestEveryLockHasAConfigOfItsOwn(t *testing.T) {
	names := []string{"deploy", "deploy.", "deploy_", "hg-0123456789abcdef-t-0123456789abcdef0123456789abcdef",
		strings.Repeat("a", 60), strings.Repeat("a", 61), strings.Repeat("a", 128), strings.Repeat("a", 127) + ".",
		"hg." + "deploy", "hg-" + strings.Repeat("a", 100)}
	of := map[string]string{}
	for _, name := range names {
		config := configName(name)
		if len(config) > 64 || strings.Trim(config[len(config)-1:], "-_.") == "" {
			t.Errorf("%q: %q is no name of a config", name, config)
		}
		if of[config] != "" {
			t.Errorf("%q and %q have the config %q", name, of[config], config)
		}
		of[config] = name
		for _, prefix := range []string{"", "h", "hg", name[:1], name[:2], name[:len(name)/2], name} {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			found := false
			for _, begin := range configNames(prefix) {
				found = found || strings.HasPrefix(config, begin)
			}
			if !found {
				t.Errorf("%q, config %q, is not found by the prefix %q, which asks for %q", name, config, prefix,
					configNames(prefix))
			}
		}
	}
}

// A process that is killed while it confirms that a config is gone leaves one of its own.
func TestAConfirmationRemovesWhatKilledOnesHaveLeft(t *testing.T) {
	id := func(i int) string { return fmt.Sprintf("%025d", i) }
	nonce := strings.Repeat("0123456789abcdef", 2)
	var mu sync.Mutex
	names := map[string]string{
		id(1): confirmNames + nonce,       // of a killed one
		id(2): confirmNames + nonce[:31],  // of another form
		id(3): confirmNames + nonce + "x", // the same
		id(4): confirmNames + "f" + nonce[1:],
	}
	young := id(4)
	var removed []string
	engine := answering(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == http.MethodPost:
			var spec struct{ Name string }
			_ = json.NewDecoder(r.Body).Decode(&spec)
			names[id(9)] = spec.Name
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"ID": %q}`, id(9))
		case r.Method == http.MethodDelete && names[path.Base(r.URL.Path)] == "":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message": "config not found"}`)
		case r.Method == http.MethodDelete:
			removed = append(removed, path.Base(r.URL.Path))
			delete(names, path.Base(r.URL.Path))
		default:
			var list []map[string]any
			for id, name := range names {
				created := time.Now().Add(-2 * time.Hour)
				if id == young || strings.HasSuffix(id, "9") {
					created = time.Now()
				}
				spec := map[string]any{"Name": name}
				list = append(list, map[string]any{"ID": id, "CreatedAt": created, "Spec": spec})
			}
			_ = json.NewEncoder(w).Encode(list)
		}
	})
	entry, err := entryID(id(7))
	if err != nil {
		t.Fatal(err)
	}
	if err := (Configs{engine}).Remove(t.Context(), entry); !errors.Is(err, lock.ErrNotFound) {
		t.Errorf("Remove = %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if slices.Sort(removed); !slices.Equal(removed, []string{id(1), id(9)}) {
		t.Errorf("removed %q", removed)
	}
}
