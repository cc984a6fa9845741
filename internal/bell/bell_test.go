package bell

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/lock"
)

func TestARingIsHeardByItsNonceAlone(t *testing.T) {
	one, other := lock.NewNonce(), lock.NewNonce()
	hears := map[string]<-chan lock.Successors{}
	for _, nonce := range []string{one, other} {
		rings, err := Bell{}.Hear(t.Context(), "queue-", nonce)
		if err != nil {
			t.Fatal(err)
		}
		hears[nonce] = rings
	}
	if !(Bell{}).Hears(one) || !(Bell{}).Ring(one, lock.Successors{}) {
		t.Error("nobody there")
	}
	select {
	case <-hears[one]:
	case <-time.After(10 * time.Second):
		t.Error("not heard")
	}
	if len(hears[other]) != 0 {
		t.Error("the other one heard it")
	}
}

func TestNobodyHearsWhoHasEnded(t *testing.T) {
	nonce := lock.NewNonce()
	if (Bell{}).Hears(nonce) || (Bell{}).Ring(nonce, lock.Successors{}) {
		t.Error("heard before there was anybody")
	}
	ctx, cancel := context.WithCancel(t.Context())
	rings, err := Bell{}.Hear(ctx, "queue-", nonce)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range rings { // closed with the socket
	}
	if (Bell{}).Hears(nonce) || (Bell{}).Ring(nonce, lock.Successors{}) {
		t.Error("heard after the end")
	}
}

// A machine on which a thousand wait is busy.
func TestARingIsSentHoweverBusyTheMachineIs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(32)) // threads, among which the kernel changes as among processes
	var others, ringers sync.WaitGroup
	busy, calm := context.WithCancel(t.Context())
	defer others.Wait()
	defer calm()
	for range 16 {
		others.Go(func() {
			for busy.Err() == nil {
			}
		})
	}
	for range 100 {
		ringers.Go(func() {
			for range 100 {
				if err := ringOnce(busy); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ringers.Wait()
}

// ringOnce rings a new waiter.
func ringOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nonce := lock.NewNonce()
	rings, err := Bell{}.Hear(ctx, "queue-", nonce)
	if err != nil {
		return err
	}
	if !(Bell{}).Ring(nonce, lock.Successors{}) {
		return errors.New("nobody there")
	}
	select {
	case <-rings:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("it was not heard")
	}
}

// Whoever rings without end is not held up, and makes a waiter try now and then.
func TestEndlessRingsAreHeardRarely(t *testing.T) {
	nonce := lock.NewNonce()
	rings, err := Bell{}.Hear(t.Context(), "queue-", nonce)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 1000 {
		if !(Bell{}).Ring(nonce, lock.Successors{}) {
			t.Fatal("nobody there")
		}
	}
	<-rings
	<-rings
	if since := time.Since(begin); since < quiet {
		t.Errorf("two rings within %s", since)
	}
}

func TestAboutHowManyWaitIsKnown(t *testing.T) {
	const waiters = 128
	for range waiters {
		if _, err := (Bell{}).Hear(t.Context(), "here-", lock.NewNonce()); err != nil {
			t.Fatal(err)
		}
	}
	wrong := 0
	for range 5 { // an estimate may be far off now and then
		if here, all := (Bell{}).Hearing("here-"); here < waiters/2 || here > 2*waiters || all < waiters/2 {
			t.Logf("%d of %d seem to wait, want about %d", here, all, waiters)
			wrong++
		}
	}
	if wrong > 2 {
		t.Errorf("%d of 5 estimates are wrong", wrong)
	}
	if here, _ := (Bell{}).Hearing("elsewhere-"); here != 0 {
		t.Errorf("%d seem to wait where nobody does", here)
	}
}

func TestARingCarriesWhoComesNext(t *testing.T) {
	nonces := []string{lock.NewNonce(), lock.NewNonce()}
	many := make([]string, 2*lock.MaxSuccessors)
	for i := range many {
		many[i] = lock.NewNonce()
	}
	for name, tt := range map[string]struct{ next, want lock.Successors }{
		"nobody":  {},
		"two":     {lock.Successors{Read: time.Hour, Nonces: nonces}, lock.Successors{Read: time.Hour, Nonces: nonces}},
		"a crowd": {lock.Successors{Nonces: many}, lock.Successors{Nonces: many[:lock.MaxSuccessors]}},
		"no nonce": {lock.Successors{Read: 1, Nonces: []string{nonces[0], "x", nonces[1]}},
			lock.Successors{Read: 1, Nonces: nonces[:1]}},
	} {
		t.Run(name, func(t *testing.T) {
			nonce := lock.NewNonce()
			rings, err := Bell{}.Hear(t.Context(), "queue-", nonce)
			if err != nil {
				t.Fatal(err)
			}
			if !(Bell{}).Ring(nonce, tt.next) {
				t.Fatal("nobody there")
			}
			if got := <-rings; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestWhatIsPassedToAWaiterWaitsForItsRing(t *testing.T) {
	older := lock.Successors{Read: time.Hour, Nonces: []string{lock.NewNonce()}}
	newer := lock.Successors{Read: 2 * time.Hour, Nonces: []string{lock.NewNonce()}}
	for name, tt := range map[string]struct{ passed, rung, want lock.Successors }{
		"and the ring carries nothing":        {passed: older, want: older},
		"and the ring carries what was older": {newer, older, newer},
		"and the ring carries what was newer": {older, newer, newer},
	} {
		t.Run(name, func(t *testing.T) {
			nonce := lock.NewNonce()
			rings, err := Bell{}.Hear(t.Context(), "queue-", nonce)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // however often
				Bell{}.Pass(nonce, tt.passed)
			}
			select {
			case <-rings:
				t.Fatal("it has rung")
			case <-time.After(2 * quiet):
			}
			if !(Bell{}).Ring(nonce, tt.rung) {
				t.Fatal("nobody there")
			}
			if got := <-rings; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// Another user may ring, and anything may be in it.
func TestARingOfAnotherUserOrOfAnotherFormWakesAndCarriesNothing(t *testing.T) {
	self := os.Getuid()
	whole := encode(ring, lock.Successors{Read: 1, Nonces: []string{lock.NewNonce()}})
	type sent struct {
		ring []byte
		uid  int
		want int
	}
	rings := map[string]sent{
		"one's own":              {whole, self, 1},
		"empty":                  {nil, self, 0},
		"of an older version":    {[]byte{1}, self, 0},
		"cut off in the time":    {whole[:5], self, 0},
		"cut off in a nonce":     {whole[:len(whole)-1], self, 0},
		"longer than is allowed": {bytes.Repeat([]byte{7}, 4*longest), self, lock.MaxSuccessors},
	}
	if self == 0 { // as in CI; nobody else can send in another's name
		rings["another user's"] = sent{whole, 65534, 0}
		rings["no ring, of another user"] = sent{encode(noRing, lock.Successors{}), 65534, 0}
	}
	for name, tt := range rings {
		t.Run(name, func(t *testing.T) {
			nonce := lock.NewNonce()
			rings, err := Bell{}.Hear(t.Context(), "queue-", nonce)
			if err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			credentials := unix.Ucred{Pid: int32(os.Getpid()), Uid: uint32(tt.uid), Gid: uint32(os.Getgid())}
			sender := unix.UnixCredentials(&credentials)
			to := &unix.SockaddrUnix{Name: address(nonce).Name}
			sent, err := os.Create(filepath.Join(t.TempDir(), "sent"))
			if err != nil {
				t.Fatal(err)
			}
			defer sent.Close()
			control := append(sender, unix.UnixRights(int(sent.Fd()))...)
			if err := unix.Sendmsg(fd, tt.ring, control, to, 0); err != nil {
				t.Fatal(err)
			}
			if got := <-rings; len(got.Nonces) != tt.want {
				t.Errorf("%d nonces, want %d", len(got.Nonces), tt.want)
			}
			if n := descriptors(t, sent.Name()); n != 1 {
				t.Errorf("the file that was sent is open %d times", n)
			}
		})
	}
}

// descriptors returns how many of this process are of that file.
func descriptors(t *testing.T, of string) (n int) {
	t.Helper()
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if path, err := os.Readlink(fd); err == nil && path == of {
			n++
		}
	}
	return n
}

func TestTheEndOfAWaitIsNoticed(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	nonce := lock.NewNonce()
	rings, err := Bell{}.Hear(ctx, "queue-", nonce)
	if err != nil {
		t.Fatal(err)
	}
	var followers []<-chan struct{}
	for range 3 {
		over, err := Bell{}.Await(t.Context(), nonce)
		if err != nil {
			t.Fatal(err)
		}
		followers = append(followers, over)
	}
	if !(Bell{}).Ring(nonce, lock.Successors{}) {
		t.Error("nobody there")
	}
	<-rings
	for _, over := range followers {
		if len(over) > 0 {
			t.Error("it seems to be over")
		}
	}
	leave()
	for _, over := range followers {
		<-over
	}
	if (Bell{}).Hears(nonce) {
		t.Error("it is over, and still heard")
	}
}

func TestTheDeathOfAWaiterIsNoticed(t *testing.T) {
	nonce := lock.NewNonce()
	waiter := exec.Command(os.Args[0])
	waiter.Env = append(os.Environ(), "HEAR="+nonce)
	if err := waiter.Start(); err != nil {
		t.Fatal(err)
	}
	defer waiter.Wait()
	defer waiter.Process.Kill()
	over, err := Bell{}.Await(t.Context(), nonce)
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		over, err = Bell{}.Await(t.Context(), nonce)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := waiter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-over
}

// hear is what a process of TestTheDeathOfAWaiterIsNoticed does.
func hear(nonce string) {
	rings, err := Bell{}.Hear(context.Background(), "queue-", nonce)
	if err != nil {
		panic(err)
	}
	for range rings {
	}
}

func TestMain(m *testing.M) {
	if nonce := os.Getenv("HEAR"); nonce != "" {
		hear(nonce)
	}
	os.Exit(m.Run())
}

// Anybody may await a waiter as often as they like.
func TestWhoCannotNoticeTheEndOfAWaitIsNotHeldUp(t *testing.T) {
	nonce := lock.NewNonce()
	if _, err := (Bell{}).Await(t.Context(), nonce); err == nil {
		t.Error("nobody waits, and can be awaited")
	}
	rings, err := Bell{}.Hear(t.Context(), "queue-", nonce)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; err == nil; i++ {
		ctx, stop := context.WithCancel(t.Context())
		_, err = Bell{}.Await(ctx, nonce)
		stop()
		if i > 2*followers {
			t.Fatalf("%d await it", i)
		}
	}
	if !(Bell{}).Ring(nonce, lock.Successors{}) {
		t.Error("nobody there")
	}
	<-rings
}
