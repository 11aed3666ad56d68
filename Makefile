# Two commands on a fresh machine with Python, make and git: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DATA ?=
# Where this is set, every command and server that the tests start would compile all its modules anew.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help install demo serve real test check bench bench-full torture torture-quick nightly soak lock problem-codes

help: ## show the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

install: $(INSTALLED) ## make .venv from the lock

$(INSTALLED): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Alacarte needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## a catalog, quotes, usage and two month closes, end to end, into out/demo
	@$(BIN)/python -m examples.llm_gateway.demo

serve: $(INSTALLED) ## the API and the console on the demo's database
	@test ! -f out/demo/sign-in.txt || { echo "name    password"; cat out/demo/sign-in.txt; }
	@$(BIN)/alacarte serve

real: $(INSTALLED) ## the same on real usage and prices: make real DATA=folder
	@test -n "$(DATA)" || { echo "make real DATA=<folder with the trace and the price list>"; exit 2; }
	@$(BIN)/python -m examples.llm_trace.run "$(DATA)"

check: $(INSTALLED) ## style, types and import contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: check ## everything: checks, the whole suite on SQLite and PostgreSQL, ten kills
	@$(BIN)/pytest -q -n 2 --dist loadgroup
	@$(MAKE) --no-print-directory torture-quick

torture-quick: $(INSTALLED) ## ten kills on each database
	@$(BIN)/python -m tests.torture --kills 10

torture: $(INSTALLED) ## the long ones: kills, random journals, planted corruption, state machines, five minutes of load
	@$(BIN)/python -m tests.torture --kills 200
	@$(BIN)/python -m tests.torture.ledger --journals 1000000 --damages 1000
	@$(BIN)/pytest -q -m torture tests
	@$(BIN)/python -m tests.torture.soak --minutes 5

soak: $(INSTALLED) ## half an hour of mixed load, a worker killed every minute
	@$(BIN)/python -m tests.torture.soak --minutes 30

nightly: $(INSTALLED) ## property tests with ten thousand examples each, as many requests tried on the API
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -q tests/property tests/integration/api/test_openapi.py

bench: $(INSTALLED) ## every benchmark, into out/bench.json
	@$(BIN)/python -m benchmarks.run_all

bench-full: $(INSTALLED) ## the long tables too
	@$(BIN)/python -m benchmarks.run_all --full

lock: ## resolve requirements/dev.lock anew (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header -q --python-version 3.11 \
		pyproject.toml --extra openfeature --group dev -o requirements/dev.lock

problem-codes: $(INSTALLED) ## what each problem code means, written from the source
	@$(BIN)/python -m docs.problem_codes
