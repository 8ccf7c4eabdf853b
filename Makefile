# The two commands of the README; each does all of its own set-up in `.venv`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test lint check clean

# The whole recipe at laptop size: runs/quickstart/report.html, and the bundles server/ and device/ beside it.
quickstart: $(VENV)/run.stamp
	$(BIN)/codling build quickstart --out runs/quickstart

test: $(VENV)/dev.stamp
	$(BIN)/pytest -n 2 --dist loadfile

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What CI runs: lint, types, the suite, the slow tests.
check: lint test
	$(BIN)/pytest -n 2 --dist loadfile -m slow

clean:
	rm -rf $(VENV) runs .cache build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "codling needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@
