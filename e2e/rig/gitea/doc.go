// Package gitea starts a real Gitea on loopback, and runners that are registered
// with it.
//
// The server is Gitea 1.26.0 itself, built once from the module in tool into
// .cache, which takes 2 to 3 minutes and 110 MB. It runs as nobody, with SQLite, in a
// directory of its own, and ends with the process that started it.
//
//	server, err := gitea.Start()
//	defer server.Stop()
//	wooo, err := server.User("wooo", false)            // a user with a token that may do all
//	err = wooo.CreateRepository("site", false)
//	runner, err := gitea.Register(server, gitea.ActRunner, "host110", []string{"awoooi-host:host"}, "")
//	err = runner.Start()
//	defer runner.Stop()
//	err = wooo.Commit("wooo/site", map[string]string{".gitea/workflows/ci.yaml": workflow})
//	run, err := wooo.Run("wooo/site", 1)                // by its number; it waits for it
//	err = wooo.Cancel("wooo/site", run.ID)              // by the form of the web page
//	run, err = wooo.Ended("wooo/site", run.ID)
//	log, err := wooo.Log("wooo/site", run.ID)
//
// The runners are played, see the command hostguard/e2e/rig/gitea-act/runner for what is
// and what is not. Name [ActRunner] for the classic one, [GiteaRunner] for the new,
// whose engine is a copy of Gitea's fork of act with the changes of engine.go.
//
// What one server cannot show is not here: other versions of Gitea, faults of the
// network, and GitHub. Recorded answers and fakes show those.
package gitea
