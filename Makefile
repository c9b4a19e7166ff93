# Everything there is to do with a checkout, from Python and make alone. `make help` lists it.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" --quiet $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help run test engines lint format bench simulate lock clean

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

run: .venv/run.stamp ## Start the shop (another port: ECOKART_PORT=9000 make run)
	@exec $(BIN)/ecokart serve

test: .venv/dev.stamp ## Everything that must hold: style, types, import rules, tests (PYTEST_ARGS="-k cart")
	@$(BIN)/python tests/setup_engines.py
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy $(wildcard src tests bench)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.servers $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

engines: .venv/dev.stamp ## PostgreSQL, Redis, DynamoDB Local and ElasticMQ, until Ctrl-C
	@exec $(BIN)/python -m tests.servers

lint: .venv/dev.stamp ## Style, types and import rules, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(wildcard src tests bench)
	$(BIN)/lint-imports --no-logo

format: .venv/dev.stamp ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev.stamp ## Measure what we claim
	@exec $(BIN)/python -m bench $(ARGS)

simulate: .venv/dev.stamp ## Seeded shoppers over faulty engines (SEEDS=100)
	@exec $(BIN)/python -m bench.simulate --seeds $(or $(SEEDS),100)

lock: .venv/dev.stamp ## Compile requirements/ from pyproject.toml again (UPGRADE=1 takes the newest)
	$(LOCK) --extra build --output-file requirements/run.txt
	$(LOCK) --extra build --extra dev --extra postgresql --extra redis --extra aws --extra stripe --constraint requirements/run.txt --output-file requirements/dev.txt

clean: ## Remove .venv and every cache, never data/
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find src tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp is as new as the lock it was installed from, so that a later start calls no pip at all.
.venv/run.stamp: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Ecokart needs Python 3.11 or newer as "$(PYTHON)"; another one: make run PYTHON=python3.12' >&2; exit 1; }
	@echo 'Setting up .venv (once, about ten seconds) …'
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	@echo 'Adding what the tests need (once, about half a minute) …'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
