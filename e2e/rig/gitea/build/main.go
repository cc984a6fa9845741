// Command build builds the Gitea and the runners of the tests into .cache, so that no
// test's time has that in it.
package main

import (
	"fmt"
	"os"

	"hostguard/e2e/rig/gitea"
)

func main() {
	_, err := gitea.Build()
	if err == nil {
		_, err = gitea.Programs()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
