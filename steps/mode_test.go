package steps

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestAWarningOfSeveralErrorsIsOneReadableLine(t *testing.T) {
	var said bytes.Buffer
	s := &session{console: &console{err: &said}, name: "acquire-lock"}
	if err := s.soften(t.Context(), warnOnly, errors.Join(errors.New("one"), errors.New("two"))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "one; two (mode") {
		t.Errorf("%q", said.String())
	}
}
