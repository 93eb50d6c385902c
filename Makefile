# The book's commands. `make help` lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check
DATASET ?= cifar10
MINUTES ?= 10
PYTHON_FILES := vit_teach tests tools book/_ext
PROSE := README.md CONTRIBUTING.md CHANGELOG.md data/README.md book/*.md book/appendix/*.md book/slides vit_teach tests tools
QUICK := $(addprefix tests/test_,attention.py augment.py cost.py embedding.py encoder.py hybrid.py \
  optim.py patches.py resnet.py results.py vit.py zoo.py) vit_teach/vit vit_teach/augment vit_teach/results

.DEFAULT_GOAL := help
.PHONY: help book serve test fuzz quick bench lint format data course clean


help:  ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 14

book: $(VENV)/.installed  ## install what is missing, run the chapters, build the site
	@$(PY) tools/build.py

serve: book  ## build the site and serve it on this machine
	@$(PY) tools/serve.py

test: $(VENV)/.installed-test  ## install what the tests need and run all of them (ARGS=-k... for some)
	@$(PY) tools/chromium.py --install
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(VENV)/.installed-test  ## damaged files for every reader, for MINUTES=10 minutes
	$(PY) tests/fuzz/run.py --minutes $(MINUTES) $(ARGS)

quick: $(VENV)/.installed-test  ## the unit tests of the model, the data and the records: under a minute
	$(PY) -m pytest -q -n logical --maxprocesses 4 --dist loadfile $(QUICK) $(ARGS)

bench: $(VENV)/.installed-bench  ## how fast it is beside other libraries: a quarter of an hour (ARGS=--only...)
	$(PY) -m tools.bench $(ARGS)

lint: $(VENV)/.installed-test  ## style, types, imports, spelling; JavaScript where Node is
	$(PY) -m ruff check .
	$(PY) -m ruff format --check $(PYTHON_FILES)
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell $(PROSE)
	@if command -v npm >/dev/null; then npm ci --silent && npm run --silent check; \
	else echo "No Node.js here: the JavaScript was not checked."; fi

format: $(VENV)/.installed-test  ## bring Python and, where Node is, JavaScript into shape
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format $(PYTHON_FILES)
	@if command -v npm >/dev/null; then npm ci --silent && npm run --silent format; fi

data: $(VENV)/.installed  ## fetch CIFAR-10 (or: make data DATASET=cifar100)
	@$(PY) -m vit_teach.data $(DATASET)

course: $(VENV)/.installed  ## write what a class needs: hand-outs, solutions, tests, slides
	@$(PY) -m vit_teach.course build $(ARGS)

clean:  ## remove the built site and its caches, keep .venv and data
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) tools/check_python.py
	@echo "Installing the book's requirements into $(VENV): some minutes, several GB on Linux."
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-test: requirements-test.txt $(VENV)/.installed
	$(PIP) -r requirements-test.txt
	@touch $@

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed
	$(PIP) -r requirements-bench.txt
	@touch $@
