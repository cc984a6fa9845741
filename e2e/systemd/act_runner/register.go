package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// recorded is where each register leaves what it was given: argv, environ, stdin.
const recorded = "/var/tmp/recorded"

// registration is the file .runner.
type registration struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Token   string   `json:"token"`
	Address string   `json:"address"`
	Labels  []string `json:"labels"`
}

func register() {
	newer := filepath.Base(os.Args[0]) == "gitea-runner"
	flags := flag.NewFlagSet("register", flag.ExitOnError)
	var r registration
	var path, tokenFile string
	noInteractive := flags.Bool("no-interactive", false, "")
	flags.StringVar(&path, "config", "", "")
	flags.StringVar(&r.Address, "instance", "", "")
	flags.StringVar(&r.Name, "name", "", "")
	flags.StringVar(&r.Token, "token", "", "")
	if newer {
		flags.StringVar(&tokenFile, "token-file", "", "")
	}
	flags.Usage = func() {
		flags.SetOutput(os.Stdout)
		flags.VisitAll(func(f *flag.Flag) { fmt.Printf("      --%s string\n", f.Name) })
	}
	if len(os.Args) > 2 && os.Args[2] == "--help" {
		flags.Usage()
		return
	}
	_ = flags.Parse(os.Args[2:])
	record("argv", strings.Join(os.Args, "\n"))
	record("environ", strings.Join(os.Environ(), "\n"))
	data, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	var c config
	if err := yaml.Unmarshal(data, &c); err != nil {
		log.Fatal(err)
	}
	switch {
	case newer && tokenFile != "":
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			log.Fatal(err)
		}
		record("stdin", string(token))
		r.Token = string(token) // with all that is in it
	case !*noInteractive:
		in := bufio.NewReader(os.Stdin)
		for _, q := range []struct {
			ask string
			to  *string
		}{{"Gitea instance URL", &r.Address}, {"runner token", &r.Token}, {"runner name", &r.Name}} {
			say("Enter the %s:", q.ask)
			line, err := in.ReadString('\n')
			if err != nil {
				log.Fatal(err)
			}
			record("stdin", line)
			*q.to = strings.TrimSpace(line)
		}
	}
	r.Labels = c.Runner.Labels
	body, _ := json.Marshal(r)
	answer, err := http.Post(r.Address+"/fake/register", "application/json", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	got, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		log.Fatalf("level=error msg=\"poller: cannot register new runner\" error=%q", got)
	}
	if err := json.Unmarshal(got, &r); err != nil {
		log.Fatal(err)
	}
	body, _ = json.Marshal(r)
	if err := os.WriteFile(cmp.Or(c.Runner.File, ".runner"), body, 0o644); err != nil {
		log.Fatal(err)
	}
	say("Runner registered successfully.")
}

func record(what, text string) {
	_ = os.MkdirAll(recorded, 0o777)
	f, err := os.OpenFile(filepath.Join(recorded, what), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintln(f, text)
}

// beOnline tells the server of its labels, again and again.
func (c config) beOnline() {
	var r registration
	data, err := os.ReadFile(cmp.Or(c.Runner.File, ".runner"))
	if err != nil || json.Unmarshal(data, &r) != nil || r.Address == "" {
		return
	}
	r.Labels = c.Runner.Labels
	body, _ := json.Marshal(r)
	for ; ; time.Sleep(100 * time.Millisecond) {
		if answer, err := http.Post(r.Address+"/fake/alive", "application/json", bytes.NewReader(body)); err == nil {
			answer.Body.Close()
		}
	}
}
