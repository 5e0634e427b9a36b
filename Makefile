# `make` lists the targets. The versions of tools are pinned here, and not in the
# product's go.mod.

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT       := go run mvdan.cc/gofumpt@v0.12.0
GREMLINS      := go run github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
GORELEASER    := go run github.com/goreleaser/goreleaser/v2@v2.17.0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# Without inlining in the packages of Kubernetes, which are large, the binary is 0.7
# MiB smaller. They decode a few objects for each command.
SMALL := -gcflags='k8s.io/...=-l'
BUILD   := CGO_ENABLED=0 go build -trimpath $(SMALL) -ldflags '$(LDFLAGS)'

# Without optimization, the first build takes 40 s instead of 58 s on 2 cores.
QUICK_BUILD := CGO_ENABLED=0 go build -gcflags 'all=-N -l' -ldflags '$(LDFLAGS)'

# The platforms of a release.
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.DEFAULT_GOAL := help
.PHONY: help agent build install test contract lint fmt cover mutants guard bench bench-micro cross demo e2e e2e-ci e2e-lint cluster cluster-down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

agent: ## build the session agents, which kshell embeds
	@go run ./internal/agentbin/mk

build: agent ## build ./kshell
	$(BUILD) -o kshell ./cmd/kshell

install: agent ## install kshell into $GOBIN, also as a plugin of kubectl (PLUGIN= omits that)
	CGO_ENABLED=0 go install -trimpath $(SMALL) -ldflags '$(LDFLAGS)' ./cmd/kshell
	@bin=$$(go env GOBIN); for name in $(PLUGIN); do ln -sf kshell "$${bin:-$$(go env GOPATH)/bin}/$$name" || exit 1; done

# Names of the links to kshell: the kubectl plugin, and its completion.
PLUGIN ?= kubectl-kshell kubectl_complete-kshell

# The race detector is used for the packages whose goroutines are tested: all
# except the sandbox and test/. The tests that -short skips run without it.
# test/contract takes the longest, so it is started first.
RACED   = $(shell go list ./cmd/... ./internal/... | grep -v /sandbox)
UNRACED = ./test/contract ./cmd/... ./internal/apiclient ./internal/pod ./internal/sandbox/... ./bench/... ./test/...

# vet and the two sets of tests run at the same time, because many tests mostly
# wait. The output of each is printed when it ends (with make 3: at once).
TOGETHER = $(MAKE) -j3 --no-print-directory $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# SHELLS=all runs the tests of the scripts in every shell that the scripts support;
# all of these must be installed. Otherwise, one installed shell is used.
test: export KSHELL_TEST_SHELLS = $(SHELLS)
test: agent ## run all tests (RACE=all: with the race detector everywhere; SHELLS=all: in every shell)
ifeq ($(RACE),all)
	go vet ./...
	go test -race -timeout 30m ./test/contract ./...
else
	@$(TOGETHER) vet test-raced test-unraced
endif

.PHONY: vet test-raced test-unraced
vet:
	go vet ./...
test-raced:
	go test -race -short -timeout 15m $(RACED)
test-unraced:
	go test -timeout 15m $(UNRACED)

contract: ## run the contract tests on the sandbox (test/contract)
	go test -timeout 15m ./test/contract

lint: ## check format, style, and the code for the other platforms
	@test -z "$$($(GOFUMPT) -l bench cmd internal test)" || { echo 'not formatted (make fmt):'; $(GOFUMPT) -l bench cmd internal test; exit 1; }
	$(GOLANGCI_LINT) run ./...
	GOOS=windows go vet ./...
	GOOS=darwin go vet ./...

fmt: ## format the code
	$(GOFUMPT) -w bench cmd internal test

cover: ## run the tests and write cover.html
	go test -coverpkg=./cmd/...,./internal/... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -1
	go tool cover -html=cover.out -o cover.html

# The time limit of a mutant, including its build, is six times the duration of the
# package's tests. -count=1 prevents cached results, with which the measured
# duration would be too short.
mutants: export GOFLAGS = -count=1
mutants: ## run mutation tests of one package: make mutants PKG=internal/stream (MUTANTS= adds flags)
	@test -n "$(PKG)" || { echo 'name a package: make mutants PKG=internal/stream' >&2; exit 2; }
	$(GREMLINS) unleash --workers 2 --timeout-coefficient 6 $(MUTANTS) ./$(PKG)

guard: build ## check the size, the start and the throughput of the binary, and the allocations of benchmarks
	go run ./bench/guard -binary ./kshell
	go run ./bench/micro -base none -count 1

.PHONY: size
size: guard

bench: build ## compare kshell with kubectl on the cluster (root, Debian), and write docs/performance.md (BENCH= adds flags)
	@export=$$(cd test/e2e && go run ./cluster up) && eval "$$export" && \
		go run ./bench/compare -kubectl "$$(dirname "$$KUBECONFIG")/bin/kubectl" $(BENCH)

bench-micro: ## run the Go benchmarks of this branch and of its merge base with main (MICRO= adds flags)
	go run ./bench/micro $(MICRO)

cross: agent ## build for every platform of a release, into dist/
	@for p in $(PLATFORMS); do \
		out=dist/kshell-$${p%/*}-$${p#*/}; [ $${p%/*} = windows ] && out=$$out.exe; \
		echo $$out; GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o $$out ./cmd/kshell || exit 1; \
	done

.PHONY: dist dist-files dist-check
dist: export COMMIT := $(COMMIT)
dist: export SHORT_COMMIT = $(shell git rev-parse --short HEAD 2>/dev/null)
dist: export COMMIT_DATE = $(shell git show -s --format=%cI HEAD 2>/dev/null)
dist: export COMMIT_TIMESTAMP = $(shell git show -s --format=%ct HEAD 2>/dev/null)
dist: ## make the packages of a release in dist/release, and publish nothing (.goreleaser.yaml)
	$(GORELEASER) release --snapshot --clean --skip=publish

# The files that packages contain, except the binaries. goreleaser runs this target.
dist-files: agent
	@rm -rf dist/man dist/completions && mkdir -p dist/man/gz dist/completions
	$(QUICK_BUILD) -o dist/kshell-host ./cmd/kshell
	@for shell in bash zsh fish; do dist/kshell-host completion $$shell >dist/completions/kshell.$$shell || exit 1; done
	@dist/kshell-host completion powershell >dist/completions/kshell.ps1
	@cp docs/man/*.1 dist/man
	@for page in dist/man/*.1; do gzip -9n <$$page >dist/man/gz/$${page##*/}.gz || exit 1; done

dist-check: ## check .goreleaser.yaml
	cd test/dist && go test ./...

.PHONY: build-demo tour
build-demo: agent
	@mkdir -p dist/demo
	@test -x dist/demo/kshell || echo 'building kshell: the first time, this takes a minute' >&2
	@$(QUICK_BUILD) -o dist/demo/ ./cmd/kshell ./internal/sandbox/demo

demo: build-demo ## open a shell in a pod of a sandbox on this machine; no cluster needed
	@dist/demo/demo --kshell dist/demo/kshell

tour: build-demo ## a tour of kshell in a minute; no cluster needed (TOUR=--auto: without pressing Enter)
	@dist/demo/demo --kshell dist/demo/kshell --tour $(TOUR)

# The pages and the picture are the same in each run: if kshell has not changed,
# git shows no difference afterwards.
.PHONY: docs
docs: agent ## write what docs/ contains of kshell: help, man pages, captures, and the picture in README.md
	go test -count=1 ./cmd/kshell -run 'TestDocs_' -update
	go test -count=1 ./test/contract -run 'TestPicture_|TestSessions_Captures' -update
	go test -count=1 ./test/picture -run 'TestSVG_' -update

e2e: ## run the e2e suite on a real two-node Kubernetes on this machine (root, Debian; KEEP=1 keeps the cluster running)
	@test/e2e/run

e2e-ci: ## run the tests of the e2e suite that CI runs (they begin with inCI(t))
	@test/e2e/run -ci

e2e-lint: ## lint the module test/e2e
	cd test/e2e && $(GOLANGCI_LINT) run --config ../../.golangci.yml ./cluster/... ./harness/... ./suite/...

cluster: ## start the cluster of e2e, and print how to use it
	@cd test/e2e && go run ./cluster up

cluster-down: ## stop the cluster
	@cd test/e2e && go run ./cluster down

clean: ## remove the files that the targets create
	rm -rf kshell kshell.exe dist cover.out cover.html internal/agentbin/agents/*.gz internal/agentbin/agents/build
