package operate

import (
	"os"
	"testing"

	"hostguard/internal/privsep"
)

// TestMain is also the helper process of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == privsep.Command {
		os.Exit(privsep.Serve(os.Stdin, os.Stdout, Handlers()))
	}
	os.Exit(m.Run())
}
