package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Label is one label of a runner's configuration, such as
// "ubuntu-latest:docker://image" or "awoooi-host:host".
type Label struct {
	Name   string
	Schema string // host, docker, or another
	Full   string
}

// ParseLabel parses a label as the runner does: the default schema is host.
func ParseLabel(s string) Label {
	l := Label{Full: s}
	parts := strings.SplitN(s, ":", 3)
	l.Name, l.Schema = parts[0], "host"
	if len(parts) > 1 {
		l.Schema = parts[1]
	}
	return l
}

// Shared is the owner of labels that belong to nobody.
const Shared = "shared"

// nobodys are the first words of labels that name a system, a machine, a tool or a role,
// without a version: nobody's, whatever follows.
var nobodys = strings.Fields(`
	alma almalinux alpine amazon amzn android arch archlinux artix bionic bookworm bsd bullseye buster centos
	clearlinux coreos cygwin darwin debian devuan elementary fedora flatcar focal forky freebsd gentoo guix ios
	jammy kali leap linux mac macmini macos mageia manjaro mint msys netbsd nix nixos noble oel openbsd opensuse
	openwrt oracle oraclelinux osx oracular photon plucky pop proxmox questing raspbian raspberrypi rhel rocky
	rockylinux scientific sid slackware sles solaris stretch suse synology trixie truenas tumbleweed ubi ubuntu
	unix unraid void win windows wolfi wsl xenial

	aarch amd arm armel armhf armv i ia loong loongarch mips ppc ppc64el ppc64le riscv s390x sparc x x86

	act ansible buildah buildkit buildx compose containerd dind docker dood forgejo gitea github helm hyperv incus
	k k3s k8s kaniko kubernetes kvm libvirt lxc lxd nspawn oci podman qemu rootless terraform vagrant virtualbox vm
	vmware

	baremetal cpu cuda fpga gpu intel metal nvidia rocm ssd tpu usb

	ant bash bazel bun c clang cmake composer cpp deno dart dotnet elixir emscripten erlang flutter gcc gdal go
	golang gradle haskell java jdk jre julia kotlin latex lua make maven mono msvc node nodejs npm ocaml openjdk
	perl php playwright pnpm powershell py python pypy qt r ruby rust rustc scala shell swift tex typescript wasm
	xcode yarn zig

	any base bench benchmark big build builder builders builds cd ci default deploy deployer deployment dev develop
	e2e edge fast full general generic heavy host hosted hosts infra integration internal job jobs large latest
	light lint local main medium minimal misc nas native nightly office package perf performance preview privileged
	prod production public publish qa release remote root runner runners sandbox secure self selfhosted server
	servers sh shared slim slow small spot stage staging stable standard temp test tester testing tests tmp tools
	trusted ui unit untrusted vps worker workers xl xlarge`)

// OwnerOf returns the owner of a label, or Shared. A label has an owner by the custom of
// NAME-host: the first word of its name ("awoooi" of "awoooi-host"). Any other label is
// nobody's, unless a repository proves whose it is: see Word.
func OwnerOf(name string) string {
	if !strings.HasSuffix(strings.ToLower(name), "-host") {
		return Shared
	}
	return Word(name)
}

// Word returns the first word of a label's name, or Shared where it names a system or a
// role. It belongs to the repository or organisation of that name, if there is one.
func Word(name string) string {
	word := strings.ToLower(name)
	if end := strings.IndexFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }); end >= 0 {
		word = word[:end] // the word becomes part of a path, too
	}
	if word == "" || slices.Contains(nobodys, word) || slices.Contains(nobodys, strings.TrimRight(word, "0123456789")) {
		return Shared
	}
	return word
}

// OwnersOf returns the owners of labels, in their order.
func OwnersOf(labels []Label) []string {
	var owners []string
	for _, l := range labels {
		if o := OwnerOf(l.Name); !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	return owners
}

// MostCommonOwner returns the owner of most labels, the first among equals, or "".
func MostCommonOwner(labels []Label) string {
	var order []string
	count := map[string]int{}
	for _, l := range labels {
		if o := OwnerOf(l.Name); o != Shared {
			if count[o]++; count[o] == 1 {
				order = append(order, o)
			}
		}
	}
	if len(order) == 0 {
		return ""
	}
	return slices.MaxFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(slices.Index(order, b), slices.Index(order, a)))
	})
}

// ClassOf returns the class of a label for an owner: shared_queue, OWN_dedicated or
// foreign_dedicated.
func ClassOf(name, own string) string {
	switch o := OwnerOf(name); o {
	case Shared:
		return "shared_queue"
	case strings.ToLower(own):
		return o + "_dedicated"
	}
	return "foreign_dedicated"
}

// Foreign returns the labels that belong to another owner.
func Foreign(labels []Label, own string) []Label {
	var foreign []Label
	for _, l := range labels {
		if ClassOf(l.Name, own) == "foreign_dedicated" {
			foreign = append(foreign, l)
		}
	}
	return foreign
}

// CheckLabels refuses labels that a runner would not accept.
func CheckLabels(labels []string) error {
	seen := map[string]bool{}
	for _, s := range labels {
		l := ParseLabel(s)
		switch {
		case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }) || l.Name == "":
			return fmt.Errorf("%.200q is not a label; it must be NAME:host or NAME:docker://IMAGE", s)
		case l.Schema != "host" && l.Schema != "docker":
			return fmt.Errorf("label %.200q is neither :host nor :docker://IMAGE", s)
		case seen[l.Name]:
			return fmt.Errorf("duplicate label %.200q", l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}

// Removed returns the names that a runner would lose with other labels.
func Removed(have []Label, want []string) []string {
	var names []string
	for _, l := range have {
		if !slices.ContainsFunc(want, func(w string) bool { return ParseLabel(w).Name == l.Name }) &&
			!slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	return names
}
