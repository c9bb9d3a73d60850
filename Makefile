# Two commands on a machine with Python 3.11 or later and make:
#   make demo   classify music, print the table, write the page   (MUSIC=folder: your own)
#   make test   check the code and run all tests

PYTHON ?= python3
VENV ?= .venv
# Processes that the tests are shared among.
JOBS ?= 2
BIN := $(VENV)/bin
MUSIC ?= examples/demo_music/music
PAGE ?= examples/demo_music/report.html
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check clean

demo: $(VENV)/.base
	$(BIN)/genrescope classify "$(patsubst ~/%,$(HOME)/%,$(MUSIC))" --format table --report "$(PAGE)"

test: $(VENV)/.dev check
	$(BIN)/python -m pytest --numprocesses $(JOBS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

# torch first and alone: its CPU build, where one is at hand, is then the one that the rest accepts.
$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --target $(VENV)/vision torchvision
	@touch $@

clean:
	rm -rf $(VENV) build dist examples/demo_music/report.html .mypy_cache .ruff_cache .pytest_cache
