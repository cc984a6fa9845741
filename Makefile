# The two commands are make demo and make test; where there is no make yet, ./try demo
# and ./try test.

# The Node that install.sh brings where the machine's is too old, and promtool.
export PATH := $(CURDIR)/.cache/node/bin:$(PATH):$(CURDIR)/.cache/prometheus/usr/bin
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

COMMIT = $$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
# Nobody that hostguard talks to needs HTTP/2: 0.36 MB less.
GOBUILD = CGO_ENABLED=0 go build -tags nethttpomithttp2 -trimpath -buildvcs=false \
	-ldflags "-s -w -X main.version=$$(cat VERSION) -X main.commit=$(COMMIT)"
TOOL = go tool -modfile=tools.mod

.PHONY: help build page dist sbom packages image release check test unit model fuzz e2e gitea conformance systemd soak bench bench-long demo picture engines clean FORCE

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' Makefile | expand -t 12

build: ## bin/hostguard, for this machine
	$(GOBUILD) -o bin/hostguard .

# The page's files as they are embedded. The bundle is committed, so that building
# hostguard needs nothing but Go; "make check" compares it with what its sources make.
ESBUILD = $(TOOL) esbuild --minify --target=es2022 --charset=utf8 --legal-comments=none --log-level=warning
BUNDLE = page/bundle
page: ## page/bundle, of page/src
	mkdir -p $(BUNDLE)
	$(ESBUILD) --bundle --format=iife --outfile=$(BUNDLE)/page.js page/src/main.ts
	$(ESBUILD) --outfile=$(BUNDLE)/page.css page/src/page.css
	cp page/src/page.html $(BUNDLE)/page.html

# TypeScript's compiler, which only checks: esbuild takes types off unseen.
page/node_modules: page/package-lock.json
	cd page && npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

# What the action runs where the host has no hostguard of its own.
BINARIES = dist/hostguard-linux-amd64 dist/hostguard-linux-arm64
dist: $(BINARIES) ## the release's binaries and their SHA256SUMS
	cd dist && sha256sum hostguard* >SHA256SUMS

# For every processor of the kind, whatever this machine's Go is set to.
$(BINARIES): dist/hostguard-linux-%: FORCE
	GOOS=linux GOARCH=$* GOAMD64=v1 GOARM64=v8.0 GOFIPS140=off GOFLAGS=-trimpath $(GOBUILD) -o $@ .

# What each binary was built from, by the list that Go keeps in it. The sums of the
# tool that wrote it are left out: they differ between two machines' processors.
sbom: $(BINARIES:=.cdx.json) ## what each binary was built from

%.cdx.json: %
	CGO_ENABLED=0 GOFLAGS=-trimpath $(TOOL) cyclonedx-gomod bin -json -std -noserial -notimestamp \
		-version "$$(cat VERSION)" -output $@.tool $<
	awk '/"component":/ { of = "hostguard" } of == "" && /"hashes": \[/ { left = 1 } !left; /\]/ { left = 0 }' $@.tool >$@
	rm $@.tool

# For Debian, Fedora and Alpine and their kin. The time in them is the last commit's.
SOURCE_DATE_EPOCH = $$(git log -1 --format=%ct 2>/dev/null || echo 0)
packages: $(BINARIES) ## .deb, .rpm and .apk of both binaries
	@tree=$$(mktemp -d) && trap 'rm -rf "$$tree"' EXIT && version=$$(cat VERSION) && time=$(SOURCE_DATE_EPOCH) && \
	go run ./packaging/tree "$$version" "$$tree" && nfpm=$$($(TOOL) -n nfpm) && \
	for arch in amd64 arm64; do for kind in deb rpm apk; do \
		VERSION=$$version ARCH=$$arch TREE=$$tree SOURCE_DATE_EPOCH=$$time \
			"$$nfpm" package --config packaging/nfpm.yaml --packager "$$kind" --target dist/ || exit; \
	done; done

# One image of both binaries, and nothing else: an archive in the OCI layout.
image: $(BINARIES) ## hostguard as a container image
	go run ./packaging/image "$$(cat VERSION)" "$(COMMIT)" "$(SOURCE_DATE_EPOCH)" dist

# A tag with the binaries, of the last commit.
release: ## the tag of a release, with binaries
	sh release.sh

FORCE:

check: ## formatting and linters
	@unformatted=$$(find . -name .cache -prune -o -name '*.go' -exec gofmt -l {} +); \
		[ -z "$$unformatted" ] || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	go vet ./...
	cd e2e && go vet ./...
	cd e2e/rig/gitea-act && go vet ./...
	go fix -diff ./...
	cd e2e && go fix -diff ./...
	cd e2e/rig/gitea-act && go fix -diff ./...
	$(TOOL) staticcheck ./...
	cd e2e && go tool -modfile=../tools.mod staticcheck ./...
	cd e2e/rig/gitea-act && go tool -modfile=../../../tools.mod staticcheck ./...
	@$(TOOL) govulncheck ./... || { [ $$? != 3 ] && echo "govulncheck: nothing was checked"; }
	$(TOOL) actionlint -config-file .gitea/actionlint.yaml -shellcheck= -pyflakes= \
		$$(find . -name .cache -prune -o -path '*/workflows/*.yaml' -print)
	@bundle=$$(mktemp -d) && trap 'rm -rf "$$bundle"' EXIT && \
		$(MAKE) --no-print-directory -s page BUNDLE="$$bundle" && \
		diff -rq "$$bundle" page/bundle || { echo "page/bundle is not what page/src makes: run make page"; exit 1; }
	@$(MAKE) --no-print-directory page/node_modules
	cd page && npx --no-install tsc
	find . -name .cache -prune -o -name '*.sh' -print | xargs -n 1 sh -n
	bash -n .ci/run && sh -n .ci/enter && sh -n try
	find . \( -name .cache -o -name node_modules \) -prune -o -name '*.*js' -print | xargs -rn 1 node --check

# Each test's own vet is left out: "make check" does it, once.
TEST = go test -vet=off

# Everything that has to hold before a change lands. Long counts: make soak.
test: ## everything that has to hold, in stages
	@for stage in engines unit model fuzz e2e; do \
		begin=$$(date +%s); $(MAKE) --no-print-directory $$stage || exit; \
		echo "== $$stage took $$(($$(date +%s) - begin)) s"; \
	done

# The runner engines are compiled once, before the tests that would each do it.
engines: ## bring and compile what the tests need
	sh e2e/install.sh
	cd e2e && go tool -n github.com/nektos/act >/dev/null
	cd e2e/rig/gitea-act && go tool -n github.com/nektos/act >/dev/null
	cd e2e/rig/gitea-act && go tool -n hostguard/e2e/rig/gitea-act >/dev/null

unit: ## unit and script tests, with the race detector
	$(TEST) -race ./...

# The lock's protocol, all interleavings: too slow with the race detector.
model: ## the model of the lock's protocol
	$(TEST) ./lock/model

# A count, not a time: at the end of its time "go test -fuzz" now and then fails
# with "context deadline exceeded" although no input did (Go 1.26.8).
FUZZTIME = 10000x
fuzz: ## each fuzz target, 10,000 times
	@grep -ro --include='*_test.go' --exclude-dir=e2e --exclude-dir=.cache '^func Fuzz[A-Za-z0-9_]*' . | \
	sed 's|/[^/]*:func | |' | while read -r package target; do \
		echo "fuzz $$package $$target"; \
		$(TEST) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
	done

# The attack on the lock goes first. Gitea is built on the processor time that it leaves, and
# is there for the tests after it. Then the longest suites, which wait most of the time, two at
# once: one of them looks for builds, so no suite beside it may build. Then, one by one, those that
# have limits of seconds, and at last the others. By a shell, since "make -j" is what some look for.
TOGETHER = workflow systemd hostile runs page
ALONE = proof drain demo wake
e2e: build ## against real engines, runners, Gitea and systemd
	@$(MAKE) --no-print-directory gitea & gitea=$$!; \
		$(MAKE) --no-print-directory conformance; status=$$?; wait $$gitea && exit $$status
	cd e2e && $(TEST) -count=1 -p 2 -timeout 40m $(TOGETHER:%=./%)
	cd e2e && $(TEST) -count=1 -p 1 -timeout 40m $(ALONE:%=./%)
	cd e2e && $(TEST) -count=1 -p 2 -timeout 40m \
		$$(go list ./... | grep -vE "/($$(echo conformance $(TOGETHER) $(ALONE) | tr ' ' '|'))$$")

gitea:
	cd e2e && nice -n 19 go run ./rig/gitea/build

conformance:
	cd e2e && $(TEST) -count=1 -timeout 40m ./conformance

# The operator's commands on machines whose init is a real systemd.
systemd: engines build ## of e2e, the machines with a real systemd
	cd e2e && $(TEST) -count=1 -timeout 20m ./systemd

soak: engines build ## the long counts: hours
	HOSTGUARD_SOAK=1 GOMEMLIMIT=1800MiB go test -count=1 -timeout 1h ./lock/model
	cd e2e && HOSTGUARD_SOAK=1 go test -count=1 -timeout 3h ./...

bench: engines build ## the figures of docs/figures.md that take some minutes
	cd e2e && go run ./bench

bench-long: engines build ## all figures: half an hour
	cd e2e && go run ./bench -long

demo: ## two repositories' jobs on one host, without and with hostguard
	./try demo

picture: engines build ## the README's pictures of the page
	cd e2e && go run ./picture

clean: ## remove what was built and downloaded
	rm -rf bin dist .cache
