package lockwire

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
)

// systemHistory is the directory of the history that root's observer writes.
const systemHistory = "/var/lib/hostguard"

// HistoryInput is the input of the directory of a history.
func HistoryInput(v *string) cli.Input {
	return cli.Input{Name: "history", Kind: cli.Text(v, nil), Arg: "DIR",
		Text: "directory of the history; default " + systemHistory + ", else hostguard in the user's state directory"}
}

// HistoryDir returns the directory that an observer of this user's writes to.
func HistoryDir(s *cli.Session) string {
	if os.Geteuid() == 0 {
		return systemHistory
	}
	state := s.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the XDG specification ignores such a one
		state = filepath.Join(s.Getenv("HOME"), ".local/state")
	}
	return filepath.Join(state, "hostguard")
}

// ReadHistory reads a history as of since: that in dir, or else the system's, or else the
// user's.
func ReadHistory(s *cli.Session, dir string, since time.Time) (*history.Record, error) {
	if dir == "" {
		dir = HistoryDir(s)
		if _, err := os.Stat(systemHistory); err == nil {
			dir = systemHistory
		}
	}
	// Nearly all memory is the record itself, which stays: to collect garbage earlier costs
	// little, and a year of a busy host fits into 200 MB.
	debug.SetGCPercent(25)
	r, err := history.Read(dir, since)
	if errors.Is(err, history.ErrNone) {
		return nil, cli.WithStatus(cli.StatusRefused, err)
	}
	return r, err
}
