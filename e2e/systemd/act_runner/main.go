// Command act_runner behaves as Gitea's runner does towards its host, without a
// server: "daemon --config FILE" takes a job when there is a file "task" in its
// directory, and when it is asked to stop it lets the job end, for as long as
// runner.shutdown_timeout says.
//
// A job is a shell in a private directory below ~/.cache/act, or what the
// configuration says, that waits for a file "finish" in the runner's directory;
// how it ended is in the file "result".
//
// It cannot be registered: see package hostguard/e2e/rig/gitea for runners that can.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

type config struct {
	Runner struct {
		Capacity        int           `yaml:"capacity"`
		ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
		Crash           bool          `yaml:"crash"` // what no runner has: a start that fails
	} `yaml:"runner"`
	Host struct {
		WorkdirParent string `yaml:"workdir_parent"`
	} `yaml:"host"`
}

func main() {
	flags := flag.NewFlagSet("daemon", flag.ExitOnError)
	file := ""
	flags.StringVar(&file, "config", "", "")
	flags.StringVar(&file, "c", "", "")
	if len(os.Args) < 2 || os.Args[1] != "daemon" || flags.Parse(os.Args[2:]) != nil || flags.NArg() > 0 {
		log.Fatalf("arguments %q", os.Args[1:])
	}
	data := []byte("{}")
	if file != "" {
		var err error
		if data, err = os.ReadFile(file); err != nil {
			log.Fatal(err)
		}
	}
	var config config
	if err := yaml.Unmarshal(data, &config); err != nil {
		log.Fatal(err)
	}
	if config.Runner.Crash {
		log.Fatal("crash")
	}
	say("Starting runner daemon, capacity %d", config.Runner.Capacity)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	for tasks := 1; ; {
		select {
		case <-stop:
			say("runner: wooo-runner shutdown initiated, waiting 0s for running jobs to complete")
			return
		case <-time.After(20 * time.Millisecond):
		}
		if os.Remove("task") != nil {
			continue
		}
		say("task %d repo is wooo/env-new http://127.0.0.1:3000/", tasks)
		job := start(tasks, config.Host.WorkdirParent)
		tasks++
		select {
		case err := <-job:
			finish(err)
		case <-stop:
			say("runner: wooo-runner shutdown initiated, waiting %s for running jobs to complete", config.Runner.ShutdownTimeout)
			select {
			case err := <-job:
				finish(err)
			case <-time.After(max(config.Runner.ShutdownTimeout, 5*time.Second)): // act_runner of 2025 waits at 0s, too
				finish(fmt.Errorf("cancelled"))
			}
			return
		}
	}
}

func say(format string, args ...any) {
	fmt.Printf("level=info msg=%q\n", fmt.Sprintf(format, args...))
}

// start starts a job, whose end comes through the channel.
func start(n int, parent string) <-chan error {
	here, err := os.Getwd()
	if err != nil {
		log.Fatal(err)
	}
	if parent == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			log.Fatal(err)
		}
		parent = filepath.Join(home, ".cache/act")
	}
	dir := filepath.Join(parent, fmt.Sprintf("%016x", n))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `until [ -e "$0/finish" ]; do sleep 0.2; done`, here)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		os.RemoveAll(dir)
	}()
	return ended
}

func finish(err error) {
	result := "success"
	if err != nil {
		result = err.Error()
	}
	if err := os.WriteFile("result", []byte(result), 0o644); err != nil {
		log.Fatal(err)
	}
	say("job ended: %s", result)
}
