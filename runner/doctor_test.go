package runner

import (
	"testing"

	"hostguard/runner/finding"
)

func TestEachLayerHasOneLine(t *testing.T) {
	found := []finding.Finding{
		{Layer: 3, Level: finding.Warn, Evidence: "a", Fix: "b"},
		{Layer: 3, Level: finding.Bad, Evidence: "c", Fix: "d"},
	}
	layers := Diagnose(good(), nil, found, map[int]string{1: "nothing left"})
	if len(layers) != 12 {
		t.Fatal(len(layers))
	}
	for i, l := range layers {
		want := finding.OK
		switch i {
		case 2:
			want = finding.Bad
		case 10, 11: // two owners' labels: shared and awoooi
			want = finding.Warn
		}
		if l.Level != want || l.Evidence == "" || l.Title == "" {
			t.Errorf("%+v, want %s", l, want)
		}
	}
	if layers[2].Evidence != "c" || len(layers[2].Findings) != 2 || layers[0].Evidence != "nothing left" {
		t.Errorf("%+v", layers[:3])
	}
}

// What could not be seen is not good.
func TestAHostOutOfSightIsNotCalledGood(t *testing.T) {
	h := Host{
		UnitsUnseen: []string{"no systemd"}, ConfigUnseen: "no config",
		DockerUnseen: "no Docker", TasksUnseen: "no journal", ProcessesUnseen: "no /proc",
	}
	layers := Diagnose(h, nil, nil, nil)
	for _, n := range []int{4, 6, 7, 9, 10, 11, 12} {
		if layers[n-1].Level == finding.OK {
			t.Errorf("%+v", layers[n-1])
		}
	}
}
