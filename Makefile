# `make run`: set up, make the synthetic sample market, train, promote, serve.  `make test`: set up and test.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
HOME_DIR := .influencer-roi
SAMPLE := sample-market
PORT ?= 3000

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

.PHONY: check-machine
check-machine:
	@command -v $(PYTHON) >/dev/null || { echo "missing: Python 3.11 or newer ($(PYTHON)); install it, or say PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "missing: Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv (Debian: apt-get install python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import ctypes, sys; sys.platform.startswith("linux") and ctypes.CDLL("libgomp.so.1")' 2>/dev/null || { echo "missing: libgomp1, which LightGBM needs (Debian: apt-get install libgomp1)"; exit 1; }

# made anew when what is pinned changes, else used as it is
$(READY): requirements.lock pyproject.toml | check-machine
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing what requirements.lock pins (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(READY) ## set up .venv from requirements.lock

.PHONY: run
run: $(READY) ## set up, make the sample market, train, promote and serve
	@test -f $(SAMPLE)/placements.csv || $(BIN)/influencer-roi sample $(SAMPLE)
	@test -f $(HOME_DIR)/release.json || $(BIN)/influencer-roi train $(SAMPLE) --home $(HOME_DIR)
	@exec $(BIN)/influencer-roi serve --home $(HOME_DIR) --port $(PORT)

.PHONY: test
test: $(READY) ## set up and run every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: lint
lint: $(READY) ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(READY) ## mypy
	@$(BIN)/mypy

.PHONY: format
format: $(READY) ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(READY) ## benchmarks, each beside its baseline
	@$(BIN)/python -m benchmarks.train
	@$(BIN)/python -m benchmarks.serving
	@$(BIN)/python -m benchmarks.features --placements 100000 --creators 83334
	@$(BIN)/python -m benchmarks.quality --worlds balanced,cliffs --sizes 2000,20000 --peers
	@$(BIN)/python -m benchmarks.real_data

.PHONY: lock
lock: ## pin dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links --extra dev --extra scale pyproject.toml -o requirements.lock

.PHONY: clean
clean: ## remove the sample market, its home and caches
	rm -rf $(SAMPLE) $(HOME_DIR) .pytest_cache .mypy_cache .ruff_cache
