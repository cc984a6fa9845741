package bell

import (
	"context"
	"testing"
	"time"

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
	if here, all := (Bell{}).Hearing("here-"); here < waiters/2 || here > 2*waiters || all < waiters/2 {
		t.Errorf("%d of %d seem to wait, want about %d", here, all, waiters)
	}
	if here, _ := (Bell{}).Hearing("elsewhere-"); here != 0 {
		t.Errorf("%d seem to wait where nobody does", here)
	}
}
