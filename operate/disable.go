package operate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/runnerdir"
	"hostguard/runner"
)

// setDisabled is the change at the server that keeps jobs from the runner in a
// container, or lets it have them again; none where it is so already. Where it
// cannot be made, that is said: the container matters, not its entry there.
func setDisabled(
	ctx context.Context, s *cli.Session, h runner.Host, c runner.Container, checkout string, disabled bool,
) []change {
	what := cond(disabled, "disable", "enable")
	entry, name, err := atServer(ctx, s, h, c, checkout)
	if err != nil {
		s.Say("does not %s it at Gitea: %s", what, cli.OneLine(err))
		return nil
	}
	if entry.Disabled == disabled {
		return nil
	}
	made := false
	return []change{{
		say: fmt.Sprintf("%s the runner %s at Gitea", what, name),
		do: func(context.Context) error {
			if err := entry.SetDisabled(disabled); err != nil {
				s.Warning("did not %s it at Gitea: %s; going on", what, cli.OneLine(err))
				return nil
			}
			made = true
			return nil
		},
		undo: func(context.Context) error {
			err := entry.SetDisabled(!disabled)
			if !made {
				return nil // whether it took effect is not known
			}
			return err
		},
	}}
}

// atServer finds the runner of a container at the server that the checkout's
// remote names.
func atServer(
	ctx context.Context, s *cli.Session, h runner.Host, c runner.Container, checkout string,
) (entry gitea.Registered, name string, err error) {
	own, found := runnerdir.Registration(c.Mounts)
	if !found {
		return entry, "", errors.New("its registration was not found in what the container has of this host")
	}
	if other, found := runnerdir.Registration([]string{h.RegistrationPath}); found && other == own {
		return entry, "", errors.New("the host's own runner has the same registration, and would change with it")
	}
	remote, err := remoteOf(ctx, s, checkout)
	if err != nil {
		return entry, "", err
	}
	if strings.TrimSuffix(own.Address, "/") != remote.Server {
		return entry, "", fmt.Errorf("it is registered at %.200q, and the checkout %q is of %.200q; give -checkout",
			own.Address, checkout, remote.Server)
	}
	if !remote.Token.Given() {
		return entry, "", errors.New("no token is given; set GITEA_TOKEN")
	}
	// To take it back after an interruption.
	inventory, err := gitea.NewInventory(context.WithoutCancel(ctx), remote.Server, remote.Token)
	if err != nil {
		return entry, "", err
	}
	entry, err = inventory.Registered(own.ID, own.Name, remote.Repository)
	return entry, fmt.Sprintf("%.100q (%d)", own.Name, own.ID), err
}
