# Every target sets up what it needs: Python 3.11+, git and make are enough. The tests of other
# languages' workers also want Node.js, those of answers on disk strace; without them they are skipped
# and say so.
SHELL := /bin/bash
# Tests start many programs: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := clients services tests bench examples
GENERATED := clients/python/coord/v1
SETUP := $(VENV)/.ready

define generate
	mkdir -p $(1)
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) \
	  --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --mypy_grpc_out=quiet:$(1) \
	  proto/coord/v1/*.proto
	rm -f $(1)/coord/v1/{admission,claims,common}_pb2_grpc.py*
endef

.PHONY: help setup lint fix proto test coverage crash crash-limits crash-queue crash-worktrees faults faults-coordinator faults-merging fuzz-merge graphs-queue model-queue simulate simulate-forever soak demo bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(SETUP) ## Make the virtual environment

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: $(SETUP) ## Check style, types, layers, the contract and its generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(call generate,$(VENV)/proto)
	diff -r -x __pycache__ -x __init__.py $(VENV)/proto/coord/v1 $(GENERATED) || { echo "run: make proto"; exit 1; }

fix: $(SETUP) ## Mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

proto: $(SETUP) ## Generate the Python code of the contract
	rm -f $(GENERATED)/*_pb2*
	$(call generate,clients/python)

test: $(SETUP) ## Run the tests
	$(BIN)/pytest --numprocesses 3 --dist loadgroup

coverage: $(SETUP) ## Say which lines of the services no test runs
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses 3 --dist loadgroup --timeout 480
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --show-missing --fail-under 95

crash: $(SETUP) ## Damage the demo and its machine at random, RUNS=20 times embedded and split
	$(BIN)/python -m tests.crash.campaign --runs $(or $(RUNS),20)

crash-queue: $(SETUP) ## Kill the queue at full speed, KILLS=100 times
	$(BIN)/python -m tests.crash.queue_campaign --kills $(or $(KILLS),100)

crash-limits: $(SETUP) ## Kill limiter and ledger at full speed, KILLS=100 times each
	$(BIN)/python -m tests.crash.limits_campaign --kills $(or $(KILLS),100)

crash-worktrees: $(SETUP) ## Kill the services while agents misbehave in worktrees, HISTORIES=500 times
	$(BIN)/python -m tests.crash.worktree_campaign --histories $(or $(HISTORIES),500)

faults-coordinator: $(SETUP) ## Break what workers and coordinator say: SCHEDULES=10000 and RACES=500 simulated, SOCKETS=200 real
	$(BIN)/python -m tests.simulation.campaign conversation --histories $(or $(SCHEDULES),10000)
	$(BIN)/python -m tests.simulation.campaign stealing --histories $(or $(RACES),500)
	$(BIN)/python -m tests.crash.conversation_campaign --schedules $(or $(SOCKETS),200)

fuzz-merge: $(SETUP) ## Compare the radar with git's own merge on PAIRS=10000 random pairs
	$(BIN)/python -m tests.integration.merge_fuzz --pairs $(or $(PAIRS),10000)

graphs-queue: $(SETUP) ## Drain graphs of up to 100,000 tasks
	COORD_FULL_GRAPHS=1 $(BIN)/pytest tests/contract/test_queue_graphs.py --durations 5 --timeout 600

model-queue: $(SETUP) ## Compare the queue with its model in EXAMPLES=2000 random histories
	$(BIN)/python -m tests.simulation.queue_machine --examples $(or $(EXAMPLES),2000)

faults-merging: $(SETUP) ## Break what the merge queue works with in HISTORIES=1000 simulated histories
	$(BIN)/python -m tests.simulation.campaign merging --histories $(or $(HISTORIES),1000)

soak: $(SETUP) ## Look whether a host stays as it is under steady work for MINUTES=60
	$(BIN)/python -m bench.soak $(or $(MINUTES),60)

simulate: $(SETUP) ## Simulate the whole from SEED=0 on for HOURS=1 of virtual time
	$(BIN)/python -m tests.simulation.simulate --seed $(or $(SEED),0) --hours $(or $(HOURS),1)

simulate-forever: $(SETUP) ## Simulate the whole from SEED=0 on until a history breaks
	$(BIN)/python -m tests.simulation.simulate --seed $(or $(SEED),0) --hours inf

faults: $(SETUP) ## Put faults in on purpose, each in HOURS=6 of simulated time, and write down which are caught
	$(BIN)/python -m tests.simulation.fault_table --hours $(or $(HOURS),6) --write docs/simulation.md

demo: $(SETUP) ## Run the main job on a small project with scripted agents
	$(BIN)/python -m demo.run

$(VENV)/.bench: $(SETUP)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $@

bench bench-coordinator bench-limits bench-queue: $(VENV)/.bench

bench: ## Run all benchmark suites, and write their figures into docs/benchmarks.md
	GRPC_VERBOSITY=ERROR $(BIN)/python -m bench
	$(BIN)/python -m bench.document

bench-%: $(SETUP) ## Run one benchmark suite, such as bench-spine
	GRPC_VERBOSITY=ERROR $(BIN)/python -m bench $*

clean: ## Remove what the targets made
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache bench/out
