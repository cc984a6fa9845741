package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/runner"
)

// setDisabled returns the change at the server that disables or enables the runner in a
// container; none if it is so already. If the change is impossible, it only prints why:
// the container matters, not its entry there.
func (o *containerOptions) setDisabled(
	ctx context.Context, s *cli.Session, h runner.Host, c runner.Container, disabled bool,
) []change {
	what := choose(disabled, "disable", "enable")
	entry, name, err := o.atServer(ctx, s, h, c)
	if err != nil {
		s.Print("cannot %s it at Gitea: %s", what, cli.OneLine(err))
		return nil
	}
	if entry.Disabled == disabled {
		return nil
	}
	made := false
	return []change{{
		text: fmt.Sprintf("%s the runner %s", what, name),
		do: func(context.Context) error {
			if err := entry.SetDisabled(disabled); err != nil {
				s.Warning("could not %s it at Gitea: %s; continuing", what, cli.OneLine(err))
				return nil
			}
			made = true
			return nil
		},
		undo: func(context.Context) error {
			err := entry.SetDisabled(!disabled)
			if !made {
				return nil // whether do took effect is not known
			}
			return err
		},
	}}
}

// atServer returns the entry of a container's runner at the server that the checkout's
// remote names.
func (o *containerOptions) atServer(
	ctx context.Context, s *cli.Session, h runner.Host, c runner.Container,
) (entry gitea.Registered, name string, err error) {
	own, found := o.host.files.RegistrationIn(ctx, c.Mounts)
	if !found {
		return entry, "", errors.New("its registration was not found in the mounts of the container")
	}
	hosts := []string{h.RegistrationPath}
	for _, d := range h.Daemons {
		hosts = append(hosts, d.Registration)
	}
	slices.Sort(hosts)
	for _, file := range slices.Compact(hosts) { // each container can mount any of them
		if other, found := o.host.files.RegistrationIn(ctx, []string{file}); found && other == own {
			return entry, "", errors.New("the host's own runner has the same registration, and would change with it")
		}
	}
	remote, err := remoteOf(ctx, s, o.checkout)
	if err != nil {
		return entry, "", err
	}
	if strings.TrimSuffix(own.Address, "/") != remote.Server {
		return entry, "", fmt.Errorf("it is registered at %.200q, but the checkout %q is of %.200q; give -checkout",
			own.Address, o.checkout, remote.Server)
	}
	if !remote.Token.Given() {
		return entry, "", errors.New("no token is given; set GITEA_TOKEN")
	}
	// For the undo after an interruption.
	inventory, err := gitea.NewInventory(context.WithoutCancel(ctx), remote.Server, remote.Token)
	if err != nil {
		return entry, "", err
	}
	entry, err = inventory.Registered(own.ID, own.Name, remote.Repository)
	return entry, fmt.Sprintf("%.100q (%d) at %.200q", own.Name, own.ID, remote.Server), err
}
