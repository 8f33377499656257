# Written for GNU make 3.81 and newer, on Linux and macOS. Everything runs in .venv, which tools/setup.sh makes where it
# is not ready; after that no target needs the network.
.DEFAULT_GOAL := help
.PHONY: help demo panel test setup lab export refresh environment

help:
	@echo "make demo          pictures of every class from the shipped model, then a small model of your own, in outputs/demo/"
	@echo "make panel         the panel in your browser: pick a class, press a button"
	@echo "make test          every check: lint, notebooks, exports, tests"
	@echo "make setup         install into .venv (the others do it where it is needed)"
	@echo "make lab           open the lessons in JupyterLab"
	@echo "make export        clean the notebooks and write classypics/*.py from them"
	@echo "make refresh       re-run all lessons with the full budget and store their outputs; NB=07 for one of them"

environment:
	@PYTHON="$(PYTHON)" sh tools/setup.sh

setup: environment
	@echo ".venv is ready."

demo: environment
	@.venv/bin/classypics demo

panel: environment
	@.venv/bin/classypics panel

test: environment
	@.venv/bin/python -m pytest </dev/null

# A notebook runs in its own folder, so the folders for data and results are handed to it as absolute paths.
lab: environment
	@mkdir -p data outputs; \
	CLASSYPICS_DATA="$$(cd "$${CLASSYPICS_DATA:-data}" && pwd)" \
	CLASSYPICS_OUTPUTS="$$(cd "$${CLASSYPICS_OUTPUTS:-outputs}" && pwd)" \
	.venv/bin/jupyter lab --LabApp.default_url=/lab/tree/nbs/index.ipynb --LabApp.extension_manager=readonly \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None

export: environment
	@.venv/bin/nbdev_clean && .venv/bin/nbdev_export

refresh: export
	@.venv/bin/python tools/refresh.py $(NB)
