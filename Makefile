# Two commands: `make demo` and `make test`. Both set up .venv on first use and work offline afterwards.
# TORCH_INDEX=<url> takes torch from an index with CPU builds (see tools/bootstrap.py).

PYTHON ?= python3
export TORCH_INDEX
VENV := .venv/bin

.PHONY: help demo test lint zoo zoo-check table clean isolation-note

help:
	@echo "make demo       certify the zoo, activate through the gate, revoke (sets everything up first)"
	@echo "make test       lint, types, import contracts and all tests (sets everything up first)"
	@echo "make zoo        rebuild the zoo's base and adapters (about 5 CPU-minutes)"
	@echo "make zoo-check  assert the zoo's properties on the shipped files"
	@echo "make clean      remove what the demo wrote"

.venv/installed: pyproject.toml constraints.txt tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py

isolation-note:
	@command -v bwrap >/dev/null || echo "==> bubblewrap is missing: going on at the weaker isolation level 'process'. To raise it: apt-get install bubblewrap"

demo: .venv/installed isolation-note
	@$(VENV)/python examples/demo.py

lint: .venv/installed
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

test: lint isolation-note
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest

zoo: .venv/installed
	$(VENV)/python examples/zoo/build

zoo-check: .venv/installed
	$(VENV)/python examples/zoo/build --check

clean:
	rm -rf .demo
