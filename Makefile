# Commands for working on the template itself; `make help` lists them.
# They need Python 3.11 or newer, git and make. uv is fetched from PyPI into build/tools when the machine has none.

UV := $(or $(UV),$(shell command -v uv 2>/dev/null),$(CURDIR)/build/tools/bin/uv)
RUN = $(UV) run --no-sync
BACKEND ?= db
# Most tests wait for servers and installations: three processes keep two cores busy.
WORKERS ?= 3
PYTEST = $(RUN) pytest --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder
# The engine's own tests, in place: a pytest with settings of its own, which does not look at the template's.
ENGINE = $(RUN) pytest -c tests/engine.ini --confcutdir=tests/engine --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder

# The next line of Airflow, which the engine takes while the projects' default is the one before: the newest that
# the index has of it, pre-releases too.
NEXT := $(CURDIR)/build/airflow-next
NEXT_AIRFLOW ?= apache-airflow>=3.4.0a1,<3.5
AIRFLOW_IN = $(1)/bin/python -c "from importlib import metadata; print(metadata.version('apache-airflow'))"
# What a suite leaves for the table at the end of test-all: REPORT,environment,suite
REPORT = --junit-xml=build/tested/$$($(call AIRFLOW_IN,$(1)))/$(2).xml

# The machine's own Python is used, never a downloaded one; an environment that happens to be active is not.
export UV_PYTHON_DOWNLOADS ?= never
unexport VIRTUAL_ENV
# Nothing is left in the templated folder by reading the engine there; yet nothing is compiled a second time.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache

.DEFAULT_GOAL := help
.PHONY: help demo picture test engine-test test-all airflow-next-test update-test release-check drills docker-test bench bench-readme lint digests wheel golden compared clean

help:  ## List these commands
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/.ready  ## Bake a project into build/demo and run its pipelines (BACKEND=db, s3 or redis)
	$(RUN) cookiecutter --default-config --no-input --overwrite-if-exists --output-dir build/demo . xcom_backend=$(BACKEND)
	PATH="$(dir $(UV)):$$PATH" $(MAKE) --no-print-directory -C build/demo/my-pipelines run

picture: demo  ## Draw docs/make-run.svg anew: what `make run` prints, on a quiet machine (BACKEND=s3)
	$(RUN) python docs/picture.py

test: lint  ## All that must pass before a change goes in: the engine, the template, an installed project for each backend
	@$(ENGINE) -m "not (slow or browser)" tests/engine
	@$(PYTEST) -m "not (slow or zombie or docker or bench)"

engine-test: .venv/.ready  ## The engine's own tests alone (ONLY=tests/engine/redis, ARGS="-x -k lease")
	@$(ENGINE) -m "not (slow or browser)" $(ARGS) $(or $(ONLY),tests/engine)

test-all: lint  ## The same as test, and whatever takes longer, with another Airflow, too; ends with a table of what passed
	@rm -rf build/tested
	-@$(ENGINE) $(call REPORT,.venv,engine) -m "not browser" tests/engine
	-@$(PYTEST) $(call REPORT,.venv,template) -m "not (docker or bench)"
	-@$(MAKE) --no-print-directory airflow-next-test
	@$(RUN) python tools/tested.py

airflow-next-test: .venv/.ready  ## The next line of Airflow, be it a pre-release: engine (ARGS="-m 'not slow'"), pipelines, frozen tasks
	@test -x $(NEXT)/bin/python || $(UV) venv --quiet --python .venv/bin/python $(NEXT)
	@$(UV) pip install --quiet --upgrade --python $(NEXT) --prerelease allow "$(NEXT_AIRFLOW)" --editable "engine[all]" --group dev
	@status=0; $(NEXT)/bin/python -m $(subst $(RUN) ,,$(ENGINE)) $(call REPORT,$(NEXT),engine) $(ARGS) tests/engine || status=1; \
	XCOM_TEST_AIRFLOW=$$($(call AIRFLOW_IN,$(NEXT))) $(PYTEST) $(call REPORT,$(NEXT),template) \
	-k "make_run_runs or make_test_passes or pipelines_hand_over or zombie" tests || status=1; exit $$status

update-test: .venv/.ready  ## Projects of the first commit and of every release take in the current state
	@$(RUN) pytest tests/update/test_history.py tests/update/test_years.py

.PHONY: browser-test
browser-test: .venv/.ready  ## Look at the pages in Airflow's UI in Chromium, which has to be here; pictures are in build/browser (PICTURE=1: into docs, too)
	$(UV) sync --quiet --group browser
	@$(subst --numprocesses=$(WORKERS),--numprocesses=0,$(ENGINE)) -m browser $(ARGS) tests/engine/ui
	@$(if $(PICTURE),cp build/browser/picture.png engine/docs/payloads.png)

.PHONY: newest-test newest-engine-test
newest-test: .venv/.ready  ## Say what breaks with the newest of everything (BACKEND=s3, AIRFLOW=newest or 3.4.0b2)
	PATH="$(dir $(UV)):$$PATH" $(RUN) python tools/newest.py --backend=$(BACKEND) --airflow=$(AIRFLOW)

newest-engine-test: .venv/.ready  ## The engine's own tests with the newest of everything, in an environment of its own
	$(UV) venv --quiet --clear build/newest/engine
	$(UV) pip install --quiet --python build/newest/engine --group dev --exclude-newer="$$(date -u +%Y-%m-%dT%H:%M:%SZ)"
	@$(subst $(RUN),build/newest/engine/bin/python -m,$(ENGINE)) -m "not slow" $(ARGS) $(or $(ONLY),tests/engine)

release-check: lint  ## Say what is missing for a release, and take projects of every release to this state
	@$(RUN) python tools/release.py
	@$(ENGINE) tests/engine/formats
	@$(RUN) pytest tests/update/test_history.py tests/update/test_years.py

drills: export XCOM_DRILL_PROJECT = $(PROJECT)
drills: .venv/.ready  ## Take workers, servers and ways away from a deployment while its tasks push (PROJECT=folder: yours)
	@$(RUN) pytest -m drill tests/many

docker-test: .venv/.ready  ## What needs a Docker engine: the generated docker-compose.yaml
	@$(RUN) pytest -m docker

bench: .venv/.ready  ## Measure the backends, their peers and their limits (QUICK=1, ONLY="bytes,numpy", ROUNDS=5)
	$(UV) sync --quiet --group bench
	$(RUN) cookiecutter --default-config --no-input --overwrite-if-exists --output-dir build/bench . \
		project_slug=xcom-bench xcom_backend=s3
	test -x build/bench/dagster/bin/python || $(UV) venv --quiet build/bench/dagster
	-$(UV) pip install --quiet --python build/bench/dagster/bin/python -r benchmarks/requirements-dagster.txt
	$(RUN) python benchmarks/bench.py $(if $(QUICK),--quick) \
		$(if $(ONLY),--only "$(ONLY)") $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: bench-gc
bench-gc: .venv/.ready  ## Measure collections: payloads a second, memory, requests to Airflow (PAYLOADS=100000: so many at most)
	$(RUN) python benchmarks/collection.py $(if $(PAYLOADS),--payloads $(PAYLOADS))

.PHONY: bench-scale
bench-scale: export XCOM_SCALE_TASKS = $(TASKS)
bench-scale: .venv/.ready  ## Measure how far each backend goes: hours, and 16 GiB of disk (TASKS=200 ONLY="s3 and mapped")
	$(RUN) pytest -m bench $(if $(ONLY),-k "$(ONLY)") tests/many/test_scale.py

.PHONY: bench-guards
bench-guards: .venv/.ready  ## Measure what the looks for secrets and for readers cost (ROUNDS=15, RECORDS=300000)
	$(RUN) python benchmarks/guards.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(RECORDS),--records $(RECORDS))

bench-readme:  ## Write the figures of the last `make bench` into README.md and its plots into docs/
	$(RUN) python benchmarks/publish.py --readme

lint: .venv/.ready  ## Check engine, tools, hooks and tests (baked projects are checked by the tests)
	@mkdir -p build
	@$(RUN) ruff check --quiet . engine/src
	@$(RUN) ruff format --check --quiet . engine/src
	@$(RUN) mypy
	@$(RUN) lint-imports --no-logo > build/imports.txt 2>&1 || { cat build/imports.txt; exit 1; }

digests: .venv/.ready  ## List the files that every project gets as they are (packages/DIGESTS), with their digests
	@$(RUN) python tools/digests.py

wheel: | $(UV)  ## Build the engine's wheel into build/wheels, for an index of your own
	@$(UV) build --quiet --wheel --out-dir build/wheels engine/
	@ls build/wheels

golden: .venv/.ready  ## Write the golden payloads of this version, which later releases have to read
	@$(RUN) python tests/engine/formats/write_golden.py

compared: .venv/.ready  ## Write the tables of docs/values.md that compare plain Airflow with us
	@$(RUN) python tests/engine/formats/write_compared.py

clean:  ## Remove what these commands made
	rm -rf build .venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml engine/pyproject.toml | $(UV)
	$(UV) sync --quiet
	@touch $@

$(CURDIR)/build/tools/bin/uv:
	@python3 -m venv build/tools || { echo "python3 cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check uv
