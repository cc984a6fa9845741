// Command gitea answers as much of Gitea's API as hostguard and a runner ask, on
// 127.0.0.1:3000. Its repositories are the directories OWNER/NAME of its own, with
// their workflows in them; its API token is "api-canary", its registration token
// "registration-canary".
//
// With a method and a path as arguments it is a client of itself instead.
//
// A runner is online for 2 seconds after its last word, not for a minute. A file
// "fails" has lines of a method, a path's beginning and a status, by which such
// requests fail.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const online = 2 * time.Second

type label struct {
	Name string `json:"name"`
}

type runner struct {
	ID     int64     `json:"id"`
	Name   string    `json:"name"`
	Status string    `json:"status"`
	Labels []label   `json:"labels"`
	heard  time.Time // of it
}

// registration is what a runner says and keeps.
type registration struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Token   string   `json:"token"`
	Address string   `json:"address"`
	Labels  []string `json:"labels"`
}

var (
	mu      sync.Mutex
	runners []*runner
	lastID  int64
)

func main() {
	if len(os.Args) == 3 {
		request(os.Args[1], os.Args[2])
		return
	}
	mux := http.NewServeMux()
	api := func(pattern string, handle http.HandlerFunc) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /api/v1"+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "token api-canary" {
				http.Error(w, `{"message": "no such token"}`, http.StatusUnauthorized)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			handle(w, r)
		})
	}
	api("GET /version", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"version": "1.26.0"}) })
	api("GET /repos/search", func(w http.ResponseWriter, r *http.Request) {
		names, _ := filepath.Glob("*/*")
		data := []map[string]string{}
		for _, name := range names {
			data = append(data, map[string]string{"full_name": name})
		}
		w.Header().Set("X-Total-Count", strconv.Itoa(len(data)))
		answer(w, map[string]any{"data": data})
	})
	api("GET /repos/{owner}/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"full_name": r.PathValue("owner") + "/" + r.PathValue("name"), "owner": map[string]int{"id": 7}})
	})
	api("GET /repos/{owner}/{name}/contents/.gitea/workflows", func(w http.ResponseWriter, r *http.Request) {
		files, _ := filepath.Glob(filepath.Join(r.PathValue("owner"), r.PathValue("name"), "*.yaml"))
		list := []map[string]string{}
		for _, file := range files {
			list = append(list, map[string]string{"name": filepath.Base(file), "type": "file"})
		}
		answer(w, list)
	})
	api("GET /repos/{owner}/{name}/raw/.gitea/workflows/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(r.PathValue("owner"), r.PathValue("name"), r.PathValue("file")))
	})
	api("GET /repos/{owner}/{name}/actions/tasks", func(w http.ResponseWriter, _ *http.Request) { answer(w, struct{}{}) })
	api("GET /admin/actions/runners", func(w http.ResponseWriter, r *http.Request) {
		for _, r := range runners {
			if r.Status = "offline"; time.Since(r.heard) < online {
				r.Status = "online"
			}
		}
		answer(w, map[string]any{"runners": runners, "total_count": len(runners)})
	})
	api("POST /admin/actions/runners/registration-token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"token": "registration-canary"})
	})
	api("DELETE /admin/actions/runners/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
		runners = slices.DeleteFunc(runners, func(r *runner) bool { return r.ID == id })
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /fake/register", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var said registration
		if json.NewDecoder(r.Body).Decode(&said) != nil || said.Token != "registration-canary" {
			http.Error(w, fmt.Sprintf("the token %q is not valid", said.Token), http.StatusForbidden)
			return
		}
		lastID++
		runners = append(runners, &runner{ID: lastID, Name: said.Name, Labels: labels(said.Labels)})
		if failing("REPLY", "/fake/register") != 0 { // which is lost
			panic(http.ErrAbortHandler)
		}
		said.ID, said.Token = lastID, fmt.Sprintf("token-of-%d", lastID)
		answer(w, said)
	})
	mux.HandleFunc("POST /fake/alive", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var said registration
		_ = json.NewDecoder(r.Body).Decode(&said)
		for _, r := range runners {
			if r.ID == said.ID && said.Token == fmt.Sprintf("token-of-%d", r.ID) {
				r.heard, r.Labels = time.Now(), labels(said.Labels)
			}
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := failing(r.Method, r.URL.Path); status != 0 {
			http.Error(w, "it fails: "+r.Header.Get("Authorization"), status)
			return
		}
		mux.ServeHTTP(w, r)
	})))
}

func request(method, path string) {
	r, err := http.NewRequest(method, "http://127.0.0.1:3000/api/v1"+path, nil)
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Authorization", "token api-canary")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil || answer.StatusCode/100 != 2 {
		log.Fatal(answer.Status, err)
	}
}

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

func labels(full []string) []label {
	var all []label
	for _, l := range full {
		name, _, _ := strings.Cut(l, ":")
		all = append(all, label{name})
	}
	return all
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
