# make demo: install into .venv and run the main job.  make test: install and run every test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help demo test fast lint clean install
help:
	@echo "make demo   install into .venv, then the whole road on real data (about two minutes)"
	@echo "make test   install into .venv, then every test (under 20 minutes on two cores)"
	@echo "make fast   the tests that need no simulator build and no training (under a minute)"
	@echo "make lint   ruff"
	@echo "make clean  remove .venv and everything that was made"

install: $(STAMP)
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: install
	$(BIN)/qsearch demo

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

fast: install
	$(BIN)/python -m pytest -m "not slow" -n 2

lint: install
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .hypothesis .ruff_cache qsearch-demo
