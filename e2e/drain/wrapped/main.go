// Command wrapped behaves as a runner in a container does: its daemon runs until
// SIGINT or SIGTERM, then takes no more jobs and ends when its own have.
//
// A job of its own runs as long as there is a file /ctl/task.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	switch os.Args[1] {
	case "it": // as an own build starts the runner
		fmt.Println(syscall.Exec("/act_runner", []string{"act_runner", "daemon"}, os.Environ()))
	case "daemon":
		daemon()
	case "step":
		for working() {
			time.Sleep(10 * time.Millisecond)
		}
	case "task": // of a container that a job runs in
		time.Sleep(time.Hour)
	}
}

func working() bool {
	_, err := os.Stat("/ctl/task")
	return err == nil
}

func daemon() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	fmt.Println(`level=info msg="Starting runner daemon"`)
	step := exec.Command("/act_runner", "step")
	if working() {
		if err := step.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(`level=info msg="task 7 repo is wooo/awoooi http://gitea"`)
	}
	got := <-signals
	fmt.Printf("level=info msg=\"runner: wooo-runner shutdown initiated by %s, "+
		"waiting 1h0m0s for running jobs to complete\"\n",
		got)
	fmt.Println("::set-env name=BASH_ENV::/tmp/x\x1b[2J")
	if step.Process != nil {
		_ = step.Wait()
	}
	for working() {
		time.Sleep(10 * time.Millisecond)
	}
}
