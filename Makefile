# make studio · make test · make bench · make assets        (make help says more)
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= out
XVFB := xvfb-run -a -s "-screen 0 1920x1080x24 +extension GLX"
# Without a display the studio runs on a virtual screen.
SCREEN := $(if $(DISPLAY)$(WAYLAND_DISPLAY),,$(XVFB))

.PHONY: help setup studio demo test lint bench soak assets screenshot gallery clean

help:
	@echo "make studio      set up, then open the studio (without a display: play journeys 1 and 2, write $(OUT)/demo/)"
	@echo "make test        set up, then run all checks and tests (the windows open on a virtual screen)"
	@echo "make bench       measure this machine: renderer, decoder, flow, fits, training step"
	@echo "make soak        ten minutes in the window with a fit and a training: stalls and memory to out/soak/metrics.json"
	@echo "make assets      make again what ships: the head rig, the embedded avatars, the demo inputs"
	@echo "make screenshot  make the README's picture again"
	@echo "make gallery     photograph the studio at work again (docs/gallery/)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt scripts/system_packages.sh
	@scripts/system_packages.sh
	@test -x $(BIN)/python || { python="$$(scripts/find_python.sh)" && "$$python" -m venv $(VENV); }
	@echo "Installing LiP-Flow Studio into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev]"
	@echo "Compiling the renderer (half a minute, once)"
	@$(BIN)/python -c "from lipflow.rendering import warm_up; warm_up()"
	@touch $@

studio: setup
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY),)
	@$(MAKE) --no-print-directory demo
else
	@$(BIN)/lipflow-studio
endif

demo: setup
	@$(SCREEN) $(BIN)/python -m lipflow_studio.demo --out $(OUT)/demo

# All tests run side by side, one thread each; those of windows in two processes, each on a virtual screen of its own.
test: setup lint
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest tests/core -n auto --dist loadfile
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest tests/app -n 2 --dist loadfile

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup
	@$(BIN)/lipflow bench --json $(OUT)/bench.json

soak: setup
	@rm -rf out/soak/runs
	@$(BIN)/lipflow capture synthesize --out out/soak/capture --frames 24 --cameras 6
	@$(SCREEN) $(BIN)/lipflow-studio --script scripts/soak.json --metrics out/soak/metrics.json
	@cat out/soak/metrics.json

assets: setup
	@$(BIN)/python scripts/make_assets.py

screenshot: setup
	@$(SCREEN) $(BIN)/python -m lipflow_studio.demo --out $(OUT)/demo --readme docs/studio.png

gallery: setup
	@$(SCREEN) $(BIN)/python scripts/gallery.py --out docs/gallery

clean:
	rm -rf $(OUT)
