# make course   run all notebooks       DATA_DIR=folder EPOCHS=n RUNS=folder PARAMS="-p lr 0.1 ..."
# make test     lint and tests
# make lab      open JupyterLab
# make study    STUDY=name: all runs of studies/<name>.yaml that are missing, then their summary
#               SNAKEMAKE="--dry-run" only counts them (any option of snakemake)
# make bench    how fast is the training here?  BENCH="--parts speed" (--help for more)
#
# For maintainers:
# make saved    run all notebooks at full scale; keep their outputs, figures and records
# make golden   run them at small scale; keep their outputs for "make test"
# make report   the README's results, from results/   STUDY="name ..." keeps their runs there first
# make regression            does the golden run notice broken mathematics, and only that?
# make publish REPO=owner/name REF=tag    stamp badges, and where a notebook alone fetches from

# A thread that waits spins briefly, not for ever: faster beside other processes.
export GOMP_SPINCOUNT ?= 100000
PYTHON ?= python3
RUNS ?= runs
BIN := .venv/bin
RECIPES := 01_batch_norm_l1_l2 02_group_norm_l1 03_layer_norm_l2
RUN_NAMES := bn_l1_l2 gn_l1 ln_l2
RECORDS := $(RUN_NAMES:%=runs/%/record.json)
RUNS_PARAM := $(if $(filter-out runs,$(RUNS)),-p runs_dir $(RUNS))
SUMMARY_PARAM := $(if $(SUMMARY_RUNS),-p runs_dir $(SUMMARY_RUNS),$(RUNS_PARAM))
GOLDEN := -p dataset mnist_sample -p train_size 1000 -p epochs 2 -p device cpu
EPOCHS_PARAM := $(if $(EPOCHS),-p epochs $(EPOCHS))
# The notebooks' printed lines go to the terminal; their progress bars would fill the saved pages.
PAPERMILL := PYTHONUNBUFFERED=1 TQDM_DISABLE=1 $(BIN)/papermill --no-progress-bar --log-level WARNING --stdout-file -
STRIP := $(BIN)/nbstripout --keep-output --keep-count --keep-id --extra-keys \
	"metadata.papermill cell.metadata.papermill cell.metadata.execution metadata.widgets \
	metadata.language_info.version metadata.language_info.codemirror_mode"

.PHONY: course test lab study report bench notebooks saved golden regression publish

course: $(BIN)/ready
	@$(MAKE) --no-print-directory notebooks IMAGES=$(RUNS)/images
	@echo "== pages"
	@$(BIN)/jupyter nbconvert --log-level WARN --to html --template classic $(RUNS)/*.ipynb
	@echo "== done: notebooks and pages in $(RUNS)/, figures in $(RUNS)/images/"
	@grep -l '"source": "sample"' $(RUNS)/*/record.json | sed 's/$$/ is of the 5,000-digit SAMPLE/'

# Copies the records and misclassified images of a runs folder into a folder of published ones.
keep = mkdir -p $(2); for run in $(RUN_NAMES); do cp $(1)/$$run/record.json $(2)/$$run.json; \
	cp $(1)/$$run/misclassified.npz $(2)/$$run.npz; done

# Runs every notebook into $(RUNS). Defaults are not passed on: a passed one becomes a cell.
notebooks:
	@mkdir -p $(RUNS)
	@for name in 00_normalization_by_hand $(RECIPES) 04_summary; do echo "== $$name"; \
		case $$name in \
			00*) set --;; \
			04*) $(if $(SUMMARY_RUNS),$(call keep,$(RUNS),$(SUMMARY_RUNS));) \
				set -- $(SUMMARY_PARAM) $(if $(IMAGES),-p images_dir $(IMAGES));; \
			*) set -- $(RUNS_PARAM) $(EPOCHS_PARAM) $(PARAMS);; \
		esac; \
		$(PAPERMILL) notebooks/$$name.ipynb $(RUNS)/$$name.ipynb "$$@" || exit 1; done

saved: $(BIN)/ready
	@$(MAKE) --no-print-directory notebooks RUNS=runs
	@! grep -l '"source": "sample"' $(RECORDS) || { echo "set DATA_DIR to the full data"; exit 1; }
	@$(call keep,runs,results/mnist_7k)
	@cp runs/*.ipynb notebooks/
	@$(STRIP) notebooks/*.ipynb

# The same notebooks at a small scale, whose outputs "make test" compares.
golden: $(BIN)/ready
	@rm -rf runs/golden
	@$(MAKE) --no-print-directory notebooks RUNS=runs/golden IMAGES=runs/golden/images \
		SUMMARY_RUNS=tests/golden/records PARAMS="$(GOLDEN)"
	@cp runs/golden/*.ipynb tests/golden/
	@$(STRIP) tests/golden/*.ipynb

regression: $(BIN)/ready
	@$(BIN)/python tools/regression.py

publish: $(BIN)/ready
	@$(BIN)/python tools/publish.py $(REPO) $(REF)

test: $(BIN)/ready
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q --nbval tests

lab: $(BIN)/ready
	$(BIN)/jupyter lab notebooks

# A run that fails does not stop the others; the runs share the cores.
study: $(BIN)/ready
	@$(BIN)/snakemake --snakefile studies/Snakefile --config study=$(STUDY) \
		folder=$(RUNS)/$(STUDY) --cores all --keep-going --rerun-triggers mtime params \
		--quiet rules $(SNAKEMAKE)

report: $(BIN)/ready
	@$(BIN)/python tools/report.py $(STUDY)

bench: $(BIN)/ready
	@$(BIN)/python tools/bench.py $(BENCH)

$(BIN)/ready: requirements.txt
	@echo "== installing into .venv (PyTorch is large: some minutes)"
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
