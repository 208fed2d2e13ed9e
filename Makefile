# Two commands, each does its own set-up: `make demo` runs the main job, `make test` proves everything.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-full lint clean
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	touch $@

test: .venv/installed lint
	$(BIN)/python -m pytest

test-full: .venv/installed lint
	$(BIN)/python -m pytest -m 'full or not full'

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv
