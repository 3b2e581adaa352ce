# Everything one does with this project, a target each. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format coverage docs bench bench-full stress soak stress-selftest powercuts clean

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made once, and again when what it is made from has changed.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is too old: Python 3.11 or later is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)  ## run the mailing list with forked workers and check every subscriber (ARGS="--workers 8", "--mbox FILE")
	$(BIN)/python -m examples.mailing_list $(ARGS)

test: $(READY)  ## run the tests in parallel
	$(BIN)/python -m pytest -n auto $(ARGS)

# Without the tests that interrupt every line by signals: coverage's own lock is not made for it.
coverage: $(READY)  ## run the tests and demand 95 % branch coverage of the package
	$(BIN)/python -m pytest -n auto --ignore=tests/test_signals.py -k 'not signal_handlers' \
		--cov --cov-report=term-missing --cov-fail-under=95 $(ARGS)

lint: $(READY)  ## ruff, ruff format and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

format: $(READY)  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## write the help of every command into its page
	$(BIN)/python docs/write_help.py

bench: $(READY)  ## what each operation costs, beside bare sqlite3 and what people use today: two minutes
	$(BIN)/python -m benchmarks $(ARGS)

bench-full: $(READY)  ## the same with all there is, up to ten million rows; rewrites the results and the README's tables
	$(BIN)/python -m benchmarks --full $(ARGS)
	$(BIN)/python -m benchmarks --redraw

bench-operator: $(READY)  ## what lamson-state takes for a million rows, and what workers feel of it: 25 minutes
	$(BIN)/python -m benchmarks.operator $(ARGS)

stress: $(READY)  ## try the promises to destruction, a minute: load, all faults, power cuts (ARGS="--seed 7 --faults kill,stop")
	$(BIN)/python stress/soak.py $(ARGS)

soak: $(READY)  ## the same for longer, ten minutes (ARGS="--minutes 30 --seed 7 --workers 16")
	$(BIN)/python stress/soak.py --minutes 10 $(ARGS)

stress-selftest: $(READY)  ## switch one defence off after the other, and demand that the stress notices: five minutes
	$(BIN)/python stress/selftest.py $(ARGS)

powercuts: $(READY)  ## cut the power at every system call, and judge what is left: a minute (ARGS="--seconds 300 --seed 7")
	$(BIN)/python stress/powercut.py $(ARGS)

clean:  ## remove the environment and what the tools left
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* build dist
