package docker

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/docker/docker/client"
)

// maxAnswer is what is read of an answer of the daemon. Whoever makes containers decides how
// long it is: a label has any length, and the SDK's client keeps all of it.
const maxAnswer = 32 << 20

// limiter is a transport whose answers end with an error where they are too long.
type limiter struct{ http.RoundTripper }

// boundAnswers bounds the answers that a client reads.
func boundAnswers(c *client.Client) error {
	connection := c.HTTPClient()
	connection.Transport = limiter{connection.Transport}
	return client.WithHTTPClient(connection)(c)
}

// RoundTrip implements http.RoundTripper.
func (l limiter) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	limit := int64(maxAnswer)
	switch path := request.URL.Path; {
	case strings.HasSuffix(path, "/events"): // read one by one, as long as somebody waits
		return response, nil
	case strings.HasSuffix(path, "/networks"):
		limit = maxNetworks
	}
	response.Body = &boundedBody{response.Body, limit, limit}
	return response, nil
}

// boundedBody is the body of an answer.
type boundedBody struct {
	io.ReadCloser
	limit, left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("its answer is longer than %d MiB", b.limit>>20)
	}
	return n, err
}
