# Every command of the project. `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:  # the targets share .venv
.PHONY: help demo test simulate chaos drain fuzz bench bench-peers bench-growth check lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.runtime ## Run sagas with faults and check them; installs only what a user needs
	$(BIN)/saga demo

test: ## Run everything, against real PostgreSQL and RabbitMQ
	@PYTHON=$(PYTHON) tools/install_packages.sh python3-venv postgresql rabbitmq-server pgbouncer faketime nodejs npm prometheus
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 3 --dist loadgroup

simulate: .venv/.dev ## Play SEEDS=1000 simulated worlds from FIRST=0 on STORE=memory; the last line is JSON
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0) --store $(or $(STORE),memory)

chaos: .venv/.dev ## Break real servers for MINUTES=10, with SEED=N; the last line is JSON
	@PYTHON=$(PYTHON) tools/install_packages.sh postgresql rabbitmq-server
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

drain: .venv/.dev ## Send COUNT=200 SIGTERMs at random moments, with SEED=N; the last line is JSON
	@PYTHON=$(PYTHON) tools/install_packages.sh postgresql rabbitmq-server
	@$(BIN)/python -m tests.drains --count $(or $(COUNT),200) $(if $(SEED),--seed $(SEED))

mutants: .venv/.dev ## Plant bugs in the engine, one after the other; a seed must catch each
	@$(BIN)/python -m tests.mutants $(if $(SEEDS),--seeds $(SEEDS))

fuzz: .venv/.dev ## Make CASES=5000 requests of all kinds to the HTTP API, with SEED=N; the last line is JSON
	@$(BIN)/python -m tests.fuzz --cases $(or $(CASES),5000) $(if $(SEED),--seed $(SEED))

bench: .venv/.dev ## Measure every mode on private servers, in two minutes; the last line is JSON
	@PYTHON=$(PYTHON) tools/install_packages.sh postgresql rabbitmq-server
	@$(BIN)/python -m benchmarks short

bench-peers: .venv/.dev .venv-peers/.installed ## Measure DBOS and Celery on the same servers; the last line is JSON
	@PYTHON=$(PYTHON) tools/install_packages.sh postgresql rabbitmq-server
	@$(BIN)/python -m benchmarks peers

bench-growth: .venv/.dev ## Measure how cost grows, up to a million sagas, and MINUTES=10 of constant load
	@PYTHON=$(PYTHON) tools/install_packages.sh postgresql rabbitmq-server
	@$(BIN)/python -m benchmarks growth $(if $(QUICK),--quick) $(if $(MINUTES),--minutes $(MINUTES))

check: lint ## Run the fast half: format, lint, types, import contracts, unit tests
	$(BIN)/python -m pytest tests/unit

lint: .venv/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: .venv/.dev ## Format the code and fix what the linter can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean: ## Remove .venv, caches and what was built
	rm -rf .venv .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than pyproject.toml when all that it names is installed.
.venv/.runtime .venv/.dev: .venv/.%: pyproject.toml
	@PYTHON=$(PYTHON) tools/set_up.sh $*
	@touch $@

# In an environment of their own: their dependencies are none of ours.
.venv-peers/.installed: benchmarks/peers.txt
	@$(PYTHON) -m venv --clear .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
