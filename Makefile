# The two commands of the README; each does all of its own set-up in `.venv`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test lint check fuzz wheels clean

# The whole recipe at laptop size: runs/quickstart/report.html, and the bundles server/ and device/ beside it.
quickstart: $(VENV)/run.stamp
	$(BIN)/codling build quickstart --out runs/quickstart

test: $(VENV)/dev.stamp
	$(BIN)/pytest -n 2 --dist loadfile

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What CI runs: lint, types, the suite, the slow tests.
check: lint test
	$(BIN)/pytest -n 2 --dist loadfile -m slow

# The fuzzer over the loader of the engine (clang 14, or CLANG): 10 minutes, or SECONDS. What it finds stays in the folder.
CLANG ?= clang++-14
SECONDS ?= 600
FUZZ := build/fuzz
fuzz: $(VENV)/dev.stamp
	$(BIN)/cmake -S native -B $(FUZZ) -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_CXX_COMPILER=$(CLANG) \
	  -DCODLING_NATIVE_TESTS=ON -DCODLING_SANITIZE=fuzzer-no-link,address,undefined
	$(BIN)/cmake --build $(FUZZ) --target fuzz_loader
	$(BIN)/python -m tests.native.fuzz_seeds $(FUZZ)/seeds
	mkdir -p $(FUZZ)/corpus
	$(FUZZ)/tests/fuzz_loader -max_total_time=$(SECONDS) -max_len=16384 -timeout=10 -print_final_stats=1 \
	  -dict=native/tests/fuzz_loader.dict -artifact_prefix=$(FUZZ)/ $(FUZZ)/corpus $(FUZZ)/seeds

# Wheels into dist/: for this machine, and for 64-bit ARM with Debian's cross compiler (g++-aarch64-linux-gnu).
WHEEL := $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
wheels: $(VENV)/run.stamp
	PATH=$(CURDIR)/$(BIN):$$PATH $(WHEEL)
	PATH=$(CURDIR)/$(BIN):$$PATH _PYTHON_HOST_PLATFORM=linux-aarch64 \
	  SETUPTOOLS_EXT_SUFFIX=$$($(BIN)/python -c 'import sys; print(".cpython-%d%d-aarch64-linux-gnu.so" % sys.version_info[:2])') \
	  CMAKE_TOOLCHAIN_FILE=$(CURDIR)/native/cmake/aarch64-linux-gnu.cmake $(WHEEL)

clean:
	rm -rf $(VENV) runs .cache build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "codling needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The engine is compiled by what the lock pins, not in an environment of pip's own; and again when its sources change.
ENGINE := native/CMakeLists.txt $(wildcard native/*/*.cpp native/*/*.hpp)
$(VENV)/run.stamp: requirements.lock requirements-build.lock pyproject.toml $(ENGINE) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-build.lock
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@
