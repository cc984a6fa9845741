package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/lock"
)

const helpBreakLock = `usage: hostguard break-lock -reason TEXT [-force] [FLAG...]

Takes the lock away from its holder, by its ID, after recording that in the audit
file. A living holder is not notified: it may go on building, and its release
reports that the lock was lost. Refuses a lock whose holder is known to be alive,
unless -force is given.

{inputs}

Each line of the audit file is JSON: when, who (user, sudo user, SSH client, or
the workflow's run), why, and what was removed with the evidence about its holder.
It proves nothing against users who can write it, and has no record of locks removed
by "docker network rm".

exit status: 0 broken or nothing to break, 1 its holder lives, 2 wrong use,
3 hostguard could not do its work.

example: hostguard break-lock -reason "runner 110 was reinstalled"
`

// breakLock is one run of break-lock.
type breakLock struct {
	lockwire.Options
	reason, audit string
	force, json   bool
}

func (b *breakLock) Inputs() []cli.Input {
	return append(b.Options.Inputs(), []cli.Input{ // flags, since these are decided case by case
		{Name: "reason", Kind: cli.Text(&b.reason, checkReason), FlagOnly: true, Text: "why; the audit file keeps it"},
		{Name: "force", Kind: cli.Bool(&b.force), FlagOnly: true, Text: "even if the holder is alive"},
		{Name: "audit-file", Kind: cli.Text(&b.audit, cli.BelowRoot), Arg: "FILE",
			Text: "default /var/log/hostguard/audit.jsonl for root, else $HOME/.local/state/hostguard/audit.jsonl"},
		cli.JSONInput(&b.json),
	}...)
}

// breakReport is what "break-lock -json" prints.
type breakReport struct {
	Version   int           `json:"version"` // of this format
	Lock      string        `json:"lock"`
	Backend   string        `json:"backend"`
	Broken    []entryReport `json:"broken"` // none of a free lock
	AuditFile string        `json:"audit_file"`
	Error     string        `json:"error,omitempty"`
}

func (b *breakLock) Run(ctx context.Context, s *cli.Session) (err error) {
	if b.reason == "" {
		return cli.Usagef("-reason must say why lock %q has to be broken: the audit file keeps it", b.Lock)
	}
	if b.audit == "" {
		if b.audit, err = defaultAuditFile(s.Getenv, os.Geteuid()); err != nil {
			return err
		}
	}
	s.PrintInputs()
	store, err := lockwire.Open(ctx, s, b.Backend, 0)
	if err != nil {
		return err
	}
	line := auditLine{Version: 1, By: auditorOf(s), Reason: b.reason, Lock: b.Lock, Backend: b.Backend, Forced: b.force}
	broken, err := store.Break(ctx, b.Lock, b.force, func(j lock.Judged) error {
		line.Time, line.Entry = time.Now().UTC(), reportJudged(j)
		return line.writeTo(b.audit)
	})
	for _, j := range broken {
		s.Print("broke lock %q (id %.64q): it was %s; %s: %s", b.Lock, j.ID,
			lockwire.DescribeHolder(j.Entry, time.Now()), j.State(), j.Verdict.Evidence)
	}
	if errors.Is(err, lock.ErrAlive) {
		err = cli.Refusedf("%w; end its job, or give -force to break it anyway", err)
	}
	if b.json {
		err = errors.Join(err, b.report(s, broken, err))
	}
	switch {
	case err != nil:
		return err
	case len(broken) == 0:
		s.Print("nothing to break: lock %q is free", b.Lock)
		return nil
	}
	s.Print("recorded in %q; the former holder may still work as if it held the lock", b.audit)
	return nil
}

func (b *breakLock) report(s *cli.Session, broken []lock.Judged, err error) error {
	r := breakReport{Version: 1, Lock: b.Lock, Backend: b.Backend, Broken: []entryReport{}, AuditFile: b.audit}
	for _, j := range broken {
		r.Broken = append(r.Broken, reportJudged(j))
	}
	if err != nil {
		r.Error = cli.OneLine(err)
	}
	return s.JSON(r)
}

// auditLine is one line of the audit file: what is about to be removed.
type auditLine struct {
	Version int         `json:"version"` // of this format
	Time    time.Time   `json:"time"`
	By      auditor     `json:"by"`
	Reason  string      `json:"reason"`
	Lock    string      `json:"lock"`
	Backend string      `json:"backend"`
	Forced  bool        `json:"forced"`
	Entry   entryReport `json:"entry"`
}

// auditor identifies who broke a lock, by their own account.
type auditor struct {
	User       string `json:"user"`
	UID        int    `json:"uid"`
	SudoUser   string `json:"sudo_user,omitempty"`
	From       string `json:"from,omitempty"` // the address of an SSH client
	Host       string `json:"host"`
	PID        int    `json:"pid"`
	Repository string `json:"repository,omitempty"` // of the workflow, if one broke the lock
	RunID      string `json:"run_id,omitempty"`
}

func auditorOf(s *cli.Session) auditor {
	a := auditor{
		User: userName(), UID: os.Geteuid(), PID: os.Getpid(),
		SudoUser: s.Getenv("SUDO_USER"), From: s.Getenv("SSH_CLIENT"),
		Repository: s.Getenv("GITHUB_REPOSITORY"), RunID: s.Getenv("GITHUB_RUN_ID"),
	}
	a.Host, _ = os.Hostname()
	return a
}

// userName returns the name of this process's user, or "".
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

func defaultAuditFile(getenv func(string) string, uid int) (string, error) {
	if uid == 0 {
		return "/var/log/hostguard/audit.jsonl", nil
	}
	home := getenv("HOME")
	if cli.BelowRoot(home) != nil {
		return "", cli.Usagef("HOME is %q, not a directory for the audit file; give -audit-file", home)
	}
	return filepath.Join(home, ".local/state/hostguard/audit.jsonl"), nil
}

// writeTo appends the line to the audit file before the lock is removed: every removal is
// recorded, though a recorded lock may have been gone already.
func (l auditLine) writeTo(path string) error {
	line, err := cli.Printable(l)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return fmt.Errorf("write audit file %q: %w; no lock is broken without a record, give another -audit-file",
			path, cli.Pathless(err))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	return f.Close()
}
