# `make help` lists the targets.
.DEFAULT_GOAL := help
PYTHON_VENV := .venv/bin/python
# One worker waits for containers most of the time; two keep two cores busy.
TEST_WORKERS ?= 3

.PHONY: help run logs train test test-fast test-system lint format bench screenshots up down deploy lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13

run: ## start everything as local processes: https://localhost:8443/ (LOGS=1 shows their logs)
	@sh local_stack/setup.sh local
	@exec $(PYTHON_VENV) -m local_stack

logs: ## follow the log files of what `make run` started
	@set -- "$${RUN_DIR:-.run}"/logs/*.log; \
	if ! [ -e "$$1" ]; then echo "make logs: there is no log file $$1; start the stack first: make run." >&2; exit 1; fi; \
	exec tail -n 20 -F "$$@"

train: ## train a model; a running API serves it if it passes the gate
	@sh local_stack/setup.sh local
	@.venv/bin/tabular train

test: ## run every test that this machine can run
	@sh local_stack/setup.sh dev
	@$(MAKE) --no-print-directory -j setup-policy setup-kserve setup-mlflow
	@CHECKOV=.venv-policy/bin/checkov $(PYTHON_VENV) -m pytest -n $(TEST_WORKERS) $(PYTEST_ARGS)

test-fast: ## run style, types and the unit tests that start no process (about a minute)
	@sh local_stack/setup.sh dev
	@$(PYTHON_VENV) -m pytest -n 2 -m "not processes and not containers" tests/style tests/unit $(PYTEST_ARGS)

# Each takes a minute of one core, so they run at the same time.
setup-%:
	@sh local_stack/setup.sh $*

test-system: ## run the black-box tests against what `make run` started, or BASE_URL=https://... CA_CERT=ca.crt
	@sh local_stack/setup.sh dev
	@$(if $(BASE_URL),,BASE_URL=https://localhost:8443 CA_CERT=.run/certs/ca.crt API_URL=http://localhost:5000) \
		$(PYTHON_VENV) -m pytest tests/system $(PYTEST_ARGS)

lint: ## check style, types, imports between packages, and shell scripts
	@sh local_stack/setup.sh dev
	@$(PYTHON_VENV) -m pytest -q tests/style tests/scripts/test_shellcheck.py

format: ## rewrite the Python files in the project's style
	@sh local_stack/setup.sh dev
	@$(PYTHON_VENV) -m ruff check --fix . && $(PYTHON_VENV) -m ruff format .

bench: ## measure speed and memory beside other servers: benchmarks/RESULTS.md (25 minutes; BENCH_ARGS=--help)
	@sh local_stack/setup.sh local
	@$(PYTHON_VENV) -m benchmarks $(BENCH_ARGS)

screenshots: ## take the README's screenshots again (needs Chromium)
	@sh local_stack/setup.sh dev
	@$(PYTHON_VENV) -m tests.screenshots

up: ## start everything with Docker Compose: https://localhost/
	docker compose up --build

down: ## stop what `make up` started; certificates are kept
	docker compose down

deploy: ## build into Minikube and deploy
	./minikube-deploy.sh

lock: ## pin requirements/*.in again, with hashes, in requirements/*.txt (needs uv)
	@set -e; cd requirements; \
	compile="uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock'"; \
	sh -c "$$compile --upgrade dev.in -o dev.txt"; \
	for name in policy kserve; do sh -c "$$compile --upgrade $$name.in -o $$name.txt"; done; \
	for name in local training ui; do sh -c "$$compile $$name.in -c dev.txt -o $$name.txt"; done; \
	sh -c "$$compile --upgrade mlflow.in --override mlflow-overrides.in -o mlflow.txt"; \
	sh -c "$$compile api.in --override api-overrides.in -c dev.txt -o api.txt"
