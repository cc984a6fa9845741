package lockwire

import (
	"testing"
)

// Gitea up to 1.25 looks a run's page up by its number and ignores the query,
// 1.26 and later by its ID first; recorded: a job of either runner has
// GITHUB_RUN_ID, only the new one GITEA_RUN_ID.
func TestALinkOpensThisRunOnEveryServer(t *testing.T) {
	const page = "https://git.example.com/wooo/site/actions/runs/"
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"act_runner", map[string]string{
			"GITEA_ACTIONS": "true", "GITHUB_RUN_ID": "4711", "GITHUB_RUN_NUMBER": "12",
		}, page + "12?by_index=1"},
		{"gitea-runner, of a server that may be old", map[string]string{
			"GITEA_ACTIONS": "true", "GITHUB_RUN_ID": "4711", "GITEA_RUN_ID": "4711", "GITHUB_RUN_NUMBER": "12",
		}, page + "12?by_index=1"},
		{"gitea-runner, of a server that has capabilities", map[string]string{
			"GITEA_ACTIONS": "true", "GITHUB_RUN_ID": "4711", "GITEA_RUN_ID": "4711", "GITHUB_RUN_NUMBER": "12",
			"GITEA_ACTIONS_CAPABILITIES": "job-summary",
		}, page + "4711"},
		{"Gitea without a number", map[string]string{"GITEA_ACTIONS": "true", "GITHUB_RUN_ID": "4711"}, page + "4711"},
		{"Gitea with its own ID only", map[string]string{"GITEA_ACTIONS": "true", "GITEA_RUN_ID": "4711"},
			page + "4711"},
		{"Forgejo, which sets Gitea's variable too", map[string]string{
			"FORGEJO_ACTIONS": "true", "GITEA_ACTIONS": "true", "GITHUB_RUN_ID": "4711", "GITHUB_RUN_NUMBER": "12",
		}, page + "12"},
		{"GitHub", map[string]string{"GITHUB_RUN_ID": "4711", "GITHUB_RUN_NUMBER": "12"}, page + "4711"},
		{"no job", map[string]string{}, ""},
	} {
		for _, server := range []string{"https://git.example.com", "https://git.example.com/"} {
			got := runURL(func(name string) string {
				switch name {
				case "GITHUB_SERVER_URL":
					return server
				case "GITHUB_REPOSITORY":
					return "wooo/site"
				}
				return test.env[name]
			})
			if got != test.want {
				t.Errorf("%s, server %s: %q, want %q", test.name, server, got, test.want)
			}
		}
	}
}
