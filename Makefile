# The commands of this project; `make` alone lists them. CI calls the same ones (.ci/run).
#
# Everything Python happens in .venv, made from `python3` (or PYTHON=...) and the lock file, with the
# wheel of dist/ installed: tests, demo and benchmarks never see the folder python/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:

# With the last one each process of pytest compiles all tests anew, which takes longer than many a test.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
# Only the command line sets these: part of the names of the tests to run, and the benchmarks to run; empty for all.
K :=
NAME :=
# A fuzz target, and how many seconds each one has.
TARGET :=
FOR := 60
VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements/dev.lock

# A new lock file or interpreter makes a new environment; switching branches back and forth does not.
VENV_MADE := $(VENV)/.made-$(shell { cat $(LOCK); $(PYTHON) -V; } 2>/dev/null | cksum | tr ' ' '-')
WHEEL_BUILT := dist/.built
PACKAGES_BUILT := dist/packages/.built
WHEEL_INSTALLED := $(VENV)/.wheel-installed
INSTALLED := $(VENV)/.installed
# What `make dev` builds. It takes the two stamps above with it, so that tests of the wheel install that again.
DEV_DIST := target/dev
WHEEL_SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md LICENSE \
	$(shell find src crates python \( -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name py.typed -o -name Cargo.toml \) \
		-not -path '*/tests/*' -not -path '*/benches/*')
PACKAGES := $(wildcard packages/*)
PACKAGE_SOURCES := $(shell find $(PACKAGES) -type f -not -name '*.pyc')
# Most of the time of the Python tests is waiting for servers.
WORKERS := $(if $(K),,--numprocesses=3 --dist=worksteal)
# What the test runners printed, for the summary of `make test`.
RESULTS := target/results
PYTHON_CODE := python $(wildcard packages/*/src) tests $(wildcard bench examples)

say = @printf '\033[1m==>\033[0m %s\n'

.PHONY: help demo dev fuzz test test-long test-pythons test-repeat test-asan test-loom check-unsafe bench bench-check conformance lint wheel clean format lock
.PHONY: reference environment install show test-rust test-model test-python test-part services lint-rust lint-python
.PHONY: lint-stub audit

# The steps that demo and test have in common, as .ci/steps takes them.
INSTALLING := 'environment=Python environment in $(VENV) (1 to 3 minutes the first time)' \
	'wheel=release wheel with librdkafka in it (5 to 15 minutes the first time)' \
	'install=wheels into $(VENV)'

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## A program that uses Vault, then a database under load, each with a live view; no server is needed
	@.ci/steps $(INSTALLING) 'show=gds demo'

dev: $(VENV_MADE) $(PACKAGES_BUILT) ## Build without optimisation and install it into .venv: seconds after the first time
	$(say) "debug wheel into $(VENV)"
	@rm -rf $(WHEEL_INSTALLED) $(INSTALLED) $(DEV_DIST)
	@$(VENV)/bin/maturin build --profile dev --locked --quiet --interpreter $(PY) --auditwheel skip \
		--compression-method stored --out $(DEV_DIST)
	@$(VENV)/bin/uv pip install --quiet --offline --no-deps --reinstall --python $(PY) $(DEV_DIST)/*.whl dist/packages/*.whl

test: ## Run all tests, whatever of them fails: Rust, then Python on the installed wheel with real servers; or K=pattern
	@.ci/steps --keep-going $(INSTALLING) \
		'test-rust=Rust tests (built anew without optimisation: 3 to 10 minutes the first time)' \
		'test-model=the producer under a model checker (2 minutes the first time)' \
		'services=servers for the tests (1 to 10 minutes the first time)' \
		'test-python=Python tests on the installed wheel (10 to 25 minutes)'

test-pythons: $(INSTALLED) ## Run the Python tests that need no server, types and stub on Python 3.10 and the newest one here
	@found=$$($(PY) -m tests.pythons); [ -z "$$found" ] || { mapfile -t steps <<< "$$found"; .ci/steps --keep-going "$${steps[@]}"; }

N ?= 20
test-repeat: $(INSTALLED) services ## Run what depends on time N=20 times beside busy processes; K=pattern chooses other tests
	@$(PY) -m tests.repeat --times $(N) --pattern '$(K)'

test-long: ## Kill and stop the store at random points, many times more than `make test` does
	$(say) "store, killed 1,000 times"
	@GDS_STORE_KILLS=1000 GDS_STORE_CASES=5000 cargo test --package gds-store --locked --quiet --test store -- killed model

# The seeds are written first; what libFuzzer finds beyond them stays in fuzz/corpus/.
FUZZ_TARGETS = $(or $(TARGET),$(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))))
fuzz: ## Run the fuzz targets under libFuzzer, FOR=60 seconds each; or only TARGET=parser. Needs nightly and cargo-fuzz
	$(say) "libFuzzer, $(FOR) seconds each: $(FUZZ_TARGETS)"
	@cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --bin seeds
	@for target in $(FUZZ_TARGETS); do \
		cargo +nightly fuzz run "$$target" "fuzz/corpus/$$target" -- -dict="fuzz/corpus/$$target.dict" \
			-max_total_time=$(FOR) -max_len=4096 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 \
			-print_final_stats=1; \
	done

test-asan: $(INSTALLED) services ## Run the Python tests with AddressSanitizer in the binding, less those of its memory; or K=pattern
	@.ci/asan $(PY) -k '$(or $(K),not memory)'

test-loom: test-model ## Run the producer's model under shuttle, then the orderings of cells and processes under loom
	@cargo test --package gds-process --package gds-metrics --lib --locked ordering

check-unsafe: ## Run all that looks for faults of memory and of orderings: test-loom, then test-asan
	@.ci/steps $(INSTALLING) \
		'services=servers for the tests (1 to 10 minutes the first time)' \
		'test-loom=orderings under shuttle and loom' \
		'test-asan=Python tests with AddressSanitizer in the binding'

bench: $(INSTALLED) ## Time this package and its peers in the same run, then the Rust core; or only NAME="page increment"
	$(say) "benchmarks against the peers"
	@$(PY) -m bench $(NAME)
ifeq ($(strip $(NAME)),)
	$(say) "benchmarks of the core"
	@cargo bench --workspace --locked --quiet
endif

bench-check: $(VENV_MADE) ## Count the instructions of the core's hot paths; fails when one grew by more than 5 % (valgrind)
	$(say) "instructions of the hot paths"
	@$(PY) -m bench.instructions $(if $(WRITE),--write)

conformance: ## Run PROMQLTEST_DIR, a folder of scripts of Prometheus; fails when fewer evaluations pass than did before
	$(say) "promqltest $(PROMQLTEST_DIR)"
	@[ -n "$(PROMQLTEST_DIR)" ] || { \
		echo "expected PROMQLTEST_DIR=, the folder promql/promqltest/testdata of Prometheus 3.14" >&2; exit 1; }
	@cargo run --package gds-promql --locked --quiet --bin promqltest -- \
		--least "$$(cat crates/gds-promql/conformance.txt)" "$(PROMQLTEST_DIR)"
	@PROMQLTEST_DIR="$(abspath $(PROMQLTEST_DIR))" cargo test --package gds-store --locked --quiet --test store -- scripts

lint: lint-rust lint-python lint-stub audit ## Check format, style, types, stubs, licences and known vulnerabilities

wheel: $(WHEEL_BUILT) $(PACKAGES_BUILT) ## Build the release wheel, and those of packages/, into dist/
	@ls dist/*.whl dist/packages/*.whl

format: $(VENV_MADE) ## Format all code and repair what can be repaired
	$(say) "cargo fmt, ruff"
	@cargo fmt --all
	@$(PY) -m ruff check --quiet --fix . || true
	@$(PY) -m ruff format --quiet .

lock: $(VENV_MADE) ## Pin the newest versions that requirements/dev.in allows
	$(say) "resolving requirements/dev.in"
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --output-file $(LOCK) requirements/dev.in

reference: $(INSTALLED) ## Write docs/reference/ anew from the docstrings
	$(say) "docs/reference/"
	@$(PY) -m tests.project.reference

clean: ## Remove everything that was built; installed test servers stay in their cache
	$(say) "removing .venv, dist, target and caches"
	@rm -rf $(VENV) dist target .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find python tests $(wildcard bench examples) -name __pycache__ -prune -exec rm -rf {} +

# ------------------------------------------------------------------ parts of the above

$(VENV_MADE): $(LOCK)
	$(say) "making $(VENV) from $(LOCK)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "expected Python 3.10 or newer, got $$($(PYTHON) -V 2>&1); run make PYTHON=python3.12 or the like" >&2; exit 1; }
	@rm -rf $(VENV)
	@pip="-m pip"; \
	if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv $(VENV); \
	else \
		echo "    $(PYTHON) has no pip; taking it from the package python3-pip-whl"; \
		$(PYTHON) -m venv --without-pip $(VENV); \
		mkdir $(VENV)/pip; \
		(cd $(VENV)/pip && apt-get download -qq -o APT::Sandbox::User=root python3-pip-whl \
			&& dpkg -x python3-pip-whl_*.deb .) || { \
			echo "expected $(PYTHON) with pip; install the package python3-venv" >&2; exit 1; }; \
		pip=$$(echo $(VENV)/pip/usr/share/python-wheels/pip-*.whl)/pip; \
	fi; \
	$(PY) $$pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@touch $@

$(WHEEL_BUILT): $(WHEEL_SOURCES) | $(VENV_MADE)
	$(say) "building the release wheel"
	@rm -f dist/gds_telemetry-*.whl
	@$(VENV)/bin/maturin build --release --locked --interpreter $(PY) --out dist
	@touch $@

$(PACKAGES_BUILT): $(PACKAGE_SOURCES) | $(VENV_MADE)
	$(say) "building packages/"
	@rm -rf dist/packages
	@$(PY) -m pip wheel --quiet --no-build-isolation --no-index --no-deps --wheel-dir dist/packages $(addprefix ./,$(PACKAGES))
	@touch $@

$(WHEEL_INSTALLED): $(WHEEL_BUILT) $(VENV_MADE)
	$(say) "installing the wheel"
	@$(PY) -m pip install --quiet --no-index --no-deps --force-reinstall dist/gds_telemetry-*.whl
	@touch $@

$(INSTALLED): $(PACKAGES_BUILT) $(WHEEL_INSTALLED)
	$(say) "installing packages/"
	@$(PY) -m pip install --quiet --no-index --no-deps --force-reinstall dist/packages/*.whl
	@touch $@

environment: $(VENV_MADE)

install: $(INSTALLED)

show: $(INSTALLED)
	@$(VENV)/bin/gds demo
	@$(VENV)/bin/gds demo database

# Without a pipe for standard error cargo shows its own progress; standard output is kept for the summary.
test-rust:
	$(say) "cargo test"
	@mkdir -p $(RESULTS)
	@cargo test --workspace --locked --no-run
	@cargo test --workspace --locked --quiet --no-fail-fast $(if $(K),-- '$(K)') | tee $(RESULTS)/rust.log

# What needs a feature of its own; the orderings under loom are among the tests of the workspace. With a pattern it is
# the tests that cargo lists for the model and that hold it: of two patterns cargo takes what either is in.
MODEL := cargo test --package gds-hub --locked --features shuttle --lib
test-model:
	$(say) "cargo test --features shuttle"
	@mkdir -p $(RESULTS)
	@$(MODEL) --no-run
ifeq ($(K),)
	@$(MODEL) --quiet producer::model | tee $(RESULTS)/rust-model.log
else
	@chosen=$$($(MODEL) --quiet producer::model -- --list | sed -n 's/: test$$//p' | { grep -F -- '$(K)' || true; }); \
	[ -z "$$chosen" ] || $(MODEL) --quiet -- --exact $$chosen | tee $(RESULTS)/rust-model.log
endif

services: $(VENV_MADE)
	$(say) "servers for the tests"
	@$(PY) -m tests.services install || { [ "$${CI:-}" != true ] && echo "    tests of the missing servers are skipped"; }

test-python: $(INSTALLED)
	$(say) "pytest"
	@mkdir -p $(RESULTS)
	@$(PY) -m pytest --quiet $(WORKERS) $(if $(K),-k '$(K)') | tee $(RESULTS)/python.log$(if $(K), || [ $${PIPESTATUS[0]} -eq 5 ] # no test has the name)

# On another Python: the same wheels in an environment of its own, whose name is the version.
test-python-%: $(INSTALLED)
	@python=$$($(PY) -m tests.pythons $*); $(MAKE) --no-print-directory PYTHON="$$python" VENV=target/pythons/$* test-part

# What depends on the interpreter: the binding, and each package on it with the hubs and the Vault that are part of
# them. Servers, most of the time of all tests, know nothing of it; at the wheel's files one Python has looked already.
# It takes 2 to 4 minutes.
test-part: $(INSTALLED) lint-stub
	$(say) "mypy"
	@$(PY) -m mypy --no-error-summary --python-version $(notdir $(VENV)) $(PYTHON_CODE)
	$(say) "pytest"
	@mkdir -p $(RESULTS)
	@$(PY) -m pytest --quiet $(WORKERS) -m 'not server' $(if $(K),-k '$(K)') \
		$(addprefix tests/,cli compat database kafka metrics vault) | tee $(RESULTS)/python-$(notdir $(VENV)).log

lint-rust:
	$(say) "cargo fmt"
	@cargo fmt --all --check
	$(say) "cargo clippy"
	@cargo clippy --workspace --all-targets --locked -- -D warnings

lint-python: $(VENV_MADE)
	$(say) "ruff"
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check .
	$(say) "mypy"
	@$(PY) -m mypy --no-error-summary $(PYTHON_CODE)

lint-stub: $(WHEEL_INSTALLED)
	$(say) "stubtest"
	@$(PY) -m mypy.stubtest --concise gds_native._lib

audit: $(VENV_MADE)
	$(say) "licences and known vulnerabilities"
	@.ci/audit $(PY) $(LOCK)
