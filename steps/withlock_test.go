package steps

import (
	"os"
	"syscall"
	"testing"
)

func TestASignalBeforeTheSecondExecutionIsNotLost(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	s := &session{World: World{Environ: os.Environ(), Getenv: os.Getenv, Signals: signals, DefaultSignals: func() {}}}
	if _, err := s.carryNonce(); statusOf(err) != StatusTerminated {
		t.Errorf("%v, want an interruption", err)
	}
}
