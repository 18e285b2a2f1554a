# make course   run all notebooks       DATA_DIR=folder EPOCHS=n RUNS=folder PARAMS="-p lr 0.1 ..."
# make test     lint and tests
# make lab      open JupyterLab
# make saved    run all notebooks at full scale and keep their outputs, figures and records

# On shared cores, threads that wait soon give way: much faster beside another busy process.
export GOMP_SPINCOUNT ?= 3000
PYTHON ?= python3
RUNS ?= runs
BIN := .venv/bin
RECIPES := 01_batch_norm_l1_l2 02_group_norm_l1 03_layer_norm_l2
RUN_NAMES := bn_l1_l2 gn_l1 ln_l2
RECORDS := $(RUN_NAMES:%=runs/%/record.json)
RUNS_PARAM := $(if $(filter-out runs,$(RUNS)),-p runs_dir $(RUNS))
EPOCHS_PARAM := $(if $(EPOCHS),-p epochs $(EPOCHS))
# The notebooks' printed lines go to the terminal; their progress bars would fill the saved pages.
PAPERMILL := PYTHONUNBUFFERED=1 TQDM_DISABLE=1 $(BIN)/papermill --no-progress-bar --log-level WARNING --stdout-file -
STRIP := $(BIN)/nbstripout --keep-output --keep-count --extra-keys \
	"metadata.papermill cell.metadata.papermill cell.metadata.execution metadata.widgets \
	metadata.language_info.version metadata.language_info.codemirror_mode"

.PHONY: course test lab saved notebooks

course: $(BIN)/ready
	@$(MAKE) --no-print-directory notebooks IMAGES=$(RUNS)/images
	@echo "== pages"
	@$(BIN)/jupyter nbconvert --log-level WARN --to html $(RUNS)/*.ipynb
	@echo "== done: notebooks and pages in $(RUNS)/, figures in $(RUNS)/images/"
	@grep -l '"source": "sample"' $(RUNS)/*/record.json | sed 's/$$/ is of the 5,000-digit SAMPLE/'

# Runs every notebook into $(RUNS). Defaults are not passed on: a passed one becomes a cell.
notebooks:
	@mkdir -p $(RUNS)
	@for name in 00_normalization_by_hand $(RECIPES) 04_summary; do echo "== $$name"; \
		case $$name in \
			00*) set --;; \
			04*) set -- $(RUNS_PARAM) $(if $(IMAGES),-p images_dir $(IMAGES));; \
			*) set -- $(RUNS_PARAM) $(EPOCHS_PARAM) $(PARAMS);; \
		esac; \
		$(PAPERMILL) notebooks/$$name.ipynb $(RUNS)/$$name.ipynb "$$@" || exit 1; done

saved: $(BIN)/ready
	@$(MAKE) --no-print-directory notebooks RUNS=runs
	@! grep -l '"source": "sample"' $(RECORDS) || { echo "set DATA_DIR to the full data"; exit 1; }
	@mkdir -p results/mnist_7k
	@for run in $(RUN_NAMES); do cp runs/$$run/record.json results/mnist_7k/$$run.json; done
	@cp runs/*.ipynb notebooks/
	@$(STRIP) notebooks/*.ipynb

test: $(BIN)/ready
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q

lab: $(BIN)/ready
	$(BIN)/jupyter lab notebooks

$(BIN)/ready: requirements.txt
	@echo "== installing into .venv (PyTorch is large: some minutes)"
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
