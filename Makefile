# Everything one does with this project, a target each. `make` alone lists them.
# Another interpreter (PYTHON=python3.13, or its path) has an environment of its own.
PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(subst /,-,$(PYTHON:/%=%)))
BIN := $(VENV)/bin
ARGS ?=

# As many workers as there are cores; one that has nothing left takes half of another's tests.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal
# Pyright looks for packages where the first python of the PATH has them.
PYRIGHT := PATH="$(abspath $(BIN)):$$PATH" PYRIGHT_PYTHON_IGNORE_WARNINGS=1 pyright
ALL := -m "" -o norecursedirs=.* --hypothesis-profile=deep

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format coverage docs bench bench-full bench-operator stress soak \
	stress-selftest powercuts clean
.NOTPARALLEL:  # two pips must not write to one environment

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made once, and has in it what the targets that were called need: a stamp for
# each extra of pyproject.toml, whose change has all of it made or installed anew.
$(VENV)/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is too old: Python 3.11 or later is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.has-%: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.has-demo  ## run the mailing list with forked workers and check every subscriber (ARGS="--workers 8", "--mbox FILE")
	$(BIN)/python -m examples.mailing_list $(ARGS)

test: $(VENV)/.has-test  ## run the tests that a change must pass, in parallel: two minutes (ARGS="-k fork")
	$(PYTEST) $(ARGS)

test-all: $(VENV)/.has-test-all  ## those, the long ones, and the tests of the stress programs and the benchmarks
	$(PYTEST) $(ALL) $(ARGS)

# Without the tests that interrupt every line by signals: coverage's own lock is not made for it.
coverage: $(VENV)/.has-test-all  ## run all tests and demand 95 % branch coverage of the package
	$(PYTEST) $(ALL) --ignore=tests/sqlite/test_signals.py --ignore=tests/sqlite/process/test_interrupted_locks.py \
		-k 'not signal_handlers' \
		--cov --cov-report=term-missing --cov-fail-under=95 $(ARGS)

# tests/typed is an application's code, with the configuration that the README gives one.
lint: $(VENV)/.has-lint  ## ruff, ruff format, mypy --strict and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy --strict --config-file tests/typed/pyproject.toml --cache-dir .mypy_cache/typed tests/typed
	$(PYRIGHT) --project tests/typed
	$(PYRIGHT) --verifytypes lamson_sqlite_state --ignoreexternal

format: $(VENV)/.has-lint  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.has-cli  ## write the help of every command into its page
	$(BIN)/python docs/write_help.py

bench: $(VENV)/.has-bench  ## what each operation costs, beside bare sqlite3 and what people use today: two minutes (ARGS="--against REV")
	$(BIN)/python -m benchmarks $(ARGS)

bench-full: $(VENV)/.has-bench  ## the same with all there is, up to ten million rows; rewrites the results and the README's tables
	$(BIN)/python -m benchmarks --full $(ARGS)
	$(BIN)/python -m benchmarks --redraw

bench-operator: $(VENV)/.has-bench  ## what lamson-state takes for a million rows, and what workers feel of it: 25 minutes
	$(BIN)/python -m benchmarks.operator $(ARGS)

stress: $(VENV)/.has-stress  ## try the promises to destruction, a minute: load, all faults, power cuts (ARGS="--seed 7 --faults kill,stop")
	$(BIN)/python stress/soak.py $(ARGS)

soak: $(VENV)/.has-stress  ## the same for longer, ten minutes (ARGS="--minutes 30 --seed 7 --workers 16")
	$(BIN)/python stress/soak.py --minutes 10 $(ARGS)

stress-selftest: $(VENV)/.has-stress  ## switch one defence off after the other, and demand that the stress notices: five minutes
	$(BIN)/python stress/selftest.py $(ARGS)

powercuts: $(VENV)/.has-stress  ## cut the power at every system call, and judge what is left: a minute (ARGS="--seconds 300 --seed 7")
	$(BIN)/python stress/powercut.py $(ARGS)

clean:  ## remove the environments and what the tools left
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* build dist
