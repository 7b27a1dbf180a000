# Commands for working on the template itself; `make help` lists them.
# They need Python 3.11 or newer, git and make. uv is fetched from PyPI into build/tools when the machine has none.

UV := $(or $(UV),$(shell command -v uv 2>/dev/null),$(CURDIR)/build/tools/bin/uv)
RUN = $(UV) run --no-sync
BACKEND ?= db
# Most tests wait for servers and installations. Two processes fit into two cores.
WORKERS ?= 2
PYTEST = $(RUN) pytest --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder

# The machine's own Python is used, never a downloaded one; an environment that happens to be active is not.
export UV_PYTHON_DOWNLOADS ?= never
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo test test-all update-test docker-test bench bench-readme lint digests clean

help:  ## List these commands
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/.ready  ## Bake a project into build/demo and run its pipelines (BACKEND=db, s3 or redis)
	$(RUN) cookiecutter --default-config --no-input --overwrite-if-exists --output-dir build/demo . xcom_backend=$(BACKEND)
	PATH="$(dir $(UV)):$$PATH" $(MAKE) --no-print-directory -C build/demo/my-pipelines run

test: lint  ## All that must pass before a change goes in: the template, and an installed project for each backend
	@$(PYTEST) -m "installed or not (slow or zombie or docker or bench)"

test-all: lint  ## The same and whatever takes longer: big payloads, frozen tasks under the real scheduler
	@$(PYTEST) -m "not (docker or bench)"

update-test: .venv/.ready  ## Projects of the first commit and of the last release take in the current state
	@$(RUN) pytest tests/update/test_history.py

docker-test: .venv/.ready  ## What needs a Docker engine: the generated docker-compose.yaml
	@$(RUN) pytest -m docker

bench: .venv/.ready  ## Measure the backends, their peers and their limits (QUICK=1, ONLY="bytes,numpy", ROUNDS=5)
	$(RUN) cookiecutter --default-config --no-input --overwrite-if-exists --output-dir build/bench . \
		project_slug=xcom-bench xcom_backend=s3
	cd build/bench/xcom-bench && $(UV) sync --quiet --all-extras
	cd build/bench/xcom-bench && $(UV) pip install --quiet -r $(CURDIR)/benchmarks/requirements.txt
	test -x build/bench/dagster/bin/python || $(UV) venv --quiet build/bench/dagster
	-$(UV) pip install --quiet --python build/bench/dagster/bin/python -r benchmarks/requirements-dagster.txt
	build/bench/xcom-bench/.venv/bin/python benchmarks/bench.py $(if $(QUICK),--quick) \
		$(if $(ONLY),--only "$(ONLY)") $(if $(ROUNDS),--rounds $(ROUNDS))

bench-readme:  ## Write the figures of the last `make bench` into README.md and its plots into docs/
	build/bench/xcom-bench/.venv/bin/python benchmarks/report.py --readme

lint: .venv/.ready  ## Check the hooks and tests of the template (baked projects are checked by the tests)
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --check --quiet .
	@$(RUN) mypy

digests: .venv/.ready  ## List the files that every project gets as they are (packages/DIGESTS), with their digests
	@$(RUN) python tools/digests.py

clean:  ## Remove what these commands made
	rm -rf build .venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml | $(UV)
	$(UV) sync --quiet
	@touch $@

$(CURDIR)/build/tools/bin/uv:
	@python3 -m venv build/tools || { echo "python3 cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check uv
