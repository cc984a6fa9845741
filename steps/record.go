package steps

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
)

// jobGone reports whether the runner has removed this job's directory: then the job was
// cancelled, and its post steps may have run already.
func jobGone(dir string) bool {
	if dir == "" {
		return false
	}
	_, err := os.Lstat(dir)
	_, parentErr := os.Lstat(filepath.Dir(dir))
	return errors.Is(err, os.ErrNotExist) && parentErr == nil
}

// heldVariable returns the variable that carries the record of a lock to later steps of
// the job.
func heldVariable(o lockwire.Options) string {
	sum := sha256.Sum256([]byte(o.Backend + ":" + o.Lock))
	return "HOSTGUARD_HELD_" + strings.ToUpper(hex.EncodeToString(sum[:6]))
}

// releasedMark precedes the record of a lock that this job has given back.
const releasedMark = "released:"

// readRecord returns the record of the lock, from this step's environment file if an
// acquire of the same step wrote it there, else from the environment.
func readRecord(s *cli.Session, o lockwire.Options) string {
	variable := heldVariable(o)
	value := s.Getenv(variable)
	if path := s.Getenv("GITHUB_ENV"); path != "" {
		data, _ := os.ReadFile(path)
		lines := strings.Split(string(data), "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, variable+"<<") && i+1 < len(lines) {
				value = strings.TrimSpace(lines[i+1])
			}
		}
	}
	return value
}
