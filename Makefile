# Everything here needs Go; tests need Node, Redis and Chromium as well, which
# `make setup` installs on Debian.

SHELL = /bin/bash

SUITES = unit race fuzz js browser e2e faults redis partition sim bench hostile

.PHONY: help bench-smoke build test mutations soak faults fuzz fuzz-long hostile fmt setup $(addprefix test-,$(SUITES))

help:
	@echo "make build   the three programs, into bin/"
	@echo "make test    all tests: $(SUITES); one alone: make test-unit"
	@echo "make soak    the long form: an hour or more"
	@echo "make faults  break a cluster for FOR (default 60s) by SEED (default: drawn) and judge it"
	@echo "make mutations   break the logic on purpose and see that tests notice"
	@echo "make hostile the attackers of test-hostile, each for LIMPET_HOSTILE (default 30s)"
	@echo "make fuzz    every fuzz target for FUZZTIME (default 60s)"
	@echo "make fuzz-long   every fuzz target for FUZZ_CPU seconds of processor time (default 600)"
	@echo "make bench-smoke   the benchmark's gates, briefly; go run ./bench for the whole"
	@echo "make fmt     format the code"
	@echo "make setup   install what the tests need"

build:
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

test: setup
	test/run $(SUITES)

$(addprefix test-,$(SUITES)): setup
	test/run $(@:test-%=%)

soak: setup
	test/soak

mutations: setup
	test/mutate

bench-smoke: test-bench

fuzz:
	FUZZTIME=$${FUZZTIME:-60s} test/fuzz

fuzz-long:
	test/fuzz-long

faults: setup
	go run ./e2e/faults -for $${FOR:-60s} -seed $${SEED:-$$RANDOM} $(FAULTS)

hostile: setup
	LIMPET_HOSTILE=$${LIMPET_HOSTILE:-30s} HOSTILE_TIMEOUT=40m test/hostile

fmt:
	gofmt -w $$(git ls-files --cached --others --exclude-standard '*.go')

setup:
	.ci/setup.sh
