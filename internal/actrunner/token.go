package actrunner

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
)

// maxToken bounds what is decoded; a real token has less than a kilobyte.
const maxToken = 16 << 10

// TaskOfToken returns the ID of the task that a job's ACTIONS_RUNTIME_TOKEN names, or
// "". A rerun and each leg of a matrix are tasks of their own. Nothing of the token
// is checked: a job may put any ID there, so it distinguishes jobs and proves nothing.
func TaskOfToken(token string) string {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct{ TaskID int64 }
	if json.Unmarshal(payload, &claims) != nil || claims.TaskID <= 0 {
		return ""
	}
	return strconv.FormatInt(claims.TaskID, 10)
}
