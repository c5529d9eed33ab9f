# The two commands of the README: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BUILD := build
PYTHON := .venv/bin/python
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
DEMO ?= examples/modules/groupnorm_silu.py

.PHONY: help setup setup-dev build demo test bench judge-report lint format fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install packages (apt or Homebrew) and a Python venv in .venv
	@scripts/setup.sh

setup-dev: ## the same, with what the tests and linters need
	@scripts/setup.sh --dev

$(BUILD)/build.ninja: CMakeLists.txt
	@cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS) > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }

build: setup ## leaves build/kernelwright and .venv
	@cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS) -DPython3_EXECUTABLE=$(CURDIR)/$(PYTHON) > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) --quiet

demo: build ## optimise an example module and show the table
	@$(BUILD)/kernelwright optimize $(DEMO) --target cpu --time 50 -o demo.kw

test: setup-dev build ## everything that this machine can run
	@cd $(BUILD) && ctest --output-on-failure -j 2 $(TEST_FLAGS)

bench: setup-dev build ## every example module against every baseline
	@$(PYTHON) scripts/bench.py --binary $(BUILD)/kernelwright $(BENCH_FLAGS)

judge-report: setup-dev build ## the judge before hostile, faulty and honest kernels, and what other checks let through
	@$(PYTHON) scripts/judge_report.py --build $(BUILD)

lint: setup-dev build ## clang-format, clang-tidy, ruff, mypy
	@scripts/lint.sh $(BUILD)

format: ## rewrite sources in the house's format
	@git ls-files '*.cpp' '*.h' '*.c' | xargs clang-format-$$(scripts/llvm.sh) -i
	@.venv/bin/ruff format python tests scripts examples tools

fuzz: setup-dev ## a short run of the fuzzers over archives and Plans
	@scripts/fuzz.sh

clean: ## remove the build, keep .venv and the store
	@rm -rf $(BUILD) $(BUILD).log build-fuzz
