# The front door. Needs make, python3 (3.11 or later) and python3-venv; everything else is set up in .venv.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check bench docs clean

.venv/stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

demo: .venv/stamp  ## build a small real model, run everything in a scratch directory
	$(BIN)/python -m modelward.daemon demo

test: .venv/stamp
	$(BIN)/pytest

check: .venv/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.imports $(BIN)/lint-imports

BENCH := /var/tmp/modelward-bench
RUN := PYTHONPATH=.imports OPENBLAS_NUM_THREADS=1 $(BIN)/python

bench: .venv/stamp  ## a full-size model compiled and swapped under load; sweeps against find; takes a quarter of an hour
	$(RUN) tests/bench/compile_bench.py $(BENCH)
	$(RUN) -m tests.bench.swap_bench $(BENCH)
	$(RUN) -m tests.bench.sweep_bench

docs: .venv/stamp  ## write the pages that are made from the code anew
	PYTHONPATH=.imports $(BIN)/python -m tests.pages

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
