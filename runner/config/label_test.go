package config

import (
	"strings"
	"testing"
)

func TestWhoseALabelIs(t *testing.T) {
	// Systems, tools and roles that public configurations have as labels.
	for name := range strings.FieldsSeq("archlinux native rocky9 nixos aarch64 darwin bookworm noble podman cuda kvm " +
		"golang python3 java17 builder deploy test rhel8 s390x x86_64 linux-arm64 macos-14 debian12 node20 go1.26 " +
		"gpu-a100 k3s") {
		for _, label := range []string{name, name + "-host", strings.ToUpper(name)} {
			if got := OwnerOf(label); got != Shared {
				t.Errorf("%q is %q's", label, got)
			}
			if got := Word(label); got != Shared {
				t.Errorf("%q would be %q's", label, got)
			}
		}
	}
	for name, want := range map[string]string{
		"ubuntu-latest": Shared, "ubuntu-22.04": Shared, "ubuntu22": Shared,
		"Linux": Shared, "self-hosted": Shared, "": Shared, "x64": Shared,
		"awoooi-host": "awoooi", "EWOOOC-host": "ewoooc", "stockplatform-v2-host": "stockplatform",
		"stockplatform": Shared, "awoooi_gpu": Shared, "../../etc-host": Shared, "a/../b-host": "a",
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
		"ewoooc": {"awoooi-host", "ewoooc-host", "ewoooc-gpu-host"},
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
