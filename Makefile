# Every target sets up what it needs by itself; see `make help`.
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory --no-builtin-rules
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
FAST := -m "not servers and not browser and not system"
# Debian keeps mariadbd where not every user's PATH leads.
export PATH := $(PATH):/usr/sbin:/sbin

.NOTPARALLEL:
.PHONY: help demo demo-reset check test soak bench coverage constraints lint setup-demo setup-check setup-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: setup-demo ## everything on this machine, with sample jobs; prints where to look (ARGS="--port 0")
	@exec $(BIN)/cronq up --demo --state .demo $(ARGS)

demo-reset: ## forget what the demo recorded
	@if [ -e .demo/up.lock ] && ! flock -n .demo/up.lock true; then echo "the demo is running: stop it first" >&2; exit 1; fi
	rm -rf .demo

check: setup-check lint ## format, lint, types, layers and the fast tests
	$(PYTEST) -n 2 $(FAST) tests/unit tests/contract tests/model

# With CI set a server that is missing is an error and no reason to skip, and Hypothesis draws the same cases each time.
test: export CI := true
# The parts that kill processes and watch clocks come after those that need all of a core.
test: setup-test lint ## check, and every other test, on a private MariaDB and RabbitMQ and in Chromium
	@status=0; \
	$(PYTEST) -n 2 tests/unit tests/contract tests/model tests/integration || status=$$?; \
	$(PYTEST) -n 2 tests/system tests/browser || status=$$?; \
	exit $$status

MINUTES := 10
soak: setup-test ## random faults for MINUTES; what came of it goes to docs/reliability.md
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --report docs/reliability.md $(ARGS)

bench: setup-test ## how fast, as one JSON object (ARGS=next: schedules alone)
	@$(BIN)/python -m tests.bench $(ARGS)

coverage: setup-check ## what the fast tests reach
	$(PYTEST) $(FAST) --cov --cov-report=term tests/unit tests/contract

constraints: setup-check ## newest versions of everything that we install, into constraints.txt
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-header --no-annotate \
	  --extra server --extra dev --output-file constraints.txt pyproject.toml

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup-demo setup-check setup-test:
	@.ci/setup $(@:setup-%=%)
