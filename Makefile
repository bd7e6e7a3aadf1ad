# The front door. Needs make, python3 (3.11 or later) and python3-venv; everything else is set up in .venv.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test check newcomer bench soak arm image floors fuzz fuzz-audio fuzz-media docs clean

PIP := $(BIN)/pip --disable-pip-version-check

.venv/stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --editable .
	touch $@

# What tests and checks need besides, which is more than the program; `make demo` does without.
.venv/dev: .venv/stamp
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --editable . --group dev
	touch $@

# What `modelward.daemon` and `modelward.worker` are imported through. A source distribution holds no links.
LINKS := .imports/modelward/daemon .imports/modelward/worker
$(LINKS):
	mkdir -p $(@D)
	ln -s ../../$(@F) $@

demo: .venv/stamp  ## build a small real model, run everything in a scratch directory
	$(BIN)/python -m modelward.daemon demo

# As many processes as keep the processors busy while tests wait, which they do for two thirds of their time; what
# measures time comes afterwards, alone.
JOBS ?= $(shell n=$$(nproc); echo $$((n < 3 ? 3 * n : 8)))

# Once in an environment one process compiles all that the tests import, before several would do so at the same time.
.venv/collected: .venv/dev | $(LINKS)
	-@$(BIN)/pytest --collect-only -q >/dev/null  # what it cannot import the tests report
	@touch $@

# Both runs share one directory for what is made once; the second collects the few files that have something for it.
test: .venv/collected $(LINKS)  ## JOBS=1 for one after the other
	@status=0; shared=$$(mktemp -d); export MODELWARD_TESTS_SHARED=$$shared; trap 'rm -rf "$$shared"' EXIT; \
	$(BIN)/pytest -n $(JOBS) -m "not alone and not bench" || status=$$?; \
	$(BIN)/pytest -m alone $$(grep -rlE 'pytest\.mark\.alone' --include='test_*.py' tests) || status=$$?; \
	exit $$status

check: .venv/dev $(LINKS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.imports $(BIN)/lint-imports
	$(BIN)/python -m tests.javascript

newcomer: .venv/dev $(LINKS)  ## type the blocks of README.md in a bare Debian (needs root and mmdebstrap); MODEL=DIR for a model of yours
	PYTHONPATH=.imports:. $(BIN)/python -m tests.newcomer

RUN := PYTHONPATH=.imports OPENBLAS_NUM_THREADS=1 $(BIN)/python
BENCH := $(RUN) -m tests.bench

bench: .venv/dev  ## modelward beside the others, into docs/benchmarks.md, under the kind of this processor; 90 minutes
	$(BENCH) --prepare
	$(BENCH)

SECONDS ?= 600
SOAK_SEED := $(if $(SEED),--seed $(SEED))

soak: .venv/dev  ## all that may happen at once, under load; SECONDS=60 for a shorter one, SEED=7 for the same again
	PYTHONPATH=.imports:. $(BIN)/python -m tests.soak --seconds $(SECONDS) $(SOAK_SEED)

arm: .venv/dev  ## what may differ on another processor, on an emulated aarch64, and one compilation; ten minutes; skipped where that cannot be had
	$(BIN)/python -m tests.arm

image: .venv/dev  ## the container image: built, measured, and run by podman; some minutes; skipped where that cannot be had
	PYTHONPATH=.imports:. $(BIN)/python -m tests.container $(IMAGE_ARGS)

floors: .venv/dev  ## the core of the suite with every dependency at its floor, in an environment of its own
	$(BIN)/python -m tests.floors .venv-floors

docs: .venv/dev  ## write the pages that are made from the code anew
	PYTHONPATH=.imports $(BIN)/python -m tests.pages

MINUTES ?= 15

fuzz: .venv/dev  ## inputs of strangers, others each time, for so many minutes; what is found stops it
	$(BIN)/python -m tests.fuzz $(MINUTES)

FILES ?= 1000000

fuzz-audio: .venv/dev  ## FILES=1000000 mutated audio files through the decoders; SEED=7 for the same again
	PYTHONPATH=.imports:. $(BIN)/python -m tests.fuzz.decoders $(FILES) $(SEED)

fuzz-media: .venv/dev  ## the same with what phones, cameras, browsers and messengers record
	PYTHONPATH=.imports:. $(BIN)/python -m tests.fuzz.decoders $(FILES) $(SEED) media

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## */\1\t/'

clean:
	rm -rf .venv .venv-floors build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
