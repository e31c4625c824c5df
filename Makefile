# The first call sets everything up in .venv; later calls work offline.
PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo up test test-all lint lock clean

demo: $(READY)
	.venv/bin/lakehouse demo

up: $(READY)
	.venv/bin/lakehouse up

test: $(READY)
	.venv/bin/python -m pytest -q -n auto -m "not slow" lakehouse_tests

test-all: $(READY) lint
	.venv/bin/python -m pytest -q -m slow lakehouse_tests

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/mypy lakehouse

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	.venv/bin/python -m compileall -q lakehouse
	touch $@

# Pins and hashes only: no address of an index is written. Needs uv.
lock:
	uv pip compile pyproject.toml --quiet --extra local --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --output-file requirements.txt

clean:
	rm -rf .venv .lakehouse
