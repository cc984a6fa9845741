package observe

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The text format of Prometheus, as far as it is needed here. prometheus/client_golang adds
// 2.8 MB to the program, and registers what it has at the start of every command, of which
// all but one serve no metrics; VictoriaMetrics/metrics writes no HELP lines, which "promtool
// check metrics" wants.

// The types of a family.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// family is a metric, with a sample for each combination of its labels.
type family struct {
	name, kind, help string
	labels           []string
	samples          map[string]*sample // by the values of the labels
}

// sample is one value, or one histogram.
type sample struct {
	labels  []string // values
	value   float64
	sum     float64
	count   uint64
	buckets []uint64 // not cumulative; those over the last bound are in count only
}

// bounds are those of all histograms, in seconds: a hand-off takes milliseconds, and a job
// that waits for hours is what an operator looks for.
var bounds = []float64{0.1, 1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400}

// maxLabel bounds a label's value, which others choose.
const maxLabel = 200

func newFamily(name, kind, help string, labels ...string) *family {
	return &family{name, kind, help, labels, map[string]*sample{}}
}

// at returns the sample of those values, which begins as zero.
func (f *family) at(values ...string) *sample {
	for i, v := range values {
		values[i] = cut(v, maxLabel)
	}
	key := strings.Join(values, "\x00")
	s := f.samples[key]
	if s == nil {
		s = &sample{labels: values}
		f.samples[key] = s
	}
	return s
}

// reset forgets all samples, of a metric that is set anew after each look.
func (f *family) reset() { clear(f.samples) }

func (s *sample) observe(seconds float64) {
	if s.buckets == nil {
		s.buckets = make([]uint64, len(bounds))
	}
	if i, _ := slices.BinarySearch(bounds, seconds); i < len(bounds) {
		s.buckets[i]++
	}
	s.count++
	s.sum += seconds
}

// write writes families in the text format, in which one without samples is left out.
func write(w io.Writer, families []*family) error {
	out := bufio.NewWriter(w)
	for _, f := range families {
		if len(f.samples) == 0 {
			continue
		}
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		for _, key := range slices.Sorted(maps.Keys(f.samples)) {
			f.write(out, f.samples[key])
		}
	}
	return out.Flush()
}

func (f *family) write(out io.Writer, s *sample) {
	var labels strings.Builder
	for i, name := range f.labels {
		fmt.Fprintf(&labels, `%s="%s",`, name, escapeLabel.Replace(s.labels[i]))
	}
	line := func(suffix, more string, value float64) {
		all := strings.TrimSuffix(labels.String()+more, ",")
		if all != "" {
			all = "{" + all + "}"
		}
		fmt.Fprintf(out, "%s%s%s %s\n", f.name, suffix, all, number(value))
	}
	if f.kind != histogram {
		line("", "", s.value)
		return
	}
	var below uint64
	for i, bound := range bounds {
		if s.buckets != nil {
			below += s.buckets[i]
		}
		line("_bucket", fmt.Sprintf(`le="%s"`, number(bound)), float64(below))
	}
	line("_bucket", `le="+Inf"`, float64(s.count))
	line("_sum", "", s.sum)
	line("_count", "", float64(s.count))
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// cut returns text of others in at most that many bytes of valid UTF-8.
func cut(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}
