package config

import "testing"

func TestWhoseALabelIs(t *testing.T) {
	for name, want := range map[string]string{
		"ubuntu-latest": Shared, "ubuntu-22.04": Shared, "ubuntu22": Shared,
		"Linux": Shared, "self-hosted": Shared, "": Shared, "x64": Shared,
		"awoooi-host": "awoooi", "EWOOOC-host": "ewoooc", "stockplatform": "stockplatform",
		"awoooi_gpu": "awoooi", "../../etc": Shared, "a/../b": "a",
	} {
		if got := OwnerOf(name); got != want {
			t.Errorf("%q is %q's, want %q", name, got, want)
		}
	}
}

func TestTheMostCommonOwnerIsTheFirstAmongEquals(t *testing.T) {
	for want, names := range map[string][]string{
		"":       {"ubuntu-latest"},
		"awoooi": {"ubuntu-latest", "awoooi-host", "ewoooc-host"},
		"ewoooc": {"awoooi-host", "ewoooc-host", "ewoooc-gpu"},
	} {
		var labels []Label
		for _, n := range names {
			labels = append(labels, ParseLabel(n))
		}
		if got := MostCommonOwner(labels); got != want {
			t.Errorf("%v: %q, want %q", names, got, want)
		}
	}
}
