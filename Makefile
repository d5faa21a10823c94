# README's two commands. Everything they install goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Names in templates hold spaces, which make cannot have in a name.
SOURCES := pyproject.toml CMakeLists.txt $(shell find adapter_sdk csrc plugins conformance tests/faults/adapter_faults \
  -not -path '*{*' \( -name '*.py' -o -name '*.cc' -o -name '*.cpp' -o -name '*.h' -o -name '*.inc' -o -name '*.toml' \
  -o -name '*.txt' -o -name '*.cmake*' -o -name '*.j2' -o -name '*.jinja' -o -name '*.css' -o -name '*.js' \))

.PHONY: install conform test docs screenshots lint clean

install: $(STAMP)

# The SDK first becomes a wheel in dist/: it is on no index, and the isolated build of a plugin has to find it.
$(STAMP): $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist --find-links dist ./plugins/refchip
	$(BIN)/pip install --quiet --find-links dist 'adapter-sdk[conform,new,models,diffusion,dev,docs]'
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/adapter_*.whl
	$(BIN)/pip install --quiet --find-links dist adapter-refchip
	touch $@

conform: install
	$(BIN)/adapter-conform --plugin refchip --profile smoke --out out

test: conform
	$(BIN)/pytest

docs: install
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs

# The pictures in docs/images, from runs of refchip; needs Chromium.
screenshots: conform
	$(BIN)/python tools/screenshots.py out/report.html docs/images

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files '*.cc' '*.cpp' '*.h' '*.c' | xargs $(BIN)/clang-format --dry-run --Werror

clean:
	rm -rf $(VENV) dist build out
