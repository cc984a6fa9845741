package proc

import (
	"os"
	"os/user"
	"testing"

	"hostguard/lock"
)

func TestAPersonIsNamedByAProcessThatIsStillTheSame(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	own := Local().Process(os.Getpid())
	if name, program, seen := Local().Person(own); !seen || name != me.Username || program == "" {
		t.Errorf("%q %q %t, want %q", name, program, seen, me.Username)
	}
	for what, p := range map[string]lock.Process{
		"a later process of that pid":    {PID: own.PID, Start: own.Start + 1},
		"a start that nobody knows":      {PID: own.PID},
		"a pid that no process can have": {PID: 1 << 30, Start: 1},
		"no process":                     {},
	} {
		if name, _, seen := Local().Person(p); seen {
			t.Errorf("%s is of %q", what, name)
		}
	}
}
