## make demo    environment, then the main job on the bundled digits data: train, export, simulate, synthesize, compare
## make test    environment, then ruff, mypy and every test but those that need a GPU or a vendor tool
## make clean   removes what the two made (not the environment; `make distclean` removes that too)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed.stamp
TORCH  := torch==2.13.0
RUN    := runs/digits-mlp
BUILD  := build/digits-mlp-pynq-z2

.DEFAULT_GOAL := help
.PHONY: help env demo test lint clean distclean

help:
	@sed -n 's/^## //p' Makefile

env: $(STAMP)

# torch first and alone: the other packages must not choose its build. Installed once, again when pyproject.toml changes.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: apt-get install python3 python3-venv" >&2; exit 3; }
	@for tool in g++ make perl; do command -v $$tool >/dev/null || \
	  { echo "$$tool not found: apt-get install g++ make perl" >&2; exit 3; }; done
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "no venv module: apt-get install python3-venv" >&2; exit 3; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/hwq doctor
	$(BIN)/hwq train digits-mlp -o $(RUN)
	$(BIN)/hwq export $(RUN) --target pynq-z2 -o $(BUILD)
	$(BIN)/hwq sim $(BUILD)
	$(BIN)/hwq synth $(BUILD)
	$(BIN)/hwq report $(BUILD) --html $(BUILD)/report.html

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not (gpu or vendor)'

clean:
	rm -rf build runs

distclean: clean
	rm -rf $(VENV)
