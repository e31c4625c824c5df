# The first call sets everything up in .venv; later calls work offline.
PYTHON ?= python3
READY := .venv/.ready
PEERS := build/peers/.ready

.PHONY: demo up test test-all lint audit bench bench-quick peers pictures docs lock clean

demo: $(READY)
	.venv/bin/lakehouse demo

up: $(READY)
	.venv/bin/lakehouse up

# Three workers on two cores: with two, a third of the cores' time was idle.
test: $(READY)
	.venv/bin/python -m pytest -q -n $$(.venv/bin/python -c "import os; print(os.cpu_count() * 3 // 2)") \
		-m "not slow" lakehouse_tests

# Most of these start a whole Dagster: two at a time, however many cores there are.
test-all: $(READY) lint
	.venv/bin/python -m pytest -q -n 2 -m slow lakehouse_tests

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/mypy lakehouse benchmarks

# Every pinned package against PyPI's list of known vulnerabilities. It fails where one of them cannot be asked about.
audit: build/audit/bin/pip-audit
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
		--requirement requirements.txt --requirement deploy/requirements.txt

build/audit/bin/pip-audit:
	$(PYTHON) -m venv --clear build/audit
	build/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1

# This project beside its peers, into docs/benchmarks.md; the quick one, in five minutes, into build/bench/quick.md.
bench: $(READY) $(PEERS)
	.venv/bin/python -m benchmarks.bench

bench-quick: $(READY) $(PEERS)
	.venv/bin/python -m benchmarks.bench --quick

peers: $(PEERS)

$(PEERS): benchmarks/peers-requirements.txt
	$(PYTHON) -m venv --clear build/peers
	build/peers/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $<
	touch $@

# The docs' pictures, of the running system and a year of flights. Needs Debian's chromium.
pictures: $(READY)
	.venv/bin/python -m lakehouse_tests.browser.pictures

docs: $(READY)
	.venv/bin/python -m mkdocs build --strict

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	.venv/bin/python -m compileall -q lakehouse
	touch $@

# Pins and hashes only. Needs uv.
lock:
	uv pip compile pyproject.toml --quiet --extra aws --extra local --extra engines --extra dashboard --extra dev --extra docs --universal \
		--python-version 3.11 \
		--generate-hashes --output-file requirements.txt
	uv pip compile pyproject.toml --quiet --extra aws --universal --python-version 3.11 --constraint requirements.txt \
		--generate-hashes --no-annotate --output-file deploy/requirements.txt
	uv pip compile benchmarks/peers-requirements.in --quiet --universal --python-version 3.11 \
		--generate-hashes --output-file benchmarks/peers-requirements.txt

clean:
	rm -rf .venv .lakehouse build
