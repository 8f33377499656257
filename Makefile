# Written for GNU make 3.81 and newer, on Linux and macOS. Everything runs in .venv, which tools/setup.sh makes where it
# is not ready; after that no target needs the network.
.DEFAULT_GOAL := help
.PHONY: help demo panel test setup lab export refresh bench environment

help:
	@echo "make demo          pictures of every class from the shipped model, then a small model of your own, in outputs/demo/"
	@echo "make panel         the panel in your browser: pick a class, press a button"
	@echo "make test          every check: lint, notebooks, exports, tests"
	@echo "make setup         install into .venv (the others do it where it is needed)"
	@echo "make lab           open the lessons in JupyterLab"
	@echo "make export        clean the notebooks and write classypics/*.py from them"
	@echo "make bench         this project against its peers, for hours; MINUTES=4 make bench is the short form"
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

# The peers go into a folder of their own, and without what they ask for: .venv has all of that which is used here, so it
# stays as the other targets want it, and nothing large is installed twice.
bench: environment
	@cmp -s bench/requirements.txt outputs/bench/lib/requirements.txt || { rm -rf outputs/bench/lib && \
	  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --target outputs/bench/lib \
	    -r bench/requirements.txt && cp bench/requirements.txt outputs/bench/lib/; }
	@PYTHONPATH="$$PWD/outputs/bench/lib$${PYTHONPATH:+:$$PYTHONPATH}" \
	.venv/bin/python bench/peers.py $${MINUTES:+--minutes "$$MINUTES"} $${DATA:+--data "$$DATA"} && \
	.venv/bin/python bench/growth.py
