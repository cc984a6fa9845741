package runner

import (
	"cmp"
	"hostguard/runner/config"
	"slices"
	"strings"
)

// Readiness reports whether a runner of several owners can be split now. Its names and
// values are those of the script that it replaces.
type Readiness struct {
	PrimaryService    string           `json:"primary_service"`
	Unit              *ReadinessUnit   `json:"unit,omitempty"`
	Dir               string           `json:"primary_runner_dir"`
	Registration      string           `json:"primary_registration_file"` // present, missing or unknown
	Labels            []LabelClass     `json:"primary_labels"`
	Mixed             bool             `json:"mixed_owner_classes"`
	SplitDirs         []ReadinessSplit `json:"split_dirs"`
	InstalledServices int              `json:"installed_split_services"`
	WantedServices    int              `json:"wanted_split_services"`
	Active            []string         `json:"active_action_containers"`
	ActiveHost        []string         `json:"active_host_jobs"`
	Ready             bool             `json:"isolation_ready"`
	Blocker           string           `json:"blocker"`
	Next              string           `json:"safe_next_step"`
	Unseen            []string         `json:"unseen"`
}

// ReadinessUnit is the state of the primary's unit.
type ReadinessUnit struct {
	Scope  string `json:"scope"`
	Load   string `json:"LoadState"`
	Active string `json:"ActiveState"`
	Sub    string `json:"SubState"`
}

// LabelClass are the labels of one owner.
type LabelClass struct {
	Labels []string `json:"labels"`
	Class  string   `json:"class"`
}

// ReadinessSplit is the state of one directory of a split.
type ReadinessSplit struct {
	Dir    string `json:"split_dir"`
	Status string `json:"status"`
}

// LabelOwners returns the owners of the primary's labels: the host's first, then shared,
// then the others.
func (h Host) LabelOwners() []string {
	own, owners := h.OwnedBy(), config.OwnersOf(h.Config.Labels)
	rank := func(o string) int {
		switch o {
		case strings.ToLower(own):
			return 0
		case config.Shared:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(owners, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return owners
}

// ServesAlone reports whether a runner has all labels that an owner has at the primary,
// and no other owner's.
func (h Host) ServesAlone(owner string, c config.Config) bool {
	for _, l := range h.Config.Labels {
		same := func(has config.Label) bool { return has.Name == l.Name }
		if config.OwnerOf(l.Name) == owner && !slices.ContainsFunc(c.Labels, same) {
			return false
		}
	}
	return slices.Equal(config.OwnersOf(c.Labels), []string{owner})
}

// SplitServiceOf returns the unit for the runner of one owner.
func SplitServiceOf(owner string) string { return "gitea-act-runner-" + owner + ".service" }

// Retired reports whether the primary is stopped for good because each owner of its
// labels has a registered runner, whose jobs it would take after a start.
func (h Host) Retired() bool {
	if len(h.LabelOwners()) < 2 || len(h.SplitDirs) != len(h.LabelOwners()) {
		return false
	}
	primary, found := h.Primary()
	runs := slices.ContainsFunc(h.Daemons, func(d Daemon) bool { return d.Registration == h.RegistrationPath })
	// The runners of a split have the same manager as the primary's unit.
	_, seen := h.Named(h.SplitDirs[0].Service)
	if runs || found && !primary.Off() || !found && !seen {
		return false
	}
	return !slices.ContainsFunc(h.SplitDirs, func(d SplitDir) bool { return d.Status != "registered" })
}

// Separated reports whether the split is done: the primary is retired, and the
// runners of all owners run.
func (h Host) Separated() bool { return h.Retired() && len(h.stoppedSplits()) == 0 }

// stoppedSplits returns the services of a split that do not run.
func (h Host) stoppedSplits() []string {
	var stopped []string
	for _, d := range h.SplitDirs {
		if u, found := h.Named(d.Service); !found || u.Active != "active" {
			stopped = append(stopped, d.Service)
		}
	}
	return stopped
}

// CheckReadiness returns the readiness of a host. Anything that could not be seen makes
// it not ready.
func CheckReadiness(h Host) Readiness {
	r := Readiness{
		PrimaryService: PrimaryService, Dir: h.Dir, Registration: "missing", Labels: []LabelClass{},
		SplitDirs: []ReadinessSplit{}, Active: append([]string{}, h.ActiveContainers...),
		ActiveHost: append([]string{}, h.ActiveHostJobs...), Unseen: []string{},
	}
	if u, found := h.Primary(); found {
		r.PrimaryService, r.Unit = u.Name, &ReadinessUnit{u.Scope, u.Load, u.Active, u.Sub}
	}
	switch {
	case h.Registered:
		r.Registration = "present"
	case h.ConfigUnseen != "":
		r.Registration = "unknown"
	}
	for _, l := range h.Config.Labels {
		class := config.ClassOf(l.Name, h.OwnedBy())
		at := slices.IndexFunc(r.Labels, func(c LabelClass) bool {
			return c.Class == class && config.OwnerOf(c.Labels[0]) == config.OwnerOf(l.Name)
		})
		if at < 0 {
			at, r.Labels = len(r.Labels), append(r.Labels, LabelClass{Class: class})
		}
		r.Labels[at].Labels = append(r.Labels[at].Labels, l.Name)
	}
	owners := h.LabelOwners()
	r.Mixed = len(owners) > 1
	registered := true
	if r.Mixed {
		for _, d := range h.SplitDirs {
			r.SplitDirs = append(r.SplitDirs, ReadinessSplit{d.Path, d.Status})
			registered = registered && d.Status == "registered"
			if u, found := h.Named(d.Service); found && u.Load == "loaded" {
				r.InstalledServices++
			}
		}
		r.WantedServices = len(owners)
	}
	for _, unseen := range append(slices.Clone(h.UnitsUnseen), h.ConfigUnseen, h.DockerUnseen, h.JobDirsUnseen) {
		if unseen != "" {
			r.Unseen = append(r.Unseen, unseen)
		}
	}
	r.Blocker, r.Next = r.judge(h, registered)
	r.Ready = r.Blocker == "none"
	return r
}

// judge returns what blocks the split and the next safe step.
func (r Readiness) judge(h Host, registered bool) (blocker, next string) {
	switch {
	case h.ConfigUnseen != "":
		return "primary_runner_config_unreadable", "run_as_the_runner_user_or_give_runner_dir"
	case h.Config.Refused != "":
		return "primary_runner_config_refused", "correct_the_config_that_the_runner_does_not_start_with"
	case len(h.Config.Labels) == 0:
		return "primary_runner_has_no_labels", "register_the_primary_runner"
	case !r.Mixed:
		return "none", "none"
	case !registered:
		return "single_registered_runner_with_mixed_owner_labels",
			"register_additional_runner_dirs_before_removing_live_labels"
	case h.Separated():
		return "none", "none"
	case r.InstalledServices < r.WantedServices && len(h.UnitsUnseen) > 0:
		return "split_services_unknown", "run_on_the_host_as_the_runner_user"
	case r.InstalledServices < r.WantedServices:
		return "split_services_not_installed", "install_split_services_and_smoke_test_before_draining_primary"
	case h.DockerUnseen != "":
		return "active_action_containers_unknown", "run_as_a_user_of_the_docker_socket"
	case len(r.Active) > 0:
		return "active_action_containers", "wait_until_no_action_container_runs"
	case h.JobDirsUnseen != "":
		return "active_host_jobs_unknown", "run_on_the_host_as_the_runner_user"
	case len(r.ActiveHost) > 0:
		return "active_host_jobs", "wait_until_no_host_job_runs"
	}
	return "none", "drain_primary_then_remove_mixed_labels"
}
