# One verb a target. Work that is done is stamped inside .venv, so a second `make run` or `make test` starts at once.

VENV := .venv
BIN := $(VENV)/bin
LOCK_VENV := build/lock
HOST ?= 127.0.0.1
PORT ?= 4000
CONFIG ?= examples/quickstart.yaml
TESTS ?= tests
# A distribution's Python first: it is compiled with profile-guided optimisation, which one that was compiled at home
# mostly is not, and a request then costs a quarter more.
PYTHON ?= $(shell for name in /usr/bin/python3.14 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11; do \
	"$$name" -c 'import ensurepip, venv' 2>/dev/null && { echo "$$name"; exit; }; done; \
	for name in python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; exit; }; done)
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet
COMPILE := $(LOCK_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(if $(UPGRADE),--upgrade)

# An editable installation ends in a stamp that is newer than everything it was made from.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help run test lint types fmt deep bench simulate proof bench-peers docs lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME)  ## serve examples/quickstart.yaml and print a request to try (CONFIG=, HOST= and PORT= change what and where)
	@exec $(BIN)/llmproxy --config $(CONFIG) --host $(HOST) --port $(PORT)

test: $(DEV)  ## run the tests (TESTS=tests/wire runs some of them)
	$(BIN)/python -m pytest $(TESTS)

lint: $(DEV)  ## look for mistakes and for layout that `make fmt` would change
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)  ## check the types
	$(BIN)/mypy

fmt: $(DEV)  ## lay the code out, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

deep: $(DEV)  ## run the tests whole: long ones at full length
	LLMPROXY_DEEP=1 $(BIN)/python -m pytest --timeout 900 $(TESTS)

bench: $(DEV)  ## measure llmproxy beside nginx and the peers that are installed (BENCH="--scenario requests --only nginx,llmproxy")
	@$(BIN)/python -m bench $(BENCH)

simulate: $(DEV)  ## show what routing makes of bad servers, in virtual time (SIMULATE="--ours --seconds 120")
	@$(BIN)/python -m bench.simulate $(SIMULATE)

proof: $(DEV)  ## kill llmproxy again and again under load and see that no row and no nano-dollar is wrong (DEEP=1: 1,000 times)
	@$(BIN)/python -m bench.proof --kills $(if $(DEEP),1000,30) $(PROOF)

bench-peers: $(DEV)  ## install the gateways that `make bench` compares with, each below build/peers
	@$(BIN)/python -m bench.peers

docs: $(DEV)  ## write the tables in docs/ anew from the program's own declarations
	$(BIN)/python -m docs.generate

lock: $(LOCK_VENV)/bin/uv  ## write the lock files anew from pyproject.toml (UPGRADE=1 takes newer versions)
	$(COMPILE) pyproject.toml --all-extras --output-file requirements.lock
	$(COMPILE) --group build --constraint requirements.lock --output-file requirements-build.lock
	$(COMPILE) pyproject.toml --all-extras --group dev --constraint requirements.lock --constraint requirements-build.lock \
		--output-file requirements-dev.lock

clean:  ## remove .venv and everything that was generated
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "llmproxy needs Python 3.11 or newer, and none was found:" \
		"install it, or name it with 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment:" \
		"on Debian and Ubuntu, 'apt-get install python3-venv' adds what it lacks." >&2; exit 1; }

$(RUNTIME): pyproject.toml requirements.lock requirements-build.lock | $(BIN)/python
	@echo "Installing llmproxy into $(VENV) (once) ..."
	@$(PIP) install --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "Installing what the tests need into $(VENV) (once) ..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(LOCK_VENV)/bin/uv:
	@$(PYTHON) -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/pip --quiet --disable-pip-version-check install 'uv>=0.9'
