# make course   run all notebooks       DATA_DIR=folder EPOCHS=n RUNS=folder PARAMS="-p lr 0.1 ..."
# make test     lint and tests
# make lab      open JupyterLab
# make saved    run all notebooks at full scale and keep their outputs, figures and records

PYTHON ?= python3
RUNS ?= runs
BIN := .venv/bin
RECIPES := 01_batch_norm_l1_l2 02_group_norm_l1 03_layer_norm_l2
EPOCHS_PARAM := $(if $(EPOCHS),-p epochs $(EPOCHS))
# The notebooks' printed lines go to the terminal; their progress bars would fill the saved pages.
PAPERMILL := TQDM_DISABLE=1 $(BIN)/papermill --no-progress-bar --log-level WARNING --stdout-file -
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

notebooks:
	@mkdir -p $(RUNS)
	@echo "== 00_normalization_by_hand"
	@$(PAPERMILL) notebooks/00_normalization_by_hand.ipynb $(RUNS)/00_normalization_by_hand.ipynb
	@for name in $(RECIPES); do echo "== $$name"; $(PAPERMILL) notebooks/$$name.ipynb \
		$(RUNS)/$$name.ipynb -p runs_dir $(RUNS) $(EPOCHS_PARAM) $(PARAMS) || exit 1; done
	@echo "== 04_summary"
	@$(PAPERMILL) notebooks/04_summary.ipynb $(RUNS)/04_summary.ipynb -p runs_dir $(RUNS) \
		-p images_dir $(IMAGES)

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
