# Each target does its own set-up: it makes .venv and installs what is not there yet.
# PYTHON=python3.12 (a name or a path) takes that Python, in an environment of its own: .venv-3.12.
ifeq ($(origin PYTHON),undefined)
PYTHON := python3
VENV := .venv
else
VENV := .venv-$(or $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'),$(error PYTHON=$(PYTHON) does not run))
endif
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
INTEROP_STAMP := $(VENV)/interop
DOCS_STAMP := $(VENV)/docs
DOWNSTREAM := $(VENV)-downstream
DOWNSTREAM_STAMP := $(DOWNSTREAM)/installed
REQUIREMENTS := requirements/constraints.txt requirements/runtime.txt requirements/mminstall.txt \
	requirements/optional.txt requirements/gpu.txt requirements/tests.txt setup.py
# faiss for the GPU where there is one
EXTRA := $(if $(shell command -v nvidia-smi 2>/dev/null),requirements/gpu.txt,requirements/optional.txt)
# by file, as the tests of one share what they make; in the order of the folders, of which the last take little
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder --durations=25
SOURCES := mmssl tools tests configs docs setup.py
export PIP_CONSTRAINT := $(CURDIR)/requirements/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo demo-fashion test test-fast test-slow test-gpu test-downstream test-docs lint docs linkcheck install downstream \
	clean

demo: $(STAMP)
	$(BIN)/python tools/demo.py configs/demo/simclr_digits.py

demo-fashion: $(STAMP)
	$(BIN)/python tools/demo.py configs/demo/simclr_fashion-mnist.py

test: $(INTEROP_STAMP)
	$(BIN)/python -m pytest tests -m "not slow and not gpu" $(IN_TWO)

# what does not take seconds, for work in between; it covers each part
test-fast: $(INTEROP_STAMP)
	$(BIN)/python -m pytest tests -m "not slow and not long and not gpu" $(IN_TWO)

test-slow: $(STAMP)
	$(BIN)/python -m pytest tests -m slow

# on a machine with an NVIDIA GPU; elsewhere each test is skipped, and `pytest tests/gpu --device cpu` tries them
test-gpu: $(INTEROP_STAMP)
	$(BIN)/python -m pytest tests/gpu -m gpu -rsxfE --durations=10

# the commands of the documentation on small data, after a count of them
test-docs: $(INTEROP_STAMP)
	$(BIN)/python tests/test_docs/doc_commands.py
	$(BIN)/python -m pytest tests/test_docs -m slow --durations=10

test-downstream: $(DOWNSTREAM_STAMP)
	$(DOWNSTREAM)/bin/python -m pytest tests/test_downstream

# vermin finds what Python 3.10 has not; its rule on `long`, a type of Python 2, hits tensors' method
lint: $(STAMP)
	$(BIN)/flake8 $(SOURCES)
	$(BIN)/isort --check-only --diff $(SOURCES)
	$(BIN)/yapf --diff --recursive --parallel $(SOURCES)
	$(BIN)/vermin --quiet --no-tips --violations --target=3.10- --exclude long $(SOURCES)

# docs/_build/html: both languages; what Sphinx warns of is an error
docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -W --keep-going -n -E -q docs/en docs/_build/html/en
	$(BIN)/python -m sphinx -W --keep-going -n -E -q docs/zh_cn docs/_build/html/zh_cn
	@echo "open docs/_build/html/en/index.html"

# links that leave the documentation: this needs a network, and is no part of CI
linkcheck: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -b linkcheck -q docs/en docs/_build/linkcheck/en
	$(BIN)/python -m sphinx -b linkcheck -q docs/zh_cn docs/_build/linkcheck/zh_cn

install: $(STAMP)

# torch comes first and alone: the rest takes it as it is. mmcv and mmcls are built in this
# environment, so that they find the opencv that is there and a setuptools that still has pkg_resources.
$(STAMP): $(REQUIREMENTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "setuptools<80" wheel -r requirements/runtime.txt -r $(EXTRA) -r requirements/tests.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation -r requirements/mminstall.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

# what the tests compare with and read, and the demo does without
$(INTEROP_STAMP): $(STAMP) requirements/interop.txt requirements/data.txt
	$(BIN)/python -m pip install --quiet -r requirements/interop.txt -r requirements/data.txt
	touch $@

$(DOCS_STAMP): $(STAMP) requirements/docs.txt
	$(BIN)/python -m pip install --quiet -r requirements/docs.txt
	touch $@

downstream: $(DOWNSTREAM_STAMP)

# Detection and segmentation need mmcv-full, which gives the module mmcv as mmcv does: they get an environment of their
# own. Its files are hard links to those of .venv, so that torch is there once, but for mmcv. openmim comes without what
# it asks for, which are old versions; the file lists what it imports.
$(DOWNSTREAM_STAMP): $(STAMP) requirements/downstream.txt
	rm -rf $(DOWNSTREAM)
	$(BIN)/python -m venv --without-pip $(DOWNSTREAM)
	cp -alf $(VENV)/lib/. $(DOWNSTREAM)/lib
	$(DOWNSTREAM)/bin/python -m pip install --quiet -r requirements/downstream.txt
	$(DOWNSTREAM)/bin/python -m pip install --quiet --no-deps openmim
	wheel=$$($(DOWNSTREAM)/bin/python tools/misc/build_mmcv_full.py) && \
		$(DOWNSTREAM)/bin/python -m pip uninstall --quiet --yes mmcv && \
		$(DOWNSTREAM)/bin/python -m pip install --quiet --no-deps $$wheel
	touch $@

clean:
	rm -rf .venv .venv-* build docs/_build docs/en/api *.egg-info mmssl/.mim
