package gitea

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const one = `{"id": 5, "name": "wooo-runner", "status": "online", "disabled": %t, "labels": []}`

// A token of the owner cannot use the server's list, and a runner of another
// name is none of ours.
func TestARunnerIsDisabledWhereTheTokenMay(t *testing.T) {
	for name, path := range map[string]string{
		"of the server": "/api/v1/admin/actions/runners/5", "of the owner": "/api/v1/orgs/wooo/actions/runners/5",
		"of the user": "/api/v1/user/actions/runners/5", "of the repository": "/api/v1/repos/wooo/awoooi/actions/runners/5",
	} {
		t.Run(name, func(t *testing.T) {
			disabled := false
			handlers := map[string]http.HandlerFunc{
				"/api/v1/admin/actions/runners/5": answer(403, `{"message":"required=[read:admin]"}`),
				path: func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPatch {
						body, _ := io.ReadAll(r.Body)
						disabled = strings.Contains(string(body), `"disabled":true`)
					}
					fmt.Fprintf(w, one, disabled)
				},
			}
			i := api(t, "1.26.0", handlers)
			r, err := i.Registered(5, "wooo-runner", "wooo/awoooi")
			if err != nil || r.Disabled {
				t.Fatal(r, err)
			}
			for _, want := range []bool{true, false} {
				if err := r.SetDisabled(want); err != nil || disabled != want {
					t.Error(want, disabled, err)
				}
			}
			_, err = i.Registered(5, "other", "wooo/awoooi")
			if err == nil || !strings.Contains(err.Error(), `knows it as "wooo-runner", not as "other"`) {
				t.Error(err)
			}
		})
	}
}

func TestWhyARunnerIsNotDisabled(t *testing.T) {
	const admin = "/api/v1/admin/actions/runners/5"
	readOnly := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			w.WriteHeader(403)
		}
		fmt.Fprintf(w, one, false)
	}
	for name, c := range map[string]struct {
		version string
		handler http.HandlerFunc
		wantErr string
	}{
		"too old":       {"1.25.3", func(http.ResponseWriter, *http.Request) { t.Error("asked") }, "too old"},
		"no such":       {"1.26.0", answer(404, "{}"), "has none"},
		"no permission": {"1.26.0", answer(403, "{}"), "(403"},
		"redirected": {"1.26.0", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "redirects to another address (302)"},
		"may only read":    {"1.26.0", readOnly, "set disabled=true of runner 5"},
		"agrees, does not": {"1.26.0", answer(200, fmt.Sprintf(one, false)), "answers disabled=false"},
	} {
		t.Run(name, func(t *testing.T) {
			i := api(t, c.version, map[string]http.HandlerFunc{admin: c.handler})
			r, err := i.Registered(5, "wooo-runner", "wooo/awoooi")
			if err == nil {
				err = r.SetDisabled(true)
			}
			if err == nil || !strings.Contains(err.Error(), c.wantErr) || strings.Contains(err.Error(), canary) {
				t.Error(err)
			}
		})
	}
}
