# `make help` lists what there is. Everything runs from the locked toolchain in .venv (made by scripts/bootstrap, shared between clones).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

export GOTOOLCHAIN := local
export PATH := $(CURDIR)/.venv/bin:$(PATH)

INVENTORY ?= inventories/local
# More arguments for ansible-playbook: make up ARGS='--check --diff'
ARGS ?=
PLAY = ansible-playbook -i $(INVENTORY) $(ARGS)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: bootstrap
bootstrap: ## install the locked toolchain (every target below does it by itself)
	@scripts/bootstrap

.PHONY: up
up: bootstrap ## bring up the whole platform on this machine, and verify it
	@$(PLAY) playbooks/site.yml

.PHONY: verify
verify: bootstrap ## ask the running platform whether each promise holds
	@$(PLAY) playbooks/verify.yml

.PHONY: down
down: bootstrap ## stop the platform on this machine, keeping its data
	@$(PLAY) playbooks/cluster.yml -e embedded_cluster_state=stopped

.PHONY: reset
reset: bootstrap ## remove the platform and its data from this machine
	@$(PLAY) playbooks/reset.yml

.PHONY: test
test: bootstrap ## run every check and test; logs in build/logs, summary in build/reports
	@scripts/checks.py

.PHONY: test-%
test-%: bootstrap ## run one suite: test-repo, test-unit, test-charts, test-integration, test-services, test-molecule, test-cnpg
	@scripts/checks.py test-$*

.PHONY: test-upstream
test-upstream: bootstrap ## try the real upstream charts with our values: CHARTS=<folder that playbooks/charts_mirror.yml made>
	@if [[ -z '$(CHARTS)' ]]; then
	    echo 'test-upstream: skipped: it needs the packages of charts/lock.yml, which are no part of this repository.'
	    echo 'Run it with CHARTS=<folder>; playbooks/charts_mirror.yml makes such a folder where chart repositories can be reached.'
	    exit 0
	fi
	DCM_TEST_CHARTS='$(abspath $(CHARTS))' DCM_TEST_CHARTS_UNVERIFIED='$(UNVERIFIED)' scripts/checks.py test-upstream

.PHONY: lint
lint: bootstrap ## run the linters and type checkers alone
	@scripts/checks.py lint

.PHONY: format
format: bootstrap ## format the Python code
	@ruff format .
	ruff check --fix .

.PHONY: bench
bench: bootstrap ## measure the engines against the alternatives
	@scripts/checks.py bench

.PHONY: docs
docs: bootstrap ## generate the reference of plugins and roles into build/docs
	@scripts/docs

.PHONY: sanity
sanity: bootstrap ## run ansible-test sanity on the collection
	@scripts/sanity

.PHONY: lock
lock: bootstrap ## compile pyproject.toml into requirements.lock; UPGRADE=1 takes newer versions
	@uv pip compile --quiet --universal --python-version 3.11 --fork-strategy requires-python --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml

.PHONY: build
build: bootstrap ## build the collection's archive into dist/
	@ansible-galaxy collection build --force --output-path dist
