package runner

import (
	"bytes"
	"errors"
	"fmt"
	"hostguard/runner/config"
	"hostguard/runner/yamltree"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// SplitRunner is the runner for one owner, as a plan declares it. The one with the
// primary's directory is the primary, and keeps its labels.
type SplitRunner struct {
	Owner   string   `yaml:"owner"`
	Labels  []string `yaml:"labels"` // names
	Dir     string   `yaml:"directory"`
	Service string   `yaml:"service"`
	Line    int      `yaml:"-"` // its first line in the plan
}

// ProposeSplit returns the plan that the primary's labels suggest: a runner for each
// owner, beside the primary's directory.
func ProposeSplit(h Host) []SplitRunner {
	var plan []SplitRunner
	for _, owner := range h.LabelOwners() {
		r := SplitRunner{Owner: owner, Dir: SplitDirOf(h.Dir, owner), Service: SplitServiceOf(owner)}
		for _, l := range h.Config.Labels {
			if config.OwnerOf(l.Name) == owner && !slices.Contains(r.Labels, l.Name) {
				r.Labels = append(r.Labels, l.Name)
			}
		}
		plan = append(plan, r)
	}
	return plan
}

// FormatSplit returns a plan in the format of ParseSplit.
func FormatSplit(plan []SplitRunner) string {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	_ = e.Encode(map[string][]SplitRunner{"runners": plan}) // strings, into memory: never fails
	return out.String()
}

var (
	ownerWord   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*\.service$`)
)

const (
	maxOwner   = 50
	maxService = 255 // systemd's limit
)

// ParseSplit parses a plan for a primary with this directory and service. Each error
// begins with its line.
func ParseSplit(data []byte, primary, primaryService string) ([]SplitRunner, error) {
	root, err := yamltree.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%.200q", err)
	}
	documents := yaml.NewDecoder(bytes.NewReader(data))
	for range 2 {
		err = documents.Decode(new(yaml.Node))
	}
	if !errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: more than one document")
	}
	fields, err := strict(root, "runners")
	if err != nil {
		return nil, err
	}
	list := fields["runners"]
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return nil, yamltree.ErrorAt(root, "must have a list \"runners\" of owner, labels, directory and service")
	}
	if len(list.Content) > config.MaxLabels {
		return nil, yamltree.ErrorAt(list, "%d runners, more than the limit of %d", len(list.Content), config.MaxLabels)
	}
	var plan []SplitRunner
	for _, item := range list.Content {
		r, err := parseSplitRunner(item, primary, primaryService)
		if err == nil {
			err = r.checkDistinct(plan)
		}
		if err != nil {
			return nil, err
		}
		plan = append(plan, r)
	}
	return plan, nil
}

func parseSplitRunner(n *yaml.Node, primary, primaryService string) (SplitRunner, error) {
	r := SplitRunner{Line: n.Line}
	fields, err := strict(n, "owner", "labels", "directory", "service")
	if err != nil {
		return r, err
	}
	for name, to := range map[string]*string{"owner": &r.Owner, "directory": &r.Dir, "service": &r.Service} {
		if v := fields[name]; v != nil {
			if *to = yamltree.Text(v); *to == "" {
				return r, yamltree.ErrorAt(v, "%s is empty or not a text", name)
			}
		}
	}
	line := func(name string) *yaml.Node {
		if v := fields[name]; v != nil {
			return v
		}
		return n
	}
	if !ownerWord.MatchString(r.Owner) || len(r.Owner) > maxOwner {
		return r, yamltree.ErrorAt(line("owner"), "owner is %.100q; it must be a word of a-z, 0-9 and -, such as %q",
			r.Owner, config.Shared)
	}
	if r.Dir == "" {
		r.Dir = SplitDirOf(primary, r.Owner)
	}
	if strings.ContainsFunc(r.Dir, func(c rune) bool { return !unicode.IsPrint(c) }) || !filepath.IsAbs(r.Dir) ||
		filepath.Clean(r.Dir) != r.Dir {
		return r, yamltree.ErrorAt(line("directory"), "directory is %.200q; it must be a full path without .., such as %q",
			r.Dir, SplitDirOf(primary, r.Owner))
	}
	if r.Service == "" {
		if r.Service = SplitServiceOf(r.Owner); r.Dir == primary {
			r.Service = primaryService
		}
	}
	if !serviceName.MatchString(r.Service) || len(r.Service) > maxService {
		return r, yamltree.ErrorAt(line("service"), "service is %.200q; it must be a name such as %q", r.Service,
			SplitServiceOf(r.Owner))
	}
	if (r.Service == primaryService) != (r.Dir == primary) {
		return r, yamltree.ErrorAt(line("service"), "%q is the service of the primary's directory %q, and of no other",
			primaryService, primary)
	}
	if labels := fields["labels"]; labels == nil || labels.Kind != yaml.SequenceNode || len(labels.Content) == 0 {
		return r, yamltree.ErrorAt(line("labels"), "%q has no list of labels", r.Owner)
	}
	r.Labels, err = parseSplitLabels(fields["labels"])
	return r, err
}

// parseSplitLabels parses the names in a list of labels.
func parseSplitLabels(labels *yaml.Node) (names []string, err error) {
	for _, l := range labels.Content {
		name := yamltree.Text(l)
		invalid := func(c rune) bool { return !unicode.IsPrint(c) || c == ':' || c == ',' }
		if name == "" || strings.ContainsFunc(name, invalid) {
			return nil, yamltree.ErrorAt(l, "%.100q is not the name of a label, which is the part before its colon, such as %q",
				name, "ubuntu-latest")
		}
		if slices.Contains(names, name) {
			return nil, yamltree.ErrorAt(l, "duplicate label %q", name)
		}
		names = append(names, name)
	}
	return names, nil
}

// checkDistinct reports an owner, directory, service or label shared with an earlier
// runner.
func (r SplitRunner) checkDistinct(before []SplitRunner) error {
	for _, o := range before {
		clash := ""
		switch {
		case r.Owner == o.Owner:
			clash = fmt.Sprintf("owner %q", r.Owner)
		case r.Dir == o.Dir || below(r.Dir, o.Dir) || below(o.Dir, r.Dir):
			clash = fmt.Sprintf("directory %q", r.Dir)
		case r.Service == o.Service:
			clash = fmt.Sprintf("service %q", r.Service)
		}
		for _, l := range r.Labels {
			if slices.Contains(o.Labels, l) {
				clash = fmt.Sprintf("label %q", l)
			}
		}
		if clash != "" {
			return fmt.Errorf("line %d: %s is already that of line %d; each runner needs its own", r.Line, clash, o.Line)
		}
	}
	return nil
}

func below(path, dir string) bool { return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") }

// strict returns the values of a mapping, which must have no other keys than these.
func strict(n *yaml.Node, known ...string) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, yamltree.ErrorAt(n, "must be a mapping with %s", strings.Join(known, ", "))
	}
	fields := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case !slices.Contains(known, key.Value):
			return nil, yamltree.ErrorAt(key, "unknown key %.100q; known keys: %s", key.Value, strings.Join(known, ", "))
		case fields[key.Value] != nil:
			return nil, yamltree.ErrorAt(key, "duplicate key %q", key.Value)
		}
		fields[key.Value] = n.Content[i+1]
	}
	return fields, nil
}

// CheckSplit fails unless a plan has all labels of the primary, and no others but those
// that an earlier run moved. moved holds the labels of the plan's registered runners, by
// directory.
func CheckSplit(plan []SplitRunner, primary []config.Label, moved map[string][]config.Label) error {
	named := func(labels []config.Label, name string) bool {
		return slices.ContainsFunc(labels, func(l config.Label) bool { return l.Name == name })
	}
	var planned []string
	for _, r := range plan {
		for _, l := range r.Labels {
			if !named(primary, l) && !named(moved[r.Dir], l) {
				return fmt.Errorf("line %d: the primary has no label %q", r.Line, l)
			}
		}
		planned = append(planned, r.Labels...)
	}
	for _, l := range primary {
		if !slices.Contains(planned, l.Name) {
			return fmt.Errorf("line %d: no runner of the plan has the primary's label %.100q; give it to one, or to one "+
				"with the primary's directory, where it stays", plan[len(plan)-1].Line, l.Name)
		}
	}
	return nil
}

// Moves returns the runners of a plan that are not the primary.
func Moves(plan []SplitRunner, primary string) []SplitRunner {
	return slices.DeleteFunc(slices.Clone(plan), func(r SplitRunner) bool { return r.Dir == primary })
}

// Stays returns the primary's labels that a plan leaves to it.
func Stays(plan []SplitRunner, h Host) []config.Label {
	var stay []config.Label
	for _, r := range plan {
		if r.Dir != h.Dir {
			continue
		}
		for _, l := range h.Config.Labels {
			if slices.Contains(r.Labels, l.Name) {
				stay = append(stay, l)
			}
		}
	}
	return stay
}

// Takes returns the runner's labels, as the primary's configuration has them.
func (r SplitRunner) Takes(primary []config.Label) []config.Label {
	var takes []config.Label
	for _, l := range primary {
		if slices.Contains(r.Labels, l.Name) {
			takes = append(takes, l)
		}
	}
	return takes
}

// CheckConfig fails unless the configuration of a registered runner matches the plan.
func (r SplitRunner) CheckConfig(c config.Config) error {
	has := make([]string, 0, len(c.Labels))
	for _, l := range c.Labels {
		has = append(has, l.Name)
	}
	slices.Sort(has)
	want := slices.Sorted(slices.Values(r.Labels))
	switch {
	case c.Refused != "":
		return fmt.Errorf("it does not start with its configuration: %.300q", c.Refused)
	case !slices.Equal(want, slices.Compact(has)):
		return fmt.Errorf("its labels are %.200q, not %.200q", has, want)
	case c.Capacity > 1:
		return fmt.Errorf("its capacity is %d, not 1", c.Capacity)
	case c.ShutdownTimeout == 0:
		return errors.New("its shutdown_timeout is 0s: a stop would cancel its jobs")
	}
	return nil
}
