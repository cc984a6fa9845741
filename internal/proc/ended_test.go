package proc

import (
	"os/exec"
	"testing"
	"time"

	"hostguard/lock"
)

func TestTheEndOfAProcessIsReportedAtOnce(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := Local().Process(cmd.Process.Pid)
	ended, stopped := make(chan struct{}), make(chan struct{})
	stopFirst, err := Local().Ended(p, func() { close(ended) })
	if err != nil {
		t.Fatal(err)
	}
	defer stopFirst()
	stop, err := Local().Ended(p, func() { close(stopped) })
	if err != nil {
		t.Fatal(err)
	}
	stop()
	select {
	case <-ended:
		t.Fatal("it is reported while the process lives")
	case <-time.After(20 * time.Millisecond):
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it is not reported")
	}
	_ = cmd.Wait()
	select {
	case <-stopped:
		t.Error("it is reported to one that has stopped to watch")
	default:
	}
	if _, err := Local().Ended(p, func() {}); err == nil {
		t.Error("a process that has ended is watched")
	}
	other := Local().Process(1)
	if _, err := Local().Ended(lock.Process{PID: other.PID, Start: other.Start + 1}, func() {}); err == nil {
		t.Error("another process of that pid is watched")
	}
}
