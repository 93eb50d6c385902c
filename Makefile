# The book's commands. `make help` lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check
DATASET ?= cifar10

.DEFAULT_GOAL := help
.PHONY: help book serve test data course clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 14

book: $(VENV)/.installed  ## install what is missing, run the chapters, build the site
	@$(PY) tools/build.py

serve: book  ## build the site and serve it on this machine
	@$(PY) tools/serve.py

test: $(VENV)/.installed-test  ## install what the tests need and run all of them
	@$(PY) tools/chromium.py --install
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile $(ARGS)

data: $(VENV)/.installed  ## fetch CIFAR-10 (or: make data DATASET=cifar100)
	@$(PY) -m vit_teach.data $(DATASET)

course: $(VENV)/.installed  ## write the exercises for a class: hand-outs, solutions, tests
	@$(PY) -m vit_teach.course build $(ARGS)

clean:  ## remove the built site and its caches, keep .venv and data
	rm -rf _build .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) tools/check_python.py
	@echo "Installing the book's requirements into $(VENV): some minutes, several GB on Linux."
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-test: requirements-test.txt $(VENV)/.installed
	$(PIP) -r requirements-test.txt
	@touch $@
