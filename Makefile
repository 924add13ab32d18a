# `make help` lists the commands; README.md says the same as plain commands, for machines without make.
PYTHON  ?= python3
PORT    ?= 8000
CHAPTER ?= 06_fine_tuning
VENV    := .venv
ifeq ($(OS),Windows_NT)
BIN     := $(VENV)/Scripts
else
BIN     := $(VENV)/bin
endif
READY   := $(VENV)/.ready
PY      := $(BIN)/python
export PYTHONUTF8 := 1
ifndef BESIDE
.NOTPARALLEL:  # the tests take both cores by themselves; what is quick runs side by side in `make test`
endif

.DEFAULT_GOAL := help
.PHONY: help setup book test quick-checks slow-checks lint types unit notebooks-check site-check lab serve notebooks \
	colab diagrams bench reproduce repository clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-18s%s\n", $$1, $$2 }' Makefile

setup: $(READY)  ## make .venv and install what requirements.txt pins
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@# Modules are compiled when they are first used: compiling all of them would double the work, for most in vain.
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	@touch $(READY)

book: $(READY)  ## build the site into _build/html
	@$(PY) book/tools/build.py

test: quick-checks slow-checks  ## everything: lint, types, unit tests, every chapter, the built site

quick-checks: $(READY)
	@$(MAKE) --no-print-directory -j 2 BESIDE=1 lint types book
slow-checks: $(READY)
	@$(MAKE) --no-print-directory BUILT=1 unit notebooks-check site-check

lint: $(READY)  ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## the type checker, strict over companion
	$(BIN)/mypy

unit: $(READY)  ## unit tests and doctests
	$(PY) -m pytest -n 2 --dist loadgroup --doctest-modules -m "not browser and not lab" tests companion

notebooks-check: $(READY)  ## re-execute every chapter and compare with what is stored
	$(PY) -m pytest --nbval -n 2 --dist loadfile book

site-check: $(READY) $(if $(BUILT),,book)  ## the built site and the widgets, in a browser
	$(PY) -m pytest -n 2 --dist loadgroup -m "browser or lab" tests/book tests/widgets

lab: $(READY)  ## JupyterLab on the chapters; as root, say: make lab ARGS=--allow-root
	$(BIN)/jupyter lab $(ARGS) book

serve: $(READY) book  ## the built book on http://localhost:8000; PORT=... for another port
	@echo "http://localhost:$(PORT), Ctrl-C ends it"
	@$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

notebooks: $(READY)  ## execute the chapters and store normalized outputs
	$(PY) book/tools/execute.py

bench: $(READY)  ## speed beside what you would use instead, as ratios (about half an hour)
	$(PY) -m benchmarks.speed --out book/results/speed.json

reproduce: $(READY)  ## measure what is missing of the results on IMDB (days on one core); ARGS=--list says what
	$(PY) -m benchmarks.imdb $(ARGS)

colab: $(READY)  ## a chapter as Colab runs it, in a new environment (minutes, needs the network): CHAPTER=...
	$(PY) book/tools/colab.py $(CHAPTER)

diagrams: $(READY)  ## draw new mermaid diagrams (needs npm and a browser)
	$(PY) book/tools/render_mermaid.py

repository: $(READY)  ## set the repository's address everywhere: make repository URL=https://github.com/you/it
	@$(PY) book/tools/set_repository.py $(URL)

clean:  ## remove what was built, and the virtual environment
	rm -rf _build $(VENV)
