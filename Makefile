# Each command does its own set-up on a machine that has only python3 and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-full lint bench docs lessons clean
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

benchmarks/.venv/installed: benchmarks/requirements.txt
	test -x benchmarks/.venv/bin/python || $(PYTHON) -m venv benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet -r benchmarks/requirements.txt
	touch $@

demo: .venv/installed
	$(BIN)/topwork demo

test: .venv/installed lint
	$(BIN)/python -m pytest

test-full: .venv/installed benchmarks/.venv/installed lint
	TOPWORK_TENSORFLOW_PYTHON=$(CURDIR)/benchmarks/.venv/bin/python $(BIN)/python -m pytest -m 'full or not full'

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed benchmarks/.venv/installed
	$(BIN)/python benchmarks/run.py --peers-python benchmarks/.venv/bin/python --out benchmarks/results

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --group docs
	touch $@

docs: .venv/docs
	$(BIN)/python docs/make.py

lessons: .venv/installed
	$(BIN)/python lessons/notebooks.py --out build/lessons

clean:
	rm -rf .venv benchmarks/.venv build/docs build/lessons
