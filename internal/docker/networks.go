package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"hostguard/internal/hexid"
)

// Whoever can make networks can make very many, with labels of any length. What one
// list of them may take here:
const (
	maxNetworks = 256 << 20 // bytes
	maxLabel    = 4096      // longer than any of ours
	maxLabels   = 200
)

// listed is what matters of a network in a list.
type listed struct {
	ID         string `json:"Id"`
	Name       string
	Created    time.Time
	ConfigOnly bool
	Labels     map[string]string
}

// networks calls visit with the networks that the daemon lists. The SDK's client would
// keep the whole answer in memory twice, with what belongs to networks that nobody here
// asks for; it serves for daemons on other machines.
func (e *Engine) networks(ctx context.Context, args filters.Args, visit func(listed)) error {
	if e.Local() {
		answered, err := e.stream(ctx, args, visit)
		if answered || err != nil {
			return err
		}
	}
	networks, err := e.client.NetworkList(ctx, network.ListOptions{Filters: args}) // has the daemon's own words
	for _, n := range networks {
		visit(bounded(listed{n.ID, n.Name, n.Created, n.ConfigOnly, n.Labels}))
	}
	return err
}

// stream decodes one network after the other; answered is false if the daemon refused.
func (e *Engine) stream(ctx context.Context, args filters.Args, visit func(listed)) (answered bool, err error) {
	query := url.Values{}
	if args.Len() > 0 {
		text, err := filters.ToJSON(args)
		if err != nil {
			return false, err
		}
		query.Set("filters", text)
	}
	address := "http://" + client.DummyHost + "/v" + e.client.ClientVersion() + "/networks?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, err
	}
	// As the SDK's client has it: else the transport would not use its connections.
	request.URL.Host = strings.TrimPrefix(e.client.DaemonHost(), "unix://")
	response, err := e.client.HTTPClient().Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, nil
	}
	decoder := json.NewDecoder(response.Body)
	begin, err := decoder.Token()
	if err == nil && begin != nil && begin != json.Delim('[') {
		err = errors.New("its answer is not a list of networks")
	}
	for err == nil && decoder.More() {
		var n listed
		if err = decoder.Decode(&n); err == nil {
			visit(bounded(n))
		}
	}
	if err == nil && begin != nil { // null is an empty list, and one that is cut off none
		_, err = decoder.Token()
	}
	_, _ = io.CopyN(io.Discard, response.Body, 512) // to its end, or the connection is not used again
	return true, err
}

// bounded returns a network without labels that no entry has, and without an ID that no
// daemon gives: it goes into requests, outputs and records.
func bounded(n listed) listed {
	maps.DeleteFunc(n.Labels, func(name, value string) bool { return len(name)+len(value) > maxLabel+100 })
	if len(n.Labels) > maxLabels {
		n.Labels = nil
	}
	if !hexid.Is(n.ID, 64) {
		n.ID, n.Labels = "unreadable", nil
	}
	return n
}
