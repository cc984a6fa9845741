package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"hostguard/internal/hexid"
	"hostguard/lock"
)

// Configs keeps entries as "docker config" objects of the swarm that a daemon manages,
// for all its nodes. The managers agree on each by raft: a name exists once, and an
// entry's Fence is its place in their common log.
//
// A list may come from a manager that has just lost the others without knowing it. It
// shows the log as it was at some moment, so that a list that shows an entry shows all
// that were made before it; that suffices for exclusion (see lock/exclude.go).
type Configs struct{ engine *Engine }

var (
	_ lock.Engine     = Configs{}
	_ lock.Containers = Configs{}
)

// managerTime is how long Configs waits to hear that the daemon is no manager, which it
// knows by itself.
const managerTime = 2 * time.Second

// Configs returns the store of the daemon's swarm. It fails if the daemon is no manager
// of one. That the managers do not answer is left to the requests: after the death of
// their leader one takes more than 10 s.
func (e *Engine) Configs(ctx context.Context) (Configs, error) {
	ctx, cancel := context.WithTimeout(ctx, managerTime)
	defer cancel()
	c := Configs{e}
	if _, err := c.list(ctx, queueNames+"none"); errors.Is(err, lock.ErrRefused) {
		return Configs{}, err
	}
	return c, nil
}

// nameLabel has an entry's name, which may be longer than that of a config and have
// other letters at its end.
const nameLabel = "hostguard.name"

const (
	maxConfigName = 64
	queueNames    = "hg-" // begins the names of lock's own entries, which are short
	plainNames    = "hg." // precedes that of any other entry
	hashedNames   = "hg.."
)

// configName returns the name of the config for an entry.
func configName(name string) string {
	plain := plainNames + name
	if strings.HasPrefix(name, queueNames) {
		plain = name
	}
	if len(plain) <= maxConfigName && strings.Trim(plain[len(plain)-1:], "_.-") != "" {
		return plain
	}
	sum := sha256.Sum256([]byte(name))
	return hashedNames + hex.EncodeToString(sum[:16])
}

// configNames returns the beginnings of the names of the configs for all entries whose
// names begin with prefix, and maybe of more.
func configNames(prefix string) []string {
	switch {
	case strings.HasPrefix(queueNames, prefix):
		return []string{"hg"}
	case strings.HasPrefix(prefix, queueNames):
		return []string{prefix[:min(len(prefix), maxConfigName)], hashedNames}
	}
	prefix = plainNames + prefix
	return []string{prefix[:min(len(prefix), maxConfigName)], hashedNames}
}

// Create adds a config.
func (c Configs) Create(ctx context.Context, name string, labels map[string]string) (string, error) {
	all := map[string]string{nameLabel: name}
	maps.Copy(all, labels)
	created, err := c.engine.client.ConfigCreate(ctx, swarm.ConfigSpec{
		Annotations: swarm.Annotations{Name: configName(name), Labels: all},
		Data:        []byte(name), // an empty one is refused
	})
	if cerrdefs.IsConflict(err) {
		return "", lock.ErrConflict
	}
	if err != nil {
		return "", c.classify(err)
	}
	return entryID(created.ID)
}

// List returns the entries whose names begin with one of the prefixes.
func (c Configs) List(ctx context.Context, prefixes ...string) ([]lock.Entry, error) {
	var names []string
	for _, prefix := range prefixes {
		names = append(names, configNames(prefix)...)
	}
	configs, err := c.list(ctx, names...)
	if err != nil {
		return nil, err
	}
	var entries []lock.Entry
	for _, config := range configs {
		name, ours := config.Spec.Labels[nameLabel]
		if !ours || configName(name) != config.Spec.Name || !slices.ContainsFunc(prefixes,
			func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			continue
		}
		id, err := entryID(config.ID)
		if err != nil {
			return nil, err
		}
		l := bounded(listed{ID: id, Labels: config.Spec.Labels})
		delete(l.Labels, nameLabel)
		entries = append(entries, lock.Entry{ID: id, Name: name, Created: config.CreatedAt, Labels: l.Labels,
			Fence: config.Version.Index})
	}
	return entries, nil
}

func (c Configs) list(ctx context.Context, names ...string) ([]swarm.Config, error) {
	args := filters.NewArgs(filters.Arg("label", nameLabel))
	for _, name := range names {
		args.Add("name", name)
	}
	configs, err := c.engine.client.ConfigList(ctx, swarm.ConfigListOptions{Filters: args})
	if err != nil {
		return nil, c.classify(err)
	}
	return configs, nil
}

// Remove takes away the config with this ID. "There is none" is believed only once it is
// confirmed: a manager that has just come to lead may not have read all of the log yet, and one
// that sends a removal again, since the leader has changed, finds that the first has done it.
func (c Configs) Remove(ctx context.Context, id string) error {
	config, err := configID(id)
	if err != nil {
		return err
	}
	err = c.engine.client.ConfigRemove(ctx, config)
	switch {
	case err == nil:
		return nil
	case !cerrdefs.IsNotFound(err):
		return c.classify(err)
	}
	there, err := c.confirm(ctx, config)
	switch {
	case err != nil:
		return err
	case there:
		return fmt.Errorf("the swarm of the Docker daemon at %q has a new leader, which did not know the config yet",
			c.engine.Address())
	}
	return lock.ErrNotFound
}

// confirmNames begins the names of what confirm makes. One that is killed leaves it there, for a
// later one to remove after confirmLife.
const (
	confirmNames = "hostguard-confirm-"
	confirmLife  = time.Hour
)

// confirm reports whether a config is there, by a list that also shows one which was made for
// this purpose: such a list shows all that was made before that.
func (c Configs) confirm(ctx context.Context, config string) (there bool, err error) {
	name := confirmNames + lock.NewNonce()
	later, err := c.engine.client.ConfigCreate(ctx, swarm.ConfigSpec{
		Annotations: swarm.Annotations{Name: name}, Data: []byte(name),
	})
	if err != nil {
		return false, c.classify(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), managerTime)
		defer cancel()
		_ = c.engine.client.ConfigRemove(ctx, later.ID)
		c.removeOldConfirms(ctx)
	}()
	configs, err := c.engine.client.ConfigList(ctx, swarm.ConfigListOptions{
		Filters: filters.NewArgs(filters.Arg("id", config), filters.Arg("id", later.ID)),
	})
	if err != nil {
		return false, c.classify(err)
	}
	has := func(id string) bool {
		return slices.ContainsFunc(configs, func(c swarm.Config) bool { return c.ID == id })
	}
	if !has(later.ID) {
		return false, fmt.Errorf("the swarm of the Docker daemon at %q has a new leader, which does not know all "+
			"configs yet", c.engine.Address())
	}
	return has(config), nil
}

// removeOldConfirms removes what killed processes have left of confirm, by its exact names alone.
func (c Configs) removeOldConfirms(ctx context.Context) {
	configs, _ := c.engine.client.ConfigList(ctx, swarm.ConfigListOptions{
		Filters: filters.NewArgs(filters.Arg("name", confirmNames)),
	})
	for _, config := range configs {
		nonce, ours := strings.CutPrefix(config.Spec.Name, confirmNames)
		if ours && hexid.Is(nonce, 32) && time.Since(config.CreatedAt) > confirmLife {
			_ = c.engine.client.ConfigRemove(ctx, config.ID)
		}
	}
}

// Watch reports the creation of configs whose name begins with prefix.
func (c Configs) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	begin := configNames(prefix)
	created, errs := c.engine.client.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "config"), filters.Arg("event", "create"), filters.Arg("scope", "swarm"),
	)})
	select {
	case err := <-errs:
		return nil, c.classify(err)
	default:
	}
	wakes := make(chan struct{}, 1)
	go func() {
		defer close(wakes)
		for {
			select {
			case event := <-created:
				if !slices.ContainsFunc(begin, func(name string) bool {
					return strings.HasPrefix(event.Actor.Attributes["name"], name)
				}) {
					continue
				}
				select {
				case wakes <- struct{}{}:
				default: // one is enough; the stream must be drained
				}
			case <-errs:
				return
			}
		}
	}()
	return wakes, nil
}

// Container implements lock.Containers for those of this node. That the daemon has none
// of an ID proves nothing: another node may run it.
func (c Configs) Container(ctx context.Context, id, started string) (lock.Life, string) {
	life, evidence := c.engine.Container(ctx, id, started)
	if evidence == goneContainer {
		return lock.Unknown, "its container is not on this node"
	}
	return life, evidence
}

// classify translates an error as Engine's does. A daemon answers 503 both where it is
// no manager, for which something is to be done, and where managers are missing.
func (c Configs) classify(err error) error {
	text := err.Error()
	switch at := c.engine.Address(); {
	case strings.Contains(text, "not a swarm manager"), strings.Contains(text, "not part of a swarm"):
		return &Unusable{fmt.Sprintf("the Docker daemon at %q is not a manager of a swarm", at),
			"make it one (docker swarm init, or docker node promote NODE on a manager), or set DOCKER_HOST to one",
			lock.ErrRefused}
	case strings.Contains(text, "swarm is encrypted"), strings.Contains(text, "needs to be unlocked"):
		return &Unusable{fmt.Sprintf("the swarm of the Docker daemon at %q is locked", at), "run docker swarm unlock",
			lock.ErrRefused}
	case strings.Contains(text, "does not have a leader"):
		return fmt.Errorf("the swarm of the Docker daemon at %q has no leader, because most of its managers do not "+
			"answer: %w", at, brief{err})
	}
	return c.engine.classify(err)
}

// The ID of a config has 25 letters and digits; an entry's is their bytes, in hex
// digits, filled with zeros.
const configIDs = "0123456789abcdefghijklmnopqrstuvwxyz"

func entryID(config string) (string, error) {
	if len(config) != 25 || strings.Trim(config, configIDs) != "" {
		return "", fmt.Errorf("the Docker daemon's ID of a config, %.100q, is not 25 letters and digits", config)
	}
	return hex.EncodeToString([]byte(config)) + strings.Repeat("0", 64-2*25), nil
}

func configID(entry string) (string, error) {
	text, err := hex.DecodeString(strings.TrimSuffix(entry, strings.Repeat("0", 64-2*25)))
	if err != nil || len(text) != 25 || strings.Trim(string(text), configIDs) != "" {
		return "", fmt.Errorf("%w: %.64q is not the ID of a config", lock.ErrNotFound, entry)
	}
	return string(text), nil
}
