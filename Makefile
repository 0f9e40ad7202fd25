# Everything that a person or CI does with this repository. `make` alone lists it.
#
#   PYTHON  the interpreter that makes the environment (3.11 or newer)
#   VENV    where the environment is; point it elsewhere to use one that exists
#   SEED    of the demo;  RUN_DIR  where the demo's run goes
#   JOBS    test processes at a time; those that measure time or memory run alone, in test-all
#   ARGS    passed on to pytest or bench, as in: make test ARGS="tests/rewards -x"

PYTHON ?= python3
VENV ?= .venv
SEED ?= 0
RUN_DIR ?= runs/demo
ARGS ?=
JOBS ?= 2

BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
# One thread each for torch, BLAS and OpenMP: small models on few cores lose more to threads than they win,
# and the sums, hence the results, do not depend on the number of cores.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest
# Many tests start Python afresh, which without byte code on disk would compile everything every time.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all bench check format lint type doc clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the environment, once; again when pyproject.toml changes

# torch comes first, and by name alone, so that whatever build the machine offers for it is the one taken.
# Not compiled here: 24,000 files of which few are ever imported. Python compiles those when they are.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "venv failed; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	@$(PYTHON) -c 'import sys, ctypes.util as c; sys.exit(sys.platform == "linux" and not c.find_library("EGL"))' || \
		echo "There is no EGL here, which draws the humanoid; on Debian: apt-get install libegl1 libgl1-mesa-dri"
	@echo "Installing into $(VENV): some minutes the first time."
	@$(BIN)/python -m pip install -qq --no-compile torch torchvision
	@$(BIN)/python -m pip install -qq --no-compile --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## Train CartPole from one sentence and film it
	$(BIN)/vlm-rewards train cartpole --preset cpu --seed $(SEED) --run-dir $(RUN_DIR) --overwrite

# 5 is pytest's way to say that ARGS have no test of that kind.
test: $(STAMP) ## Run the tests, but for the slow ones and those that measure
	$(PYTEST) -n $(JOBS) -m "not slow and not alone" $(ARGS) || [ $$? -eq 5 ]

test-all: $(STAMP) ## Run all tests; those that measure time or memory come last, by themselves
	$(PYTEST) -n $(JOBS) -m "not alone" --hypothesis-profile=thorough $(ARGS) || [ $$? -eq 5 ]
	$(PYTEST) -m alone $(ARGS) || [ $$? -eq 5 ]

bench: $(STAMP) ## Measure every stage and whole runs beside the common way (ARGS="--quick")
	PYTHONPATH=benchmarks $(BIN)/python -m bench $(ARGS)

check: $(STAMP) ## All that CI could object to: format, lint, types, tests, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) type
	$(MAKE) test
	$(MAKE) doc

format: $(STAMP) ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP) ## Lint without changing a file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(STAMP) ## Check the types
	$(BIN)/pyright --pythonpath $(BIN)/python

doc: $(STAMP) ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## Remove what the targets made, the environment too; runs/ stays
	rm -rf .venv site dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
