# make demo: train Glow on handwritten digits and draw some.   make test: run the tests.
# Both create the environment first, from the pinned and hashed requirements.lock, which is one for Python 3.11 to 3.13;
# make test PYTHON=python3.13 VENV=.venv313 keeps another Python's beside it.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DEMO := runs/demo

.PHONY: demo test lint wheel lock

demo: $(INSTALLED)
	$(RUN) train.py --config=configs/glow/digits_conditional.py --workdir=$(DEMO)
	$(RUN) evaluate.py --workdir=$(DEMO)
	$(RUN) sample.py --workdir=$(DEMO) --num=64 --temperature=0.7 --out=$(DEMO)/samples.png

test: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist=worksteal

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --pythonpath $(RUN)

# Both of them in dist/, as tests/test_wheel.py builds, checks and installs them.
wheel: $(INSTALLED)
	$(RUN) -m tests.distributions dist

# uv writes hashes for every platform and no address of a registry.
lock: $(INSTALLED)
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv pip compile pyproject.toml --extra dev --extra openmoji --universal --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --output-file requirements.lock

$(INSTALLED): requirements.lock pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --require-hashes -r requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@
