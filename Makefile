# Two commands do everything: `make backtest` and `make test`. Both make their own environment in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: backtest test acceptance browser lint lowest wheel docs gallery clean

backtest: $(INSTALLED)
	$(BIN)/python run_backtest.py run $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

acceptance: $(INSTALLED)
	$(BIN)/python -m pytest -m "acceptance and not gpu" $(ARGS)

# The report's page in headless Chromium, which must be there (Debian: apt-get install chromium).
browser: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test-browser]"
	$(BIN)/python -m pytest -m browser tests/engine/report/test_browser.py $(ARGS)

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m tests.typed

# A part of the tests, in an environment of its own, with the oldest versions that setup.cfg claims.
lowest:
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable . pytest hypothesis
	build/lowest/bin/python -m pytest tests/strategies tests/engine/config tests/engine/run_dir tests/engine/trading/test_backtest.py \
		tests/models/test_clustering.py tests/test_own_policy.py tests/test_public.py -k "not in_a_simulated_market"

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

# The pages as a site in build/site, a warning being an error; its reports are there if `make gallery` made them before.
docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --strict $(ARGS)

# The commands of docs/gallery.md, run; the pictures are taken anew where Chromium is installed.
gallery: $(INSTALLED)
	$(BIN)/python -m tests.gallery

$(VENV)/.docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
