# make demo: the main job on shipped data.   make test: the tests.   Both set everything up first; again, they do not.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup demo test
setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@echo 'installing the pinned packages into .venv: a few minutes'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: setup
	$(BIN)/python train.py $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest $(ARGS)
