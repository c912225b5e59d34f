# Everything from a fresh clone: `make demo` shows it, `make test` proves it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := clientlib failover tests playbooks scripts docs/examples $(wildcard bench)
ANSIBLE := .venv-ansible
ANSIBLE_STAMP := $(ANSIBLE)/.installed

.PHONY: help venv ansible java demo test unit simulate lint format bench docs reference clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## make the virtual environment

# Any Python from 3.11 on that has venv will do.
$(STAMP): pyproject.toml
	@python=$$(for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	    "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	      && { echo "$$p"; break; }; done); \
	  if [ -z "$$python" ]; then \
	    echo "Python 3.11 or newer with its venv module is missing" \
	         "(Debian and Ubuntu: apt-get install python3 python3-venv)" >&2; exit 1; fi; \
	  test -x $(BIN)/python || "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

ansible: $(ANSIBLE_STAMP) ## make the virtual environment of Ansible, for the playbooks

# Apart from the product's, because Ansible pins what the product uses too.
$(ANSIBLE_STAMP): playbooks/requirements.txt $(STAMP)
	@test -x $(ANSIBLE)/bin/python || $(BIN)/python -m venv $(ANSIBLE)
	@$(ANSIBLE)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

java:
	@scripts/setup-java

demo: venv java ## real Kafka, a planned switch and a failback under load, and the verdict
	@$(BIN)/failover demo

test: lint java ## lint, and all tests, on real Kafka too
	$(BIN)/python -m pytest -m 'not lab' -n auto --dist worksteal
	$(BIN)/python -m pytest -m lab -v --durations=15  # by name, so that a run cut short says where

unit: venv ## the tests that need no Kafka
	$(BIN)/python -m pytest -m 'not lab' -n auto --dist worksteal

simulate: venv ## the simulation at length: 1,000 seeds of planned switches, 5,000 of unplanned ones
	FAILOVER_UNPLANNED_SEEDS=5000 $(BIN)/python -m pytest tests/simulation/test_seeds.py

lint: venv ansible ## ruff, mypy --strict, import contracts, ansible-lint
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/mypy playbooks/module_utils
	$(BIN)/mypy playbooks/library
	$(BIN)/lint-imports
	cd playbooks && ../$(ANSIBLE)/bin/ansible-lint --offline --strict --profile production

format: venv ## let ruff format and fix
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: venv java ## measure pauses and throughput on real Kafka
	$(BIN)/python bench/run.py

docs: venv ## build the documentation as a site, strictly, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

reference: venv ## write again the pages that come from the code, and the drawings
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/drawings.py

clean: ## take down a lab in .lab, and remove what make and the tools made
	@if [ -f .lab/lab.json ] && [ -x $(BIN)/failover ]; then $(BIN)/failover lab down; fi
	rm -rf $(VENV) $(ANSIBLE) playbooks/.ansible .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
