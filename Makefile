# Development. Users need none of this: see README.md.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# The same; a few tests that fail among others are run once more, alone, and named.
AGAIN := $(BIN)/python -m tests.again
# Packages are made with pip alone, and with shiv: nothing of what tests need is fetched for them.
PACKING := build/venv
PIP := $(PACKING)/bin/pip
SHIV := $(PACKING)/bin/shiv
# The lab needs root: as another user it goes through sudo, and leaves nothing of root's in the tree.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E env PYTHONDONTWRITEBYTECODE=1 )
LAB := tests/lab/lab
CRASH_LOOPS := $(addprefix tests/ops/,test_crash.py test_cut_sweep.py test_tree_crash.py)
LAB_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/zrep-lab

.DEFAULT_GOAL := help
.PHONY: help check test test-model test-pairs test-lab test-lab-all test-package simulate demo bench lab deb rpm zipapp pictures schema format clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: $(READY) ## lint, types, man page, and every test that needs no lab (seconds)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy zrep tests
	@for page in man/*.[1-8]; do [ -e "$$page" ] || continue; echo "mandoc -T lint $$page"; mandoc -T lint -W warning "$$page" || exit 1; done
	$(PYTEST) -q -m "not lab and not thorough and not package" -n auto

test-model: $(READY) ## what takes minutes on the model: real processes, two runs at the same time, a part of the crash loops
	$(AGAIN) -q -m "thorough and not lab" -n auto $(CRASH_LOOPS:%=--ignore %)
	$(PYTEST) -q $(CRASH_LOOPS) --crash some -n auto

test-pairs: $(READY) ## the same at every moment of two runs, at every cut and fault of the crash loops, and for more real processes (an hour)
	$(PYTEST) -q -m "thorough and not lab" --crash all -n auto

test: check test-model test-lab ## check, the model, then two hosts with real OpenZFS (the first time builds them, 14 min)

# Built before the tests begin, which would build it in silence; then three pairs of hosts at once, a class of tests on each:
# half of the time a test waits, for what is cut or off.
ON_LAB := $(AS_ROOT)$(AGAIN) -v -n 3 --dist loadscope --durations=60 -m

test-lab: $(READY) ## only the tests on real OpenZFS
	$(LAB) build --stable
	$(ON_LAB) "lab and not thorough and not package"

test-lab-all: $(READY) ## the same, and those that show on real OpenZFS what others, or the model, show as well (an hour)
	$(LAB) build --stable
	$(ON_LAB) "lab and not package"

test-package: $(READY) ## the Debian packages, built, judged and installed in clean roots of Debian 12 and 13 (as root, 20 min)
	$(AS_ROOT)$(PYTEST) -m package -p no:cacheprovider -v

SECONDS ?= 600
simulate: $(READY) ## crashes, cuts and people in any order on the model: SECONDS=600, SEED=… to see a run again
	$(BIN)/python -m tests.ops.simulate --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

demo: $(READY) ## watch replication, failover and a disaster on two real hosts
	$(AS_ROOT)$(BIN)/python -m tests.lab.demo

bench: $(READY) ## what zrep costs, in ratios, on two real hosts (40 minutes): ROWS="small start" for some of it
	$(LAB) build
	$(if $(QUICK),QUICK=1 )$(AS_ROOT)$(BIN)/python -m tests.bench $(ROWS)

lab: $(READY) ## start two real hosts to play with
	@$(LAB) up
	@echo "Next:  $(LAB) ssh alpha        a shell on alpha (leave with ^D)"
	@echo "       $(LAB) ssh beta zfs list"
	@echo "       $(LAB) help             cut the wire, take the power, start over"
	@echo "       $(LAB) down             end both hosts"

deb: $(PIP) ## a package for this machine's Debian release, in dist/
	contrib/source $(PACKING)/bin/python build/deb/tree
	contrib/deb build/deb/tree dist

rpm: $(PIP) ## a package for Fedora, RHEL and their like, in dist/ (with rpmbuild, Debian's or theirs)
	contrib/source $(PACKING)/bin/python build/rpm/tree
	contrib/rpm build/rpm/tree dist

zipapp: $(SHIV) ## one file for hosts where nothing can be installed, dist/zrep.pyz
	contrib/zipapp $(PACKING)/bin/python dist/zrep.pyz

pictures: $(READY) ## draw the pictures of the README anew, of real runs on two hosts (with tmux and headless Chromium)
	$(AS_ROOT)$(BIN)/python -m tests.pictures

schema: $(READY) ## write contrib/zrep.schema.json anew, from the types that --json prints
	$(BIN)/python -c 'import sys; from zrep.cli.document import schema; sys.stdout.buffer.write(schema())' > contrib/zrep.schema.json

format: $(READY) ## put the code in its usual form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## end this tree's hosts, remove what tools left in the tree
	@[ ! -e /run/zrep-lab ] || $(LAB) down
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@[ ! -d "$(LAB_CACHE)" ] || echo "The lab's kernel and root file system stay in $(LAB_CACHE) ($$(du -sh "$(LAB_CACHE)" | cut -f1)); 'make distclean' removes them too."

distclean: clean ## the same, and the lab's cache
	$(AS_ROOT)rm -rf "$(LAB_CACHE)"

$(READY): pyproject.toml tests/lab/tools
	@tests/lab/tools $(PYTHON) check
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@

$(PIP):
	@tests/lab/tools $(PYTHON)
	$(PYTHON) -m venv $(PACKING)

# In the bounds that pyproject.toml has for it.
$(SHIV): pyproject.toml | $(PIP)
	$(PIP) install -qq --disable-pip-version-check "$$(sed -n 's/^ *"\(shiv[^"]*\)",$$/\1/p' pyproject.toml)"
	@touch $@
