# A newcomer:     make demo   make test
# A contributor:  make lint   make bench   make docs   make ports   make clean
#
# Every target first sets up .venv (once; again when pyproject.toml changes). PYTHON picks another interpreter,
# EXTRAS other extras (EXTRAS=dev,zig brings a C compiler as a wheel), ARGS goes to pytest or to the benchmark.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
EXTRAS ?= dev
JOBS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed-$(EXTRAS)
TYPES := .make/types/portwright

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint format types bench bench-all docs ports clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -5

setup: $(READY)

demo: $(READY)
	@$(BIN)/portwright certify CPU --jobs $(JOBS)
	@echo
	@$(BIN)/python examples/digits.py
	@echo
	@echo "Look at next:"
	@echo "  . $(BIN)/activate         then \`portwright\` and \`python\` are the ones set up here"
	@echo "  python examples/seed.py      one expression, from Tensor to C, step by step"
	@echo "  portwright devices           the ports that were found, and what each can do"
	@echo "  portwright doctor            what is installed, what is missing and how to mend it"
	@echo "  docs/quickstart.md           ten minutes with the engine"

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

lint: $(READY) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The repository's root is the package, whatever the folder is called: mypy meets it under its own name.
types: $(READY) $(TYPES)
	MYPYPATH=.make/types $(BIN)/mypy -p portwright

$(TYPES):
	@mkdir -p $(@D)
	@ln -s ../.. $@

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

bench-all: $(READY)
	$(BIN)/python -m bench --all $(ARGS)

docs: $(READY)
	$(BIN)/python docs/contract.py
	$(BIN)/python docs/ports.py

ports: $(READY)
	$(BIN)/python docs/ports.py --certify

clean:
	rm -rf $(VENV) .make build dist portwright.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml | $(VENV)/bin/python
	@echo "Installing Portwright and its tools into $(VENV) (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { \
		echo "Portwright needs Python 3.11 or later, and none was found on the PATH."; \
		echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)"; \
		echo "or name it: make PYTHON=/path/to/python3.12 demo"; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing."; \
		echo "Install it (Debian, Ubuntu: apt install python3-venv; Fedora: dnf install python3-pip) and try again."; \
		exit 1; } >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
