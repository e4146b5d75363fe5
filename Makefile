# Every target sets up what it needs in .venv; nothing has to be installed by hand.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Idle OpenMP threads must sleep, not spin: two spinning threads on two busy cores are up to 50 times slower.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0

.venv/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt setuptools torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/.core
	$(BIN)/pip install -q -c constraints.txt torchvision==0.28.0 -e '.[dev]'
	touch $@

.PHONY: help demo demo-service test test-slow lint bench bench-calibration bench-methods bench-language docs clean
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: .venv/.core  ## the main job: erase a customer from a model, watched
	$(BIN)/neuralyzer demo $(ARGS)

demo-service: .venv/.dev  ## the service answers three requests, and stays: its address is printed
	$(BIN)/neuralyzer demo --service --out neuralyzer-demo-service $(ARGS)

test: .venv/.dev  ## the tests, on two cores
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

test-slow: .venv/.dev  ## the slow tests: kills, soak, Ray, and those on the benchmark data (NEURALYZER_DATA)
	$(BIN)/pip install -q -c constraints.txt -e '.[ray,mlflow]'
	$(BIN)/pytest -m slow $(ARGS)

# Words that say something only to those who were there; CONTRIBUTING.md has those to use.
REFUSED := the like\b|foretold|by heart|in haste|unaimed|the coach|who is asked
lint: .venv/.dev  ## ruff, mypy --strict, the layers, the words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	! grep -rniE '$(REFUSED)' src docs README.md CONTRIBUTING.md --include='*.py' --include='*.md' --include='*.j2'

bench: .venv/.dev  ## speed and memory, as ratios in one run
	$(BIN)/python -m benchmarks $(ARGS)

bench-calibration: .venv/.dev  ## how often a verdict is wrong; pools are kept in ARGS='--workspace W'
	$(BIN)/python -m benchmarks.calibration $(ARGS)

bench-methods: .venv/.dev  ## every unlearning algorithm judged alike (ARGS=--quick: 40 minutes); kept in ARGS='--workspace W'
	$(BIN)/pip install -q --no-deps erasus==0.2.0
	$(BIN)/python -m benchmarks.methods $(ARGS)

bench-language: .venv/.dev  ## language models: trust, forgetting, cost (NEURALYZER_DATA); kept in ARGS='--workspace W'
	$(BIN)/python -m benchmarks.language $(ARGS)

docs: .venv/.dev  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove what the targets made
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
