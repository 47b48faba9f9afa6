# The commands of this project; `make` alone lists them.
# Variables: JOB names a job. LOCAL_PORT_BASE is the first of the local stack's six ports (15000),
# LOCAL_STACK its name (local), PYTHON the Python to make .venv with. STEPS and SEED are those of
# `make model`.

PYTHON_IN_VENV := .venv/bin/python
CODE := infra extractor scheduler local tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup up status logs run preview down test lint unit mutation model integration docs benchmark measure format schema cost prices

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: setup ## Set up, deploy to this machine and wait until data has landed
	@$(PYTHON_IN_VENV) -m local up

status: setup ## Show jobs and runs
	@$(PYTHON_IN_VENV) -m local status

logs: setup ## Show what a job's container wrote: make logs JOB=weather
	@$(PYTHON_IN_VENV) -m local logs "$(JOB)"

run: setup ## Start a job now and wait for its end: make run JOB=weather
	@$(PYTHON_IN_VENV) -m local run "$(JOB)"

preview: setup ## Show what `make up` would change
	@$(PYTHON_IN_VENV) -m local preview

down: setup ## Delete the local stack: containers, volumes, data and state
	@$(PYTHON_IN_VENV) -m local down

test: lint unit mutation model integration ## Run all checks and tests

lint: setup ## Check style and types
	@$(PYTHON_IN_VENV) -m ruff check $(CODE)
	@$(PYTHON_IN_VENV) -m ruff format --check $(CODE)
	@$(PYTHON_IN_VENV) -m mypy $(CODE)

unit: setup ## Run the unit tests, those of each extractor among them
	@$(PYTHON_IN_VENV) -m pytest -q --numprocesses logical --dist loadfile tests/unit extractor

mutation: setup ## See a unit test fail for each security property that is turned
	@$(PYTHON_IN_VENV) -m tests.mutation

model: setup ## Try random lives of the scheduler: make model STEPS=100000 SEED=7
	@MODEL_STEPS=$(STEPS) MODEL_SEED=$(SEED) $(PYTHON_IN_VENV) -m pytest -q -s tests/model

integration: setup ## Run the integration tests on a local stack of their own
	@$(PYTHON_IN_VENV) -m pytest -q tests/integration

measure: setup ## Measure the preview of a stack with 200 extractors, or EXTRACTORS=…
	@$(PYTHON_IN_VENV) -m benchmarks.preview $(EXTRACTORS)

docs: setup ## Write the tables in docs/ anew, from what the tests see
	@UPDATE_DOCS=1 $(PYTHON_IN_VENV) -m pytest -q tests/integration -k documented

benchmark: setup ## Measure a tick beside APScheduler's and Celery beat's
	@$(PYTHON_IN_VENV) -m pip install --quiet --disable-pip-version-check --upgrade \
		--target benchmarks/.packages --requirement benchmarks/requirements.txt
	@PYTHONPATH=benchmarks/.packages $(PYTHON_IN_VENV) -m benchmarks

format: setup ## Format the code and sort its imports
	@$(PYTHON_IN_VENV) -m ruff format $(CODE)
	@$(PYTHON_IN_VENV) -m ruff check --fix $(CODE)

schema: setup ## Write Pulumi.schema.json and docs/configuration.md anew
	@$(PYTHON_IN_VENV) -m infra.write

cost: setup ## Estimate what a stack costs a month: make cost STACK=dev
	@$(PYTHON_IN_VENV) -m infra.cost $(STACK)

prices: setup ## Ask Azure for the list prices of a region: make prices REGION=westeurope
	@$(PYTHON_IN_VENV) -m infra.prices $(REGION)

setup: ## Make the Python environment; the commands above do so by themselves
	@local/setup.sh
