# Two commands do all the set-up: `make quickstart` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help quickstart test check chaos tour bench bench-server clean

help:
	@echo "make quickstart   install, then build the example dataset offline into out/airports"
	@echo "make test         install with the test tools, then run the tests"
	@echo "make check        lint and types"
	@echo "make chaos        a hundred random kill -9, each followed by a resume"
	@echo "make tour         server, worker, schedule, chain, failure, resume; pictures for docs/tour.md"
	@echo "make bench        the benchmarks, as a table with ratios; ONLY=1,2 some rows of it, RUNS=3 fewer runs"
	@echo "make bench-server the results server's benchmark"

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test]"
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/prefect-datagen build examples/airports/dataset.yaml -n 20 -o out/airports --offline --seed 7
	@echo "look at it: $(BIN)/python -c \"import pandas; print(pandas.read_parquet('out/airports/data'))\""

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chaos: $(VENV)/.installed-test
	DATAGEN_CHAOS_KILLS=100 $(BIN)/python -m pytest -q tests/reliability -m chaos

tour: $(VENV)/.installed-test
	$(BIN)/python -m tests.tour

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.run $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS))

bench-server: $(VENV)/.installed-test
	$(BIN)/python benchmarks/server.py

clean:
	rm -rf $(VENV) out
