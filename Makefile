# Everything here installs what it needs first. `make demo SECONDS=20` ends by itself.
SHELL := bash
# Where the environment forbids bytecode files, each worker would compile all tests anew, in each run.
export PYTHONDONTWRITEBYTECODE :=
RUN := NEXUS_MOSQUITTO="$$(scripts/mosquitto)" .venv/bin

.PHONY: demo unit test coverage chaos interop k8s-check k3s-test monitoring schema bench bench-alarms bench-ingest bench-mqtt bench-database bench-console bench-sockets bench-pixels bench-beside lint docs setup web screenshots format constraints clean

demo: setup
	@$(RUN)/nexus demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(KEEP),--keep $(KEEP))

# On several workers; WORKERS=0 runs one test after another, in this process.
test: WORKERS ?= 5
test: setup lint
	@NEXUS_PROMETHEUS="$$(scripts/prometheus || true)" NEXUS_TEST_PATIENCE="$${NEXUS_TEST_PATIENCE:-4}" \
		$(RUN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

# Half a minute, without a network or a process.
unit: setup
	@.venv/bin/python -m pytest tests/unit -n 3 $(ARGS)

# What the tests run through, those processes included that they start; prints a line a module, and the sum.
coverage: TESTS ?= tests/unit tests/conformance tests/integration
coverage: setup
	@.venv/bin/coverage erase
	@NEXUS_TEST_PATIENCE="$${NEXUS_TEST_PATIENCE:-5}" $(RUN)/coverage run -m pytest $(TESTS) $(ARGS)
	@.venv/bin/coverage combine --quiet
	@.venv/bin/coverage report

# The chaos, fuzz and hostile tests at their whole length.
chaos: setup
	@NEXUS_CHAOS=full NEXUS_HOSTILE_SECONDS=600 $(RUN)/python -m pytest tests/chaos tests/hostile --durations=10 $(ARGS)

# Against servers of other projects; those that are not there are skipped, with how to get them.
interop: setup
	@mkdir -p .tools/interop && cp tests/interop/package.json .tools/interop/
	@command -v npm >/dev/null && npm install --silent --no-audit --no-fund --no-package-lock --prefix .tools/interop || true
	@$(RUN)/python -m pytest -m interop -rs tests/interop $(ARGS)

# The Kubernetes overlays: rendered, validated, and held against what must be true of them.
k8s-check: setup
	@command -v kubectl >/dev/null || { echo "kubectl is needed, which renders the overlays" >&2; exit 1; }
	@.venv/bin/python -m pytest tests/deploy/test_manifests.py tests/deploy/test_broken_manifests.py $(ARGS)

# The development overlay on K3s in Docker, by k3d.
k3s-test:
	@scripts/k3s-test

# After a new migration: the schema as it is. The Community tier's too, with NEXUS_TEST_DATABASE_URL of such a server.
schema: setup
	@.venv/bin/python -P scripts/schema

bench: setup
	@$(RUN)/python -m tests.benchmarks.poll $(ARGS)

# After a change of infrastructure/monitoring/dashboards or rules/nexus.yml.
monitoring: setup
	@.venv/bin/python -m infrastructure.monitoring.generate

bench-alarms: setup
	@$(RUN)/python -m tests.benchmarks.alarms $(ARGS)

bench-ingest: setup
	@$(RUN)/python -m tests.benchmarks.ingest $(ARGS)

bench-mqtt: setup
	@$(RUN)/python -m tests.benchmarks.mqtt $(ARGS)

# The console's answers from twenty million readings; NEXUS_TEST_DATABASE_URL names the server.
bench-console: setup
	@$(RUN)/python -m tests.benchmarks.console $(ARGS)

bench-sockets: setup
	@$(RUN)/python -m tests.benchmarks.sockets $(ARGS)

# Needs a Chromium.
bench-pixels: setup
	@$(RUN)/python -m tests.benchmarks.pixels $(ARGS)

# What people at the console cost ingestion; NEXUS_TEST_DATABASE_URL names the server.
bench-beside: setup
	@$(RUN)/python -m tests.benchmarks.beside $(ARGS)

bench-database: setup
	@$(RUN)/python -m tests.benchmarks.database $(ARGS)

lint: setup
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/mypy --no-error-summary docs/examples/own-driver/nexus_lines.py
	@scripts/web lint
	@.venv/bin/lint-imports >.import-linter.log || { cat .import-linter.log; exit 1; }
	@rm -f .import-linter.log

format: setup
	@.venv/bin/ruff check --quiet --fix .
	@.venv/bin/ruff format --quiet .

# The documentation as a site, in `site`; a link that leads nowhere fails.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	@.venv/bin/pip --disable-pip-version-check install --quiet --require-hashes --requirement constraints-docs.txt
	@.venv/bin/mkdocs --quiet build
	@echo "open site/index.html"

setup:
	@scripts/setup
	@scripts/web

# The console's pages, built again.
web:
	@scripts/setup
	@rm -f console/web/dist/.built
	@scripts/web

# Pictures of the console's pages for the documentation, from the demo; needs a Chromium.
screenshots: setup
	@$(RUN)/python -m tests.browser.screenshots

# After a change of the dependencies in pyproject.toml; needs a .venv as `make setup` leaves it.
constraints:
	@.venv/bin/pip-compile --quiet $(COMPILE) --extra all --extra console --extra export --extra demo --extra dev --output-file constraints.txt pyproject.toml
	@.venv/bin/pip-compile --quiet $(COMPILE) --extra all --extra console --extra export --constraint constraints.txt --output-file constraints-runtime.txt pyproject.toml
	@.venv/bin/pip-compile --quiet $(COMPILE) --extra docs --constraint constraints.txt --output-file constraints-docs.txt pyproject.toml
	@printf 'hatchling\nnodejs-wheel-binaries\n' | .venv/bin/pip-compile --quiet $(COMPILE) --constraint constraints.txt --output-file constraints-build.txt -
COMPILE := --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

clean:
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* *.egg-info site console/web/dist console/web/generated console/web/node_modules
