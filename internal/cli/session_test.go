package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestAWarningOfSeveralErrorsIsOneReadableLine(t *testing.T) {
	var out bytes.Buffer
	s := &Session{Console: &Console{err: &out}, Name: "acquire-lock"}
	if err := s.Soften(t.Context(), WarnOnly, errors.Join(errors.New("one"), errors.New("two"))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "one; two (mode") {
		t.Errorf("%q", out.String())
	}
}
