# Needs: Python 3.11 or later, pip, gcc, make. Everything else is installed into .venv by constraints.txt.
#
# Environments:
#   .venv          all that is needed to work on glassplate: its dependencies, the extras "dev" and "docs", and
#                  glassplate itself, editable. The demo runs from it.
#   .venv-test     the built wheel and nothing else. It borrows the dependencies of .venv through a .pth file
#                  (a second torch would cost 750 MB and a minute), so that tests and type checks see what a
#                  user would install. The editable glassplate of .venv is not visible from it: the editable
#                  install is a .pth file of .venv, and Python does not read the .pth files of a folder that it
#                  reached through a .pth file.
#   .venv-oldest   the oldest versions that pyproject.toml allows (make oldest).
#   .venv-3.12 ... the same versions as .venv under another Python (make pythons).

PYTHON ?= python3
TORCH_INDEX ?=
PIP_FLAGS ?= --quiet
PYTEST_FLAGS ?=
JOBS ?= 3
PYTHONS ?= 3.12 3.13

VENV := .venv
TEST := .venv-test
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
# Import every module of glassplate, and the largest packages that only tests and servers need, in two processes.
IMPORT_ALL := import pytest, scipy.stats, skimage.metrics; \
	import glassplate.models, glassplate.pipeline, importlib, pkgutil; \
	[importlib.import_module(one.name) for package in (glassplate.models, glassplate.pipeline) \
	for one in pkgutil.walk_packages(package.__path__, package.__name__ + '.')]
IMPORT_FLOWS := import hypothesis, ome_zarr_models, prefect.server.api.server; \
	import glassplate.flows, importlib, pkgutil; \
	[importlib.import_module(one.name) \
	for one in pkgutil.walk_packages(glassplate.flows.__path__, 'glassplate.flows.')]
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PACKAGED := $(shell find interface models pipeline flows configs -type f -not -name "*.pyc") pyproject.toml README.md LICENSE
# Imported by the tests from the wheel, never from the folders beside it: -P keeps the current folder off
# sys.path.
ISOLATED := $(TEST)/bin/python -P

# Otherwise every process of the tests would compile all modules of the tests anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test quick lint types wheel venv docs oldest pythons picture sbom clean distclean

help:
	@echo "make demo       restore two real images and report the results (3 minutes on 2 cores)"
	@echo "make test       lint, type-check and test the built wheel (15 minutes on 2 cores)"
	@echo "make quick      the tests that are not slow, against the folders as they are (2 minutes on 2 cores)"
	@echo "make lint       ruff, codespell, import-linter"
	@echo "make types      mypy, strict, against the built wheel"
	@echo "make wheel      dist/glassplate-VERSION-py3-none-any.whl"
	@echo "make docs       write the table of recipe keys, and build the user guide in build/site"
	@echo "make oldest     make quick with the oldest versions of the dependencies that are allowed"
	@echo "make pythons    make quick under Python 3.12 and 3.13, where they are installed"
	@echo "make picture    make demo, and its picture for docs/install.md"
	@echo "make venv       .venv with glassplate (editable) and the tools to work on it"
	@echo "make sbom       dist/glassplate.cdx.json, a software bill of materials of .venv"
	@echo "make clean      remove what was built; make distclean: .venv too"
	@echo
	@echo "PYTHON=python3.12                 the Python that makes .venv"
	@echo "TORCH_INDEX=URL                   a further index to take torch from, for example"
	@echo "                                  https://download.pytorch.org/whl/cpu for the small CPU build"
	@echo "PYTEST_FLAGS='-m \"not slow\"'      options for pytest in make test, quick, oldest and pythons"

# pip 23.2, which comes with Python 3.11, takes 70 s longer to resolve the dependencies. To compile all modules
# takes another 50 s on two cores; those that are imported are a quarter of them. They are compiled here, because
# the processes of the tests start together, and each would compile all of them.
# The install is editable: .venv is made again when the dependencies change, not when the code does.
venv: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: $(PYTHON) is Python %d.%d; 3.11 or later is needed: make PYTHON=..." % v[:2])'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install $(PIP_FLAGS) --upgrade -c constraints.txt "pip>=25.3" setuptools wheel
	$(PIP) install --no-compile $(PIP_FLAGS) $(INDEX) -c constraints.txt --no-build-isolation -e ".[dev,docs]"
	$(VENV)/bin/python -c "$(IMPORT_ALL)" & $(VENV)/bin/python -c "$(IMPORT_FLOWS)" && wait $$!
	@touch $@

# Any warning of the build is an error: a link that leads nowhere, a page that no menu names. The variable
# turns off an announcement that is no warning of ours (see mkdocs-material in constraints.txt).
docs: $(VENV)/.installed
	$(VENV)/bin/python docs/recipe_keys.py
	$(VENV)/bin/python docs/notebooks.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet --strict
	@echo "The guide is in build/site/index.html"

demo: $(VENV)/.installed
	$(VENV)/bin/python examples/demo.py

# The picture of docs/install.md, from the demo's own results.
picture: $(VENV)/.installed
	$(VENV)/bin/python examples/demo.py --picture docs/images/before-after.png

# build/ keeps files that were deleted from the folders, and they would end up in the wheel.
wheel: dist/.built
dist/.built: $(PACKAGED) | $(VENV)/.installed
	rm -rf build dist
	$(VENV)/bin/python -m build --wheel --no-isolation --outdir dist > /dev/null
	rm -rf build
	@touch $@

$(TEST)/.installed: dist/.built $(VENV)/.installed
	test -x $(TEST)/bin/python || $(VENV)/bin/python -m venv --without-pip $(TEST)
	$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$($(TEST)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
	$(PIP) --python $(TEST)/bin/python install $(PIP_FLAGS) --no-deps --force-reinstall dist/*.whl
	@touch $@

lint: $(TEST)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell
	$(ISOLATED) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

types: $(TEST)/.installed
	$(ISOLATED) -m mypy --num-workers 2

# Two processes: each takes 15 s to import and to collect the tests.
QUICK = -P -m pytest -m "not slow" --numprocesses 2 --dist worksteal $(PYTEST_FLAGS)

quick: $(VENV)/.installed
	$(VENV)/bin/python $(QUICK)

# docs/design/016-floors.md says how each floor was found.
.venv-oldest/.installed: pyproject.toml constraints-oldest.txt | $(VENV)/.installed
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	$(PIP) --python .venv-oldest/bin/python install $(PIP_FLAGS) $(INDEX) -c constraints-oldest.txt -e ".[dev]"
	@touch $@

oldest: .venv-oldest/.installed
	.venv-oldest/bin/python $(QUICK) --deselect tests/test_packaging.py::TestConstraints

# An interpreter that is not there is no error: the message says that it was left out.
pythons: $(PYTHONS:%=python-%)
python-%: | $(VENV)/.installed
	@if ! python$* -c "" 2> /dev/null; then echo "python$* is not installed: skipped"; \
	else set -e; \
	  if ! test -e .venv-$*/.installed; then \
	    python$* -m venv .venv-$*; \
	    $(PIP) --python .venv-$*/bin/python install $(PIP_FLAGS) $(INDEX) -c constraints.txt -e ".[dev]"; \
	    touch .venv-$*/.installed; \
	  fi; \
	  .venv-$*/bin/python $(QUICK); \
	fi

# Most tests keep one core busy, others wait for processes, so three run at a time on two cores. The slowest
# twenty are listed, so that a slow test is noticed.
test: lint types
	GLASSPLATE_WHEEL="$$(echo dist/*.whl)" $(ISOLATED) -m pytest \
		--numprocesses $(JOBS) --dist worksteal --durations 20 $(PYTEST_FLAGS)

# cyclonedx-bom has an environment of its own, so that it is not in the list that it writes.
sbom: $(VENV)/.installed
	test -x .venv-sbom/bin/python || $(PYTHON) -m venv .venv-sbom
	$(PIP) --python .venv-sbom/bin/python install $(PIP_FLAGS) cyclonedx-bom
	mkdir -p dist
	.venv-sbom/bin/cyclonedx-py environment $(VENV)/bin/python --output-file dist/glassplate.cdx.json

clean:
	rm -rf build dist $(TEST) glassplate.egg-info demo-output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find interface models pipeline flows configs tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .venv-oldest .venv-sbom $(PYTHONS:%=.venv-%)
