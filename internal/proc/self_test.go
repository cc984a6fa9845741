package proc

import "testing"

func TestWhoIsWithinAnExecMayCarryTheNonce(t *testing.T) {
	table := fixtureProc(t, "make") // its process 7 started at 250
	write(t, table, "self/mountinfo", "")
	write(t, table, "7/environ", "")
	host := Host{Proc: table}
	if found, complete := host.Carries("nonce", 250); found || !complete {
		t.Errorf("a kernel thread: found %v, complete %v", found, complete)
	}
	symlink(t, "/usr/bin/make", table, "7/exe")
	if found, complete := host.Carries("nonce", 250); found || complete {
		t.Errorf("a program without environment: found %v, complete %v; want unknown", found, complete)
	}
	write(t, table, "7/environ", "A=b\x00"+HoldVariable+"=x,nonce\x00")
	if found, _ := host.Carries("nonce", 250); !found {
		t.Error("the one that carries it is not found")
	}
}
