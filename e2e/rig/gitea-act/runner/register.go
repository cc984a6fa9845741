package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
)

// version returns the version that a runner reports.
func (g generation) version() string {
	if g.hooks {
		return "v3.1.0"
	}
	return "v0.3.0"
}

// register registers a runner, with the labels of the configuration or, if it has
// none, of the flag. Without --no-interactive it asks for what it needs.
func (g generation) register(args []string) error {
	flags := flag.NewFlagSet("register", flag.ContinueOnError)
	var r registration
	var config, labels, tokenFile string
	noInteractive := flags.Bool("no-interactive", false, "")
	flags.StringVar(&config, "config", "", "")
	flags.StringVar(&config, "c", "", "")
	flags.StringVar(&r.Address, "instance", "", "")
	flags.StringVar(&r.Name, "name", "", "")
	flags.StringVar(&r.Token, "token", "", "")
	flags.StringVar(&labels, "labels", "", "")
	if g.hooks {
		flags.StringVar(&tokenFile, "token-file", "", "")
	}
	if len(args) > 0 && args[0] == "--help" {
		flags.VisitAll(func(f *flag.Flag) { fmt.Printf("      --%s string\n", f.Name) })
		return nil
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	record("argv", strings.Join(os.Args, "\n"))
	record("environ", strings.Join(os.Environ(), "\n"))
	c, err := load(config)
	if err != nil {
		return err
	}
	switch {
	case tokenFile != "":
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return err
		}
		record("stdin", string(token))
		r.Token = string(token) // with all that is in it
	case r.Token == "":
		r.Token = os.Getenv("GITEA_RUNNER_REGISTRATION_TOKEN")
	}
	if !*noInteractive {
		if err := r.ask(); err != nil {
			return err
		}
	}
	if r.Labels = c.Runner.Labels; len(r.Labels) == 0 && labels != "" {
		r.Labels = strings.Split(labels, ",")
	}
	request := registerRequest{Name: r.Name, Token: r.Token, Version: g.version(), Labels: names(r.Labels)}
	var response runnerResponse
	if err := r.client().call(context.Background(), "Register", request, &response); err != nil {
		return fmt.Errorf("poller: cannot register new runner: %w", err)
	}
	r.ID, r.UUID, r.Token = response.Runner.ID, response.Runner.UUID, response.Runner.Token
	if err := r.write(c.Runner.File); err != nil {
		return err
	}
	say("Runner registered successfully.")
	return nil
}

// ask reads what a person types.
func (r *registration) ask() error {
	in := bufio.NewReader(os.Stdin)
	for _, question := range []struct {
		what string
		to   *string
	}{{"Gitea instance URL", &r.Address}, {"runner token", &r.Token}, {"runner name", &r.Name}} {
		say("Enter the %s:", question.what)
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("read the %s: %w", question.what, err)
		}
		record("stdin", line)
		*question.to = strings.TrimSpace(line)
	}
	return nil
}

// names returns the labels as the server knows them.
func names(labels []string) []string {
	all := []string{}
	for _, label := range labels {
		name, _, _ := strings.Cut(label, ":")
		all = append(all, name)
	}
	return all
}

// record adds to a file of /var/tmp/recorded, where a test wants to see what register
// is given.
func record(name, text string) {
	f, err := os.OpenFile("/var/tmp/recorded/"+name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return // no test wants to
	}
	defer f.Close()
	fmt.Fprintln(f, text)
}
