package runner

import (
	"slices"
	"strings"
	"testing"

	"hostguard/runner/config"
	"hostguard/runner/finding"
)

// mixed returns a host whose one runner serves three owners.
func mixed() Host {
	h := good()
	h.Config.Labels = append(h.Config.Labels, config.ParseLabel("ewoooc-host:docker://x"))
	for _, owner := range h.LabelOwners() {
		h.SplitDirs = append(h.SplitDirs, SplitDir{SplitDirOf(h.Dir, owner), "missing", SplitServiceOf(owner)})
	}
	return h
}

func (h *Host) split(registered, installed int) {
	for i, owner := range h.LabelOwners() {
		if i < registered {
			h.SplitDirs[i].Status = "registered"
		}
		u := Unit{Name: SplitServiceOf(owner), Load: "not-found"}
		if i < installed {
			u.Load = "loaded"
		}
		h.Units = append(h.Units, u)
	}
}

// separate stops the primary for good, while the others run.
func (h *Host) separate() {
	for i := range h.Units {
		h.Units[i].Active = "active"
	}
	h.Units[0].Active, h.Units[0].File, h.Units[0].MainPID, h.Daemons = "inactive", "disabled", 0, nil
}

func TestWhatBlocksASplit(t *testing.T) {
	for name, c := range map[string]struct {
		change        func(*Host)
		ready         bool
		blocker, next string
	}{
		"nothing is there": {
			func(h *Host) { h.split(0, 0) },
			false, "single_registered_runner_with_mixed_owner_labels",
			"register_additional_runner_dirs_before_removing_live_labels",
		},
		"one is missing": {
			func(h *Host) { h.split(2, 3) },
			false, "single_registered_runner_with_mixed_owner_labels",
			"register_additional_runner_dirs_before_removing_live_labels",
		},
		"a service is": {
			func(h *Host) { h.split(3, 2) },
			false, "split_services_not_installed", "install_split_services_and_smoke_test_before_draining_primary",
		},
		"services not seen": {
			func(h *Host) { h.split(3, 0); h.UnitsUnseen = []string{"no systemd"} },
			false, "split_services_unknown", "run_on_the_host_as_the_runner_user",
		},
		"a job runs": {
			func(h *Host) { h.split(3, 3); h.ActiveContainers = []string{"GITEA-ACTIONS-TASK-1"} },
			false, "active_action_containers", "wait_until_no_action_container_runs",
		},
		"a job of Forgejo's runs": {
			func(h *Host) { h.split(3, 3); h.ActiveContainers = []string{"FORGEJO-ACTIONS-TASK-1_WORKFLOW-x_JOB-y"} },
			false, "active_action_containers", "wait_until_no_action_container_runs",
		},
		"a host job runs": {
			func(h *Host) { h.split(3, 3); h.ActiveHostJobs = []string{"/c/0123456789abcdef"} },
			false, "active_host_jobs", "wait_until_no_host_job_runs",
		},
		"host jobs not seen": {
			func(h *Host) { h.split(3, 3); h.JobDirsUnseen = "no" },
			false, "active_host_jobs_unknown", "run_on_the_host_as_the_runner_user",
		},
		"jobs not seen": {
			func(h *Host) { h.split(3, 3); h.DockerUnseen = "no Docker" },
			false, "active_action_containers_unknown", "run_as_a_user_of_the_docker_socket",
		},
		"all is there": {
			func(h *Host) { h.split(3, 3) },
			true, "none", "drain_primary_then_remove_mixed_labels",
		},
		"all is done": {func(h *Host) { h.split(3, 3); h.separate() }, true, "none", "none"},
		"it may come back": {
			func(h *Host) { h.split(3, 3); h.separate(); h.Units[0].File = "enabled" },
			true, "none", "drain_primary_then_remove_mixed_labels",
		},
		"one has stopped": {
			func(h *Host) { h.split(3, 3); h.separate(); h.Units[2].Active = "failed" },
			true, "none", "drain_primary_then_remove_mixed_labels",
		},
		"one owner": {func(h *Host) { h.Config.Labels = h.Config.Labels[1:2] }, true, "none", "none"},
		"no configuration": {
			func(h *Host) { h.ConfigUnseen = "no" },
			false, "primary_runner_config_unreadable", "run_as_the_runner_user_or_give_runner_dir",
		},
		"no labels": {
			func(h *Host) { h.Config.Labels = nil },
			false, "primary_runner_has_no_labels", "register_the_primary_runner",
		},
	} {
		h := mixed()
		c.change(&h)
		if r := CheckReadiness(h); r.Ready != c.ready || r.Blocker != c.blocker || r.Next != c.next {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// After a split the stopped primary is as it should be: no finding suggests a start.
func TestASeparatedHostIsGood(t *testing.T) {
	h := mixed()
	h.split(3, 3)
	h.separate()
	for _, l := range Diagnose(h, nil, nil, nil) {
		if l.Level != finding.OK {
			t.Errorf("%+v", l)
		}
	}
	h.Units[0].Active, h.Units[0].MainPID = "active", 7
	h.Daemons = []Daemon{{PID: 7, Registration: h.RegistrationPath}}
	for _, n := range []int{9, 12} {
		l := Diagnose(h, nil, nil, nil)[n-1]
		if l.Level != finding.Warn || !strings.Contains(l.Fix, "hostguard runner split") {
			t.Errorf("%+v", l)
		}
	}
}

// The primary is known by what it runs, its own name and a service of the usual name
// that runs something else do not matter; one that was retired is never to be started.
func TestAPrimaryOfAnyNameIsRetired(t *testing.T) {
	h := mixed()
	h.split(3, 3)
	h.separate()
	h.Units[0].Name = "runner-sysq.service"
	h.Units = append(h.Units, Unit{
		Name: PrimaryService, Scope: "user", Load: "loaded", Active: "active",
		Exec: [][]string{{"/usr/bin/sleep", "inf"}},
	})
	if r := CheckReadiness(h); !r.Ready || r.Next != "none" || r.PrimaryService != "runner-sysq.service" {
		t.Errorf("%+v", r)
	}
	for _, l := range Diagnose(h, nil, nil, nil) {
		if l.Level != finding.OK {
			t.Errorf("%+v", l)
		}
	}
	// One of the new runners does not run: that one is named, and no other.
	h.Units[2].Active = "failed"
	l := Diagnose(h, nil, nil, nil)[5]
	if l.Level != finding.Bad || l.Fix != "sudo systemctl start "+h.Units[2].Name || len(l.Findings) != 1 {
		t.Errorf("%+v", l)
	}
	// Its unit may have been removed since.
	h.Units[2].Active, h.Units = "active", h.Units[1:]
	h.UnitsUnseen = []string{"no systemd of the user to ask"} // of which no unit of the split is
	if l := Diagnose(h, nil, nil, nil)[5]; !h.Separated() || l.Level != finding.OK {
		t.Errorf("without a unit the primary is not retired: %+v", l)
	}
	h.Daemons = []Daemon{{PID: 9, Registration: h.RegistrationPath}}
	if h.Retired() {
		t.Error("a primary that runs is retired")
	}
}

func TestThePrimaryAmongSeveralRunners(t *testing.T) {
	of := func(dir string, id int64, active bool, labels ...string) Found {
		f := Found{Dir: dir, Active: active, Config: config.Config{ID: id}}
		for _, l := range labels {
			f.Config.Labels = append(f.Config.Labels, config.ParseLabel(l))
		}
		return f
	}
	shared := of("/home/ci/act-runner-shared", 5, true, "ubuntu-latest", "ubuntu-22.04")
	awoooi := of("/home/ci/act-runner-awoooi", 6, true, "awoooi-host")
	for name, c := range map[string]struct {
		found []Found
		want  string
	}{
		"the only one": {[]Found{awoooi}, awoooi.Dir},
		"retired, with all its labels": {
			[]Found{shared, awoooi, of("/srv/q", 1, false, "awoooi-host", "ubuntu-latest")},
			"/srv/q",
		},
		"with the labels that stayed": {[]Found{shared, of("/srv/q", 1, true, "awoooi-host")}, "/srv/q"},
		"in a directory of that kind": {
			[]Found{shared, of("/home/ci/act-runner-awoooi", 9, true, "awoooi-host", "ewoooc-host")},
			"/home/ci/act-runner-awoooi",
		},
		"split into other directories": {
			[]Found{of("/r/a", 5, true, "awoooi-host"),
				of("/r/q", 1, false, "awoooi-host", "x-host"),
				of("/r/x", 6, true, "x-host")},
			"/r/q",
		},
		"of one owner, beside a retired": {
			[]Found{of("/r/old", 1, false, "awoooi-host"), of("/r/new", 7, true, "awoooi-host")},
			"/r/new",
		},
		"registered first": {
			[]Found{of("/r/b", 4, true, "awoooi-host"), of("/r/a", 3, true, "awoooi-host")},
			"/r/a",
		},
	} {
		if got, found := ChoosePrimary(c.found); !found || got.Dir != c.want {
			t.Errorf("%s: %q, want %q", name, got.Dir, c.want)
		}
	}
	if _, found := ChoosePrimary(nil); found {
		t.Error("one of none")
	}
}

func TestTheContainersOfOtherTasks(t *testing.T) {
	containers := []string{
		"GITEA-ACTIONS-TASK-1_WORKFLOW-ci_JOB-a", "GITEA-ACTIONS-TASK-12_WORKFLOW-ci_JOB-b",
		"GITEA-ACTIONS-TASK-x",
	}
	task, found := ParseTask(`level=info msg="task 1 repo is wooo/awoooi http://g"`)
	got := ContainersWithout(containers, []Task{task})
	if !found || !slices.Equal(got, containers[1:]) || len(ContainersWithout(containers, nil)) != 3 {
		t.Errorf("%q", got)
	}
}
