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

// heldPrefix begins the variables that carry the records of locks to later steps of the job.
const heldPrefix = "HOSTGUARD_HELD_"

// heldVariable returns the variable that carries the record of a lock.
func heldVariable(o lockwire.Options) string {
	sum := sha256.Sum256([]byte(o.Backend + ":" + o.Lock))
	return heldPrefix + strings.ToUpper(hex.EncodeToString(sum[:6]))
}

// releasedMark precedes the record of a lock that this job has given back.
const releasedMark = "released:"

// readRecord returns the record of the lock, or "".
func readRecord(s *cli.Session, o lockwire.Options) string { return readRecords(s)[heldVariable(o)] }

// readRecords returns the records of all locks by their variables, from this step's environment
// file if an acquire of the same step wrote them there, else from the environment.
func readRecords(s *cli.Session) map[string]string {
	records := map[string]string{}
	for _, variable := range s.Environ {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, heldPrefix) {
			records[name] = value
		}
	}
	if path := s.Getenv("GITHUB_ENV"); path != "" {
		data, _ := os.ReadFile(path)
		lines := strings.Split(string(data), "\n")
		for i, line := range lines {
			name, _, found := strings.Cut(line, "<<")
			if found && strings.HasPrefix(name, heldPrefix) && i+1 < len(lines) {
				records[name] = strings.TrimSpace(lines[i+1])
			}
		}
	}
	return records
}
