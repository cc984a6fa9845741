package operate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyAProgramThatNobodyElseCanReplaceIsNotified(t *testing.T) {
	dir := t.TempDir()
	program, text := filepath.Join(dir, "notify"), filepath.Join(dir, "text")
	for path, mode := range map[string]os.FileMode{program: 0o755, text: 0o644} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		program: "", text: "executable", "notify": "absolute", dir: "executable", "/nowhere": "executable",
	} {
		if err := checkNotify(path); want == "" && err != nil ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := checkNotify(program); err == nil || !strings.Contains(err.Error(), "may change it") {
		t.Errorf("in a directory that anybody can write in: %v", err)
	}
}

func TestANameWithoutAPortAllowsRemoteRequests(t *testing.T) {
	for name, good := range map[string]bool{"ci-host-1": true, "192.0.2.7": true, "2001:db8::7": true,
		"ci-host-1:8437": false, "http://ci-host-1": false, "a b": false} {
		if err := checkHost(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
	for text, good := range map[string]bool{"https://chat.example/hook?key=x": true, "http://127.0.0.1/": true,
		"ftp://example/": false, "https://": false, "chat.example": false} {
		if err := checkNotifyURL(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
