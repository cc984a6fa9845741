package engine

import "testing"

// ForTest starts an engine for one test, and stops it when that ends.
func ForTest(t testing.TB, version string) *Engine {
	t.Helper()
	e, err := Start(version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}
