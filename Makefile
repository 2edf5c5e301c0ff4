# Everything that is done with this repository. Each target prepares what it needs: `make demo` on a fresh machine is
# enough. Needs Python 3.11 to 3.13, PgBouncer and, for the tests, an SSH server (both are installed by apt-get where
# that is allowed).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Options of the targets below: make demo ENGINE=dms ROWS=200000 APPROVE=manual; make test ARGS="-k sequences -x"
APPROVE ?= auto
ENGINE ?= logical
ROWS ?=
ARGS ?=
# Processes that share the tests out; more than cores, as tests mostly wait for servers. 0: all in one, for --pdb
WORKERS ?= 3

VENV := .venv
PYTHON := $(VENV)/bin/python
LAB := $(VENV)/bin/crossfade-lab
INSTALLED := $(VENV)/.installed
TYPED := include plugins lab bench dags/crossfade_dags
# The longest first, which are one piece each: the others are shared out meanwhile, the quickest last
TESTS := $(wildcard tests/e2e tests/crash tests/property tests/dags tests/integration tests/unit)
PLANS := $(filter-out %.schema.json,$(wildcard include/migrations/*.yaml))
PLAN_SCHEMA := include/migrations/plan.schema.json

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo lab test test-unit crash bench-cutover bench-validate lint format requirements schema clean programs

help:  ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) programs  ## Migrate a shop under write load and prove that no write was lost [ENGINE=dms] [APPROVE=manual] [ROWS=n]
	$(LAB) demo --engine $(ENGINE) --approve $(APPROVE) $(if $(ROWS),--rows $(ROWS)) $(ARGS)

lab: $(INSTALLED) programs  ## Start databases, PgBouncers and Airflow, and leave them running; `make clean` ends them [ENGINE=dms]
	$(LAB) up --engine $(ENGINE) $(if $(ROWS),--rows $(ROWS)) $(ARGS)

test: $(INSTALLED) programs  ## Run the tests [ALL=1: the slowest, too] [ARGS="-k word -x"] [WORKERS=n]
	$(PYTHON) -m pytest $(TESTS) $(if $(ALL),,-m "not slow") -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) < /dev/null

test-unit: $(INSTALLED)  ## Run the tests that need no server: seconds
	$(PYTHON) -m pytest tests/unit $(ARGS) < /dev/null

crash: $(INSTALLED) programs  ## Run the crash matrix, hours; goes on where it was left [ARGS="--only forward:fence --again"]
	$(PYTHON) tests/crash/matrix.py $(ARGS) < /dev/null

bench-cutover: $(INSTALLED) programs  ## Measure what clients feel of a cutover, beside other ways [ARGS="--rounds 1 --skip-airflow"]
	$(PYTHON) -m bench.cutover $(ARGS) < /dev/null

bench-validate: $(INSTALLED) programs  ## Measure a validation, beside reladiff and beside what it could be at best [ARGS="--rows 500000"]
	$(PYTHON) -m bench.validate $(ARGS) < /dev/null

lint: $(INSTALLED)  ## Check style, types, the plans and the compose file
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy $(TYPED)
	$(PYTHON) -m crossfade.plan_schema --check $(PLAN_SCHEMA)
	$(PYTHON) -m check_jsonschema --schemafile $(PLAN_SCHEMA) $(PLANS)
	$(PYTHON) -m check_jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml

format: $(INSTALLED)  ## Put right what can be put right by itself
	$(PYTHON) -m ruff check --fix-only
	$(PYTHON) -m ruff format

schema: $(INSTALLED)  ## Write the plans' JSON schema anew, after a change of crossfade/plan.py
	$(PYTHON) -m crossfade.plan_schema $(PLAN_SCHEMA)

clean:  ## Stop the lab and remove what was made here; results in bench/out and tests/crash/out stay
	@if [ -x $(LAB) ]; then $(LAB) down --remove; fi
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist logs lab/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ── what the targets need ────────────────────────────────────────────────────────────────────────────────────────

SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

# By uv: seconds instead of minutes; by pip where uv does not find the packages
UV := uv==0.13.9

$(INSTALLED): requirements.txt requirements-dev.txt pyproject.toml lab/pyproject.toml
	@if ! $(PYTHON) -c '$(SUITABLE)' 2> /dev/null; then \
	    found=; \
	    for python in python3.11 python3.12 python3.13 python3; do \
	        if "$$python" -c '$(SUITABLE)' 2> /dev/null; then found=$$(command -v "$$python"); break; fi; \
	    done; \
	    rm -rf $(VENV); \
	    if command -v uv > /dev/null; then uv venv --quiet --python "$${found:-3.11}" $(VENV); \
	    elif [ -z "$$found" ]; then \
	        echo "Crossfade needs Python 3.11, 3.12 or 3.13; python3 is $$(python3 --version 2>&1)." \
	            "Install one of them, or uv, which brings its own" >&2; exit 1; \
	    else \
	        "$$found" -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment: apt-get install python3-venv" >&2; exit 1; }; \
	    fi; \
	fi
	@echo "Installing into $(VENV)"
	@if ! command -v uv > /dev/null; then \
	    $(PYTHON) -m pip --version > /dev/null 2>&1 || $(PYTHON) -m ensurepip > /dev/null; \
	    $(PYTHON) -m pip install --quiet $(UV) || true; \
	fi
	@PATH="$$PATH:$(VENV)/bin"; \
	for install in "uv pip install --quiet --python $(PYTHON)" "$(PYTHON) -m pip install --quiet"; do \
	    if $$install -r requirements-dev.txt && $$install --no-deps -e . -e ./lab; then exit 0; fi; \
	done; exit 1
	@touch $@

# program:package:service. No service is started, now or at the next boot: the lab runs its own
PROGRAMS := pgbouncer:pgbouncer:pgbouncer
test: PROGRAMS += sshd:openssh-server:ssh

programs:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; missing=; services=; \
	for entry in $(PROGRAMS); do \
	    command -v "$${entry%%:*}" > /dev/null && continue; \
	    package=$${entry#*:}; missing="$$missing $${package%:*}"; services="$$services $${entry##*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then root=; \
	elif sudo -n true 2> /dev/null; then root=sudo; \
	else root=none; fi; \
	if [ "$$root" = none ] || ! command -v apt-get > /dev/null; then \
	    echo "Missing, and cannot be installed from here. Install it: sudo apt-get install$$missing" >&2; exit 1; \
	fi; \
	echo "Installing$$missing"; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
	    trap "$$root rm -f $$policy" EXIT; \
	    printf '#!/bin/sh\nexit 101\n' | $$root tee $$policy > /dev/null; $$root chmod 755 $$policy; \
	fi; \
	apt="$$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0"; \
	$$apt update < /dev/null; \
	$$apt install -y --no-install-recommends $$missing < /dev/null > /dev/null; \
	if command -v systemctl > /dev/null; then $$root systemctl --quiet disable $$services < /dev/null || true; fi; \
	for entry in $(PROGRAMS); do command -v "$${entry%%:*}" > /dev/null; done

# Pins are kept where they still fit; `rm requirements*.txt` first brings everything up to date
RESOLVE := uv pip compile --quiet --python-version 3.11 --no-emit-index-url --no-annotate --no-header

requirements:  ## Resolve the pinned requirements anew, after a change of pyproject.toml (needs uv)
	@command -v uv > /dev/null || { echo "make requirements needs uv: pip install uv" >&2; exit 1; }
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	cat requirements.txt requirements-dev.txt 2> /dev/null | grep '==' > "$$work/run.txt" || true; \
	cp "$$work/run.txt" "$$work/all.txt"; \
	$(RESOLVE) pyproject.toml -o "$$work/run.txt"; \
	$(RESOLVE) pyproject.toml lab/pyproject.toml --group dev -c "$$work/run.txt" -o "$$work/all.txt"; \
	{ \
	    echo '# What Crossfade runs with: written by `make requirements` from pyproject.toml.'; \
	    echo '# Resolved and tested together (Python 3.11, Airflow 3.3.2). The official constraints file of that Airflow may'; \
	    echo '# be applied on top where an installation demands it: leave out this file then, and install the wheel.'; \
	    cat "$$work/run.txt"; \
	} > requirements.txt; \
	{ \
	    echo '# Adds what tests, lint and the lab need: written by `make requirements` from pyproject.toml, group dev, and lab/.'; \
	    echo '-r requirements.txt'; \
	    grep -vxFf "$$work/run.txt" "$$work/all.txt"; \
	} > requirements-dev.txt
