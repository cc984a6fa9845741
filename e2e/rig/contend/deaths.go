package contend

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Death is one way in which a holder ends without a release.
type Death struct {
	Name     string
	Evidence string // that whoever takes over names
	Alive    string // what a waiter reports of one that is half dead, if it can be
	hold     func(*Rig) (*Holder, error)
}

// Holder has the lock and is about to die.
type Holder struct {
	HalfDie func() error // something of it lives on; nil where nothing can
	Die     func() error
	End     func() // whatever of it there still is
}

// Deaths returns those that a waiter can detect within seconds. A store of
// files serves no containers.
func Deaths(s Store) []Death {
	deaths := []Death{
		{"with-lock and its command are killed", "is gone and no process of its command is left",
			"is gone but its command runs on as process", holdByCommand("sh", "-c", inside)},
		{"the job's directory is removed", "its job directory is gone, and no process of it is left",
			" is left; what is left of a job", holdByDirectory},
		{"act_runner is killed", ", is gone, and no process of it is left", "",
			func(r *Rig) (*Holder, error) { return holdUnder(r, "act_runner", "tmp") }},
		{"Runner.Worker is killed", "the worker of its job, process ", "",
			func(r *Rig) (*Holder, error) { return holdUnder(r, "Runner.Worker", "_temp") }},
		{"with-lock and its command without an environment are killed", "is gone and no process of its command is left",
			"is gone but its command runs on as process", holdByCommand("env", "-i", "/bin/sh", "-c", inside)},
	}
	if s.Engine != nil {
		deaths = append(deaths, Death{"the job's container is removed", "its container ", "", holdInContainer})
	}
	return deaths
}

// Hold lets a holder of that kind get the lock.
func (d Death) Hold(r *Rig) (*Holder, error) {
	h, err := d.hold(r)
	if err != nil {
		return nil, fmt.Errorf("a holder for %q: %w", d.Name, err)
	}
	return h, nil
}

// Recovery is how a waiter got a dead holder's lock.
type Recovery struct {
	Took         time.Duration // from the death until the waiter's acquire-lock has ended
	Log          string
	TookOverFrom string // the output
}

// Recover lets a holder die while another waits.
func (d Death) Recover(r *Rig, as *syscall.Credential) (rec Recovery, err error) {
	h, err := d.Hold(r)
	if err != nil {
		return rec, err
	}
	defer h.End()
	w, err := r.Wait(as)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, w.Leave()) }()
	if err := w.Await("position 1 of 1", 10*time.Second); err != nil {
		return rec, err
	}
	// It polls by now, and the death comes at any moment of that.
	time.Sleep(200*time.Millisecond + rand.N(time.Second))
	start := time.Now()
	if err := h.Die(); err != nil {
		return rec, err
	}
	return w.Recovery(start)
}

// Recovery waits until the waiter holds what a holder left that died at start.
func (w *Waiter) Recovery(start time.Time) (Recovery, error) {
	at, err := w.Holds(time.Minute)
	if err != nil {
		return Recovery{}, err
	}
	from, err := w.Output("took-over-from")
	return Recovery{at.Sub(start), w.Log(), from}, err
}

// inside is a command that reports that it runs.
const inside = "echo $$; exec sleep 600"

// holdByCommand holds by a with-lock. Its command may live longer.
func holdByCommand(command ...string) func(*Rig) (*Holder, error) {
	return func(r *Rig) (*Holder, error) {
		cmd := exec.Command(r.Binary, append([]string{"with-lock", "-lock-name", r.Lock, "-legacy-settle", "0s", "--"},
			command...)...)
		cmd.Env, cmd.Dir = r.Environ(), "/"
		output, pid, err := r.start(cmd)
		if err != nil {
			return nil, err
		}
		process, err := os.FindProcess(pid) // a pidfd: the number may be used again
		if err != nil {
			return nil, err
		}
		half := func() error {
			err := cmd.Process.Kill()
			_ = cmd.Wait()
			return err
		}
		end := func() {
			_ = half()
			_ = process.Kill()
			_ = output.Close()
		}
		return &Holder{
			HalfDie: half,
			Die:     func() error { return errors.Join(ignoreDone(half()), process.Kill()) },
			End:     end,
		}, nil
	}
}

// start starts a holder and returns the number that it prints when it holds.
func (r *Rig) start(cmd *exec.Cmd) (io.Closer, int, error) {
	// A file, for Wait would wait until the last process with a pipe is gone.
	log, err := os.CreateTemp(r.Dir, "holder")
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()
	cmd.Stderr = log
	if r.Group != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(r.Group.Fd())}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	pid, numErr := strconv.Atoi(strings.TrimSpace(line))
	if err := errors.Join(err, numErr); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		output, _ := os.ReadFile(log.Name())
		return nil, 0, fmt.Errorf("it does not hold: %w: %s", err, output)
	}
	return stdout, pid, nil
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// holdByDirectory holds by a step of a job whose runner is not seen. Something
// that the job left behind may work on in the directory when that is removed.
func holdByDirectory(r *Rig) (*Holder, error) {
	j, err := r.Job(nil)
	if err != nil {
		return nil, err
	}
	step := j.Step("acquire-lock", "-legacy-settle", "0s")
	if r.Group != nil {
		step.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(r.Group.Fd())}
	}
	if out, err := step.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("acquire-lock: %w: %s", err, out)
	}
	var survivor *exec.Cmd
	end := func() {
		if survivor != nil {
			_ = survivor.Process.Kill()
			_ = survivor.Wait()
			survivor = nil
		}
	}
	remove := func() error { return os.RemoveAll(j.Dir) }
	return &Holder{
		HalfDie: func() error {
			survivor = exec.Command("setsid", "sleep", "600")
			survivor.Dir, survivor.Env = j.Dir, []string{"PATH=" + os.Getenv("PATH")}
			if err := survivor.Start(); err != nil {
				return err
			}
			return remove()
		},
		Die: func() error { end(); return remove() },
		End: end,
	}, nil
}

// holdUnder holds by a step of a job under a runner of that name, which dies and
// leaves the job's directory behind.
func holdUnder(r *Rig, runner, temp string) (*Holder, error) {
	j, err := r.Job(nil)
	if err != nil {
		return nil, err
	}
	// A shell by another name, which lives until its input ends. For GitHub's
	// runner the directory proves nothing, for it is the same for every job.
	shell := filepath.Join(r.Dir, runner)
	if _, err := os.Stat(shell); err != nil {
		if err := install(shell, "/bin/sh"); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(shell, "-c", `"$@" >&2 && echo $$ && read -r forever`, runner, r.Binary, "acquire-lock",
		"-lock-name", r.Lock, "-legacy-settle", "0s")
	cmd.Env = append(j.Env, "RUNNER_TEMP="+filepath.Join(j.Dir, temp))
	cmd.Dir = "/"
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if _, _, err := r.start(cmd); err != nil {
		return nil, err
	}
	kill := func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	return &Holder{Die: kill, End: func() { _ = kill() }}, nil
}

const image = "hostguard-rig"

// holdInContainer holds by a step of a job in a container, which is removed. A
// look that never ends keeps the container running, as the runner's sleep does.
func holdInContainer(r *Rig) (*Holder, error) {
	if _, err := r.Engine.Docker("image", "inspect", image); err != nil {
		if err := r.makeImage(); err != nil {
			return nil, err
		}
	}
	socket := strings.TrimPrefix(r.Engine.Host(), "unix://")
	id, err := r.Engine.Docker("run", "--detach", "--network=none", "--volume", socket+":/var/run/docker.sock", image,
		"/hostguard", "status", "-watch")
	if err != nil {
		return nil, err
	}
	die := func() error {
		_, err := r.Engine.Docker("rm", "--force", id)
		return err
	}
	if _, err := r.Engine.Docker("exec", "--env", "GITHUB_ACTIONS=true", id, "/hostguard", "acquire-lock", "-lock-name",
		r.Lock, "-legacy-settle", "0s"); err != nil {
		return nil, errors.Join(err, die())
	}
	return &Holder{Die: die, End: func() { _ = die() }}, nil
}

// makeImage makes an image of the static binary alone.
func (r *Rig) makeImage() (err error) {
	data, err := os.ReadFile(r.Binary)
	if err != nil {
		return err
	}
	path := filepath.Join(r.Dir, "image.tar")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	w := tar.NewWriter(file)
	err = w.WriteHeader(&tar.Header{Name: "hostguard", Mode: 0o755, Size: int64(len(data))})
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close(), file.Close()); err != nil {
		return err
	}
	_, err = r.Engine.Docker("import", path, image)
	return err
}
