package operate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hostguard/history"
	"hostguard/install"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/observe"
	"hostguard/page"
)

const helpObserve = `Watches this host and keeps a history of it: who held which lock and who waited for
it, takeovers and what proved them, jobs that wait for pressure to end, heavy builds,
stall, task containers and runners. "hostguard why" and "hostguard report" read it; a
page and metrics are served on this host. Jobs need nothing for that.

It changes nothing: it cannot take, break or release a lock, and what is served only
shows. No lock depends on it: killed or absent, it changes no verdict. It runs until
interrupted; as a service: "hostguard install -observe".

{inputs}

A plain "docker network create NAME" is seen if hostguard has used that name here, or
as -lock-name. From another machine: ssh -L 8437:127.0.0.1:8437 HOST

exit status: 2 wrong use; 3 no Docker, no permission, another observer writes the
history, or the address is in use; 130 or 143 interrupted.

example: hostguard observe -history /var/lib/hostguard -notify-after 30m -notify /etc/hostguard/notify
`

// watching is one run of observe.
type watching struct {
	lockwire.Several
	history, listen, name string
	notify, notifyURL     string
	after                 time.Duration
}

// listenNone is the address for no server.
const listenNone = "none"

func (o *watching) Inputs() []cli.Input {
	return append(o.Several.Inputs(), []cli.Input{
		lockwire.HistoryInput(&o.history),
		{Name: "listen", Kind: cli.Text(&o.listen, nil), Default: "127.0.0.1:8437", FlagOnly: true,
			Arg: "ADDRESS:PORT|unix:PATH|none", Text: "where the page and the metrics are served"},
		{Name: "allow-remote", Kind: cli.Text(&o.name, checkHost), FlagOnly: true, Arg: "NAME",
			Text: "lets -listen name an address that other machines reach, and answers those that ask for this " +
				"name or address; they see all that is shown, unencrypted and without a password"},
		{Name: "notify", Kind: cli.Text(&o.notify, checkNotify), FlagOnly: true, Arg: "PROGRAM",
			Text: "run this, without arguments, after a long wait or a takeover; its standard input is a JSON object"},
		{Name: "notify-url", Kind: cli.Text(&o.notifyURL, checkNotifyURL), Arg: "URL",
			Text: "post that object to this URL"},
		{Name: "notify-after", Kind: cli.Duration(&o.after, time.Second, 24*time.Hour), Default: "15m", FlagOnly: true,
			Text: "the wait that is long"},
	}...)
}

func checkHost(name string) error {
	if strings.ContainsAny(name, "/: \t\"") && net.ParseIP(name) == nil {
		return errors.New("must be a name or an address without a port")
	}
	return nil
}

// checkNotify refuses a program that others could replace: the observer may be root's.
func checkNotify(path string) error {
	if info, err := os.Stat(path); !filepath.IsAbs(path) || err != nil || !info.Mode().IsRegular() ||
		info.Mode().Perm()&0o111 == 0 {
		return errors.New("must be the absolute path of an executable file")
	}
	return install.CheckOwners(path, os.Geteuid())
}

func checkNotifyURL(text string) error {
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("must be an http or https URL")
	}
	return nil
}

func (o *watching) Run(ctx context.Context, s *cli.Session) error {
	if o.listen != listenNone {
		if err := observe.CheckAddress(o.listen, o.name != ""); err != nil {
			return cli.Usagef("%w", err)
		}
	}
	eyes, err := openEyes(ctx, s, o.Several)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(cmp.Or(o.history, lockwire.HistoryDir(s)))
	if err != nil {
		return err
	}
	host := hostName()
	record, err := openRecord(dir, s, host, eyes.learn)
	if err != nil {
		return err
	}
	defer record.Close()
	notifier := observe.NewNotifier(host, o.after, s.Warning)
	notifier.Command, notifier.URL = o.notify, o.notifyURL
	metrics := observe.NewMetrics(s.Version)
	board := &board{record: record, host: host, program: "hostguard " + s.Version}
	board.in, board.out = eyes.sight(o.Backend)
	server := &observe.Server{Metrics: metrics, Files: page.Files(), Document: board.document, Since: board.since,
		LastLook: board.lastLook}
	observer := observe.Observer{Eyes: eyes, Recorder: record, Metrics: metrics, Report: s.Warning,
		Changed: func(l observe.Look, open, ended []history.Interval) {
			if o.notify != "" || o.notifyURL != "" {
				notifier.Saw(l, open, ended)
			}
			if update := board.saw(l, open, ended); server.Watched() {
				server.Publish(update.AppendJSON(nil))
			}
		}}
	var listener net.Listener
	if o.listen != listenNone {
		if listener, err = observe.Listen(o.listen); err != nil {
			return err
		}
		server.Names = serverNames(o.name, listener)
		if o.name != "" {
			s.Warning("observe: other machines can read the page at %q: who builds what here, unencrypted and without "+
				"a password", o.listen)
		}
	}
	s.Print("observing %s; history in %q", eyes.store.Where, dir)
	if listener != nil {
		s.Print("page at %s", pageAddress(listener))
	}
	return o.serve(ctx, &observer, notifier, server, listener)
}

// serve runs the parts until ctx ends, or the server cannot go on.
func (o *watching) serve(
	ctx context.Context, observer *observe.Observer, notifier *observe.Notifier, server *observe.Server, l net.Listener,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	parts.Go(func() { observer.Run(ctx) })
	parts.Go(func() { notifier.Run(ctx) })
	if l != nil {
		parts.Go(func() {
			if err := server.Serve(ctx, l); err != nil {
				cancel(fmt.Errorf("serve on %q: %w", o.listen, err))
			}
		})
	}
	parts.Wait()
	return context.Cause(ctx)
}

// serverNames returns the names by which the server may be asked.
func serverNames(given string, l net.Listener) (names []string) {
	if given != "" {
		names = append(names, strings.ToLower(given))
	}
	if host, _, err := net.SplitHostPort(l.Addr().String()); err == nil {
		names = append(names, host)
	}
	return names
}

// pageAddress returns where the page is, for people.
func pageAddress(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return fmt.Sprintf("%q, a socket", l.Addr())
	}
	return "http://" + l.Addr().String() + "/"
}
