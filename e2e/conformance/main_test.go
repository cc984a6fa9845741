package conformance

import (
	"flag"
	"os"
	"testing"
)

// By default as many tests run at once as there are processors. Most of these wait much of
// the time: for a turn, a settle, a server that is away.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "3"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
