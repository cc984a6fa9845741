package steps

import (
	"context"
	"fmt"
	"runtime"
)

func version(_ context.Context, s *session) error {
	if err := s.in.parse(); err != nil {
		return err
	}
	fmt.Fprintf(s.Stdout, "hostguard %s %s/%s %s\n", s.Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return nil
}
