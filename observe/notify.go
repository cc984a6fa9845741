package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"time"

	"hostguard/history"
)

// Notice is the JSON that a notification carries. It has no secret: what is in it, "status"
// shows to everybody on the host.
type Notice struct {
	Version    int       `json:"version"`
	Event      string    `json:"event"` // "wait" or "takeover"
	Host       string    `json:"host"`
	Time       time.Time `json:"time"`
	Lock       string    `json:"lock,omitempty"` // none for a wait at the pressure gate
	Repository string    `json:"repository,omitempty"`
	Workflow   string    `json:"workflow,omitempty"`
	Job        string    `json:"job,omitempty"`
	Run        string    `json:"run,omitempty"`
	RunURL     string    `json:"run_url,omitempty"`
	Since      time.Time `json:"since"`
	Seconds    int       `json:"seconds"`
	Evidence   string    `json:"evidence,omitempty"` // of a takeover
	ID         string    `json:"id"`                 // of the interval in the history
}

// Notifier sends a notice once for each long wait and each takeover. A receiver that fails or
// hangs costs nothing but its notices.
type Notifier struct {
	Host    string
	After   time.Duration // the wait that is worth a notice
	Command string        // a program that gets the notice on its standard input, or ""
	URL     string        // that the notice is posted to, or ""
	Report  func(format string, args ...any)

	queue chan Notice
	long  map[string]bool // waits that are open, by ID
}

// NewNotifier returns a notifier without a receiver.
func NewNotifier(host string, after time.Duration, report func(format string, args ...any)) *Notifier {
	return &Notifier{Host: host, After: after, Report: report, queue: make(chan Notice, maxNotices)}
}

const (
	maxNotices = 16               // that wait to be sent
	noticeTime = 10 * time.Second // for one, by each way
)

// Saw queues the notices of a look. It never waits: what does not fit into the queue is lost.
func (n *Notifier) Saw(l Look, open, ended []history.Interval) {
	long := map[string]bool{}
	for _, i := range open {
		waits := i.Kind == history.Wait || i.Kind == history.Pressure
		if !waits || i.Until.Sub(i.From) < n.After {
			continue
		}
		if long[i.ID] = true; !n.long[i.ID] {
			n.put(n.notice("wait", l.At, i))
		}
	}
	n.long = long
	for _, i := range ended {
		if i.Kind == history.Hold && i.End == history.EndTakenOver {
			n.put(n.notice("takeover", l.At, i))
		}
	}
}

func (n *Notifier) notice(event string, at time.Time, i history.Interval) Notice {
	notice := Notice{Version: 1, Event: event, Host: n.Host, Time: at, Lock: i.Name, Repository: i.Who.Repository,
		Workflow: i.Who.Workflow, Job: i.Who.Job, Run: i.Who.Run, RunURL: i.Who.RunURL, Since: i.From,
		Seconds: int(i.Until.Sub(i.From).Seconds()), ID: i.ID}
	if event == "takeover" {
		notice.Evidence = i.Evidence
	}
	return notice
}

func (n *Notifier) put(notice Notice) {
	select {
	case n.queue <- notice:
	default:
		n.Report("notify: %d notices wait to be sent; one is lost", maxNotices)
	}
}

// Run sends notices, one at a time, until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case notice := <-n.queue:
			body, err := json.Marshal(notice)
			if err != nil {
				continue // no text makes that fail
			}
			if n.Command != "" {
				n.check(ctx, fmt.Sprintf("run %q", n.Command), n.run(ctx, body))
			}
			if n.URL != "" {
				n.check(ctx, "post to the URL", n.post(ctx, body))
			}
		}
	}
}

func (n *Notifier) check(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		n.Report("notify: %s: %v", what, err)
	}
}

// run gives a notice to the program, which has no arguments and needs no shell.
func (n *Notifier) run(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.Command)
	cmd.Stdin = bytes.NewReader(body)
	cmd.WaitDelay = time.Second // a process that it has left behind keeps no pipe open for us
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("it did not end within %s", noticeTime)
	}
	return err
}

// post sends a notice to the URL, whose text may be a secret: no error shows it.
func (n *Notifier) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("it is not a URL")
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer within %s", noticeTime)
	case err != nil:
		return unwrapURL(err)
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the answer is %d", response.StatusCode)
	}
	return nil
}

// unwrapURL returns the error of a request without its URL.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
