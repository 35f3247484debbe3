# Every target works on a machine with only Python 3.11+ and make: .venv is made when it is first needed.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# A .venv of another version than a given PYTHON is made anew, and so is one whose Python is gone or was replaced.
NAMED := $(PYTHON)
PYTHON ?= python3
VERSION = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
OWN := $(if $(wildcard $(VENV)),$(or $(call VERSION,$(BIN)/python),none))
WANTED := $(if $(NAMED),$(call VERSION,$(PYTHON)),$(OWN))
STALE := $(if $(OWN),$(if $(filter $(OWN),$(WANTED)),$(if $(wildcard $(VENV)/lib/python$(OWN)),,stale),stale))
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Some images forbid bytecode: each test process would compile what pytest rewrites, hypothesis among it, for itself.
unexport PYTHONDONTWRITEBYTECODE

# pip's mirror and certificates, from its files and variables, for uv: here, and in the workspaces of the example.
UV_SETTINGS := eval "$$($(BIN)/python .ci/uv_settings.py)"

.DEFAULT_GOAL := help

.PHONY: stale
stale:

$(BIN)/uv: $(STALE)
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here, so nothing was tried with it"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "prebuild_tasks needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(if $(STALE),rm -rf $(VENV))
	@echo "making $(VENV)$(if $(STALE), anew) with $$($(PYTHON) --version)$(if $(STALE),: $(if $(NAMED),it had Python $(OWN),its Python is gone or was replaced))"
	@$(PYTHON) -m venv $(VENV) || { echo "python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	@echo "installing uv, which installs the rest"
	@$(UV_SETTINGS) && $(BIN)/pip install -q --disable-pip-version-check uv

$(VENV)/.installed: requirements.lock pyproject.toml $(STALE) | $(BIN)/uv
	@echo "installing $$(grep -c '^[a-z].*==' requirements.lock) locked packages, which takes half a minute the first time"
	@$(UV_SETTINGS) && $(BIN)/uv pip sync -q --require-hashes --compile-bytecode --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install -q --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

.PHONY: install
install: $(VENV)/.installed ## Create .venv with the locked packages and the project

.PHONY: up
up: install ## Start Redis, SQLite, worker, builds and beat on this machine, and fill the example pools (ARGS="--help")
	@$(UV_SETTINGS) && exec $(BIN)/prebuild up $(ARGS)

# Files of tests that run by themselves, and tests that have a command of their own.
TIMED := $$(grep -rl mark.timed tests --include=test_*.py)
OTHERS := trials or faults or deploys or docker or monitoring or browser or nginx

.PHONY: test
test: install ## Run the tests, including a few trials of the worst faults; starts its own Redis and PostgreSQL
	@$(BIN)/python --version
	$(BIN)/pytest -n 5 --dist loadscope -m "not (timed or house or thorough or $(OTHERS))" $(ARGS)
	$(BIN)/pytest -m "timed and not (thorough or $(OTHERS))" $(TIMED) $(ARGS) $(if $(ARGS),|| [ $$? = 5 ]) # 5: ARGS selects no such test

.PHONY: test-thorough
test-thorough: install ## Run what `make test` has in short: each test on the other database, too, and every command of the docs
	$(BIN)/pytest -n 5 --dist loadscope -m "thorough and not (timed or $(OTHERS))" $(ARGS)
	$(BIN)/pytest -m "timed and thorough and not ($(OTHERS))" $(TIMED) $(ARGS) $(if $(ARGS),|| [ $$? = 5 ])

.PHONY: test-faults
test-faults: install ## Test a few trials of every fault on whole deployments
	$(BIN)/pytest -n 3 --dist loadscope -m "trials and not timed and not faults" tests/faults $(ARGS)
	$(BIN)/pytest -m "trials and timed and not faults" tests/faults $(ARGS) $(if $(ARGS),|| [ $$? = 5 ]) # 5: ARGS selects no such test

.PHONY: faults
faults: install ## Test every fault as often as docs/reliability.md says; ARGS=--missing continues an interrupted run
	$(BIN)/pytest -n 3 -m "faults and not timed and not docker" --fault-results=docs/faults.json $(ARGS); status=$$?; \
	$(BIN)/pytest -m "faults and timed and not docker" --fault-results=docs/faults.json $(ARGS); timed=$$?; \
	$(BIN)/python -m tests.faults.table && for code in $$status $$timed; do case $$code in 0|5) ;; *) exit $$code ;; esac; done # 5: nothing is missing

.PHONY: test-deploys
test-deploys: install ## Test whole deployments: rolling upgrade, TLS, secrets, wheel, Procfile, compose
	$(BIN)/pytest -n 2 -m deploys tests $(ARGS)

.PHONY: test-docker
test-docker: install ## Test the docker provisioner, the image and the compose file; needs docker compose, and an engine: DOCKER_HOST, or as root podman, runc and busybox-static
	$(BIN)/pytest -n 2 -m "docker and not faults" tests/provisioners tests/e2e/test_image.py tests/cli/test_deploy.py $(ARGS)

.PHONY: test-monitoring
test-monitoring: install ## Test the metrics, alerts and dashboard with a real Prometheus; needs prometheus and promtool on PATH
	@{ command -v prometheus && command -v promtool; } >/dev/null || { echo "make test-monitoring needs prometheus and promtool on PATH; on Debian and Ubuntu, the package prometheus has both; its service is not needed: apt-get install --no-install-recommends prometheus && systemctl disable --now prometheus"; exit 1; }
	$(BIN)/pytest -m monitoring tests/monitoring $(ARGS)

.PHONY: test-api
test-api: install ## Send made-up requests to the HTTP API for 10 minutes (ARGS="--seconds 60 --seed 5")
	$(BIN)/python -m tests.support.conformance --seconds 600 $(ARGS)

.PHONY: test-web
test-web: install ## Test the pages in a browser; needs Chromium on PATH, and npm for what looks for barriers
	@command -v chromium || command -v chromium-browser || command -v google-chrome || command -v chrome || { echo "make test-web needs Chromium on PATH; on Debian and Ubuntu: apt-get install --no-install-recommends chromium"; exit 1; }
	@command -v npm >/dev/null || { echo "make test-web needs npm, which installs axe-core for the tests; on Debian and Ubuntu: apt-get install --no-install-recommends npm"; exit 1; }
	@cd tests/web/browser && npm ci --silent --ignore-scripts --no-audit --no-fund
	$(BIN)/pytest -m browser tests/web $(ARGS)

.PHONY: picture
picture: install ## Take the picture of the page that README.md shows; needs Chromium on PATH
	$(BIN)/python -m tests.support.picture

.PHONY: screenshots
screenshots: install ## Write every page at three widths, light and dark, into build/screenshots; needs Chromium on PATH
	$(BIN)/python -m tests.support.picture build/screenshots

.PHONY: test-nginx
test-nginx: install ## Test the configuration of nginx in deploy/nginx; needs nginx on PATH
	$(BIN)/pytest -m nginx tests/web $(ARGS)

.PHONY: mutations
mutations: install ## Make rules wrong, one at a time, here and in release 0.1.0, and see that the tests notice; half an hour (ARGS="lock")
	$(BIN)/python -m tests.support.mutate $(ARGS)

.PHONY: moved-tests
moved-tests: install ## Show where each test of release 0.1.0 is now, or why it fell
	$(BIN)/python -m tests.support.moved_tests $(ARGS)

.PHONY: bench
bench: install ## Run the benchmarks, except the long fleet run; starts its own Redis and PostgreSQL
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-quick
bench-quick: install ## Run smaller benchmarks in a few minutes; fails when a bound is missed
	$(BIN)/python -m benchmarks --quick $(ARGS)

.PHONY: bench-fleet
bench-fleet: install ## Run the long fleet benchmark: 10,000 presets through real Celery while people claim
	$(BIN)/python -m benchmarks --rows 11 $(ARGS)

.PHONY: test-fast
test-fast: install ## Run the tests that need no servers (under 30 seconds)
	@$(BIN)/python --version
	$(BIN)/pytest -n 2 -m "not (servers or e2e or slow or timed or house or thorough or $(OTHERS))" $(ARGS)

.PHONY: check
check: install ## Check style, types, import contracts, the rules of tests/house, and that no migration is missing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.support.new_migration
	$(BIN)/pytest -q -n 2 --dist loadscope tests/house

.PHONY: format
format: install ## Format, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: $(BIN)/uv ## Resolve the dependencies into requirements.lock
	@$(UV_SETTINGS) && $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --all-extras --group dev $(ARGS) -o requirements.lock pyproject.toml

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  %-16s %s\n", $$1, $$2}'
