# "make help" lists the commands. The first one that needs it installs everything into .venv.
PYTHON ?= python3
BIN := .venv/bin
RUNS ?= runs
NUMBERS := $(if $(NOTEBOOK),--notebook $(NOTEBOOK))
# A process a core with one thread each; the files in the order that tests/conftest.py gives them.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --no-loadscope-reorder

# Cores that a study's runs share: in a container fewer than the machine's, which Snakemake takes.
CORES := import joblib; print(joblib.cpu_count())

.PHONY: help course test check sizes fuzz lab study bench saved golden report regression \
	refusals survival site browser students slides publish

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 } \
		/^#~ / { printf "%16s %s\n", "", substr($$0, 4) }' Makefile

course: $(BIN)/ready  ## run all notebooks
#~ DATA_DIR=folder EPOCHS=n RUNS=folder NOTEBOOK=04 PARAMS="-p lr 0.1"
	@$(BIN)/python tools/course.py --runs $(RUNS) $(NUMBERS) $(if $(EPOCHS),--epochs $(EPOCHS)) $(PARAMS)

test: $(BIN)/dev  ## lint and all tests, some minutes
	$(BIN)/ruff check .
	$(TEST) --nbval tests

check: $(BIN)/dev  ## lint and the tests that start no notebook and no other process
	$(BIN)/ruff check .
	$(TEST) -p no:nbval -m "not slow and not survival" tests

sizes:  ## lines of code, bytes of the README: to be read by a person
	@for part in "model.py utils.py" "coursepack :!coursepack/exercises" \
			"exercises.py coursepack/exercises" tools upkeep tests "tools upkeep tests"; do \
		git ls-files $$part | grep '\.py$$' | xargs cat | wc -l | xargs printf "%7d lines  $$part\n"; \
	done
	@git ls-files 'coursepack/*.py' '*.py' | xargs wc -l | sort -rn | sed -n 2,6p
	@wc -c README.md

fuzz: $(BIN)/dev  ## 500 examples of each property that make test tries with 20
	FUZZ=1 $(TEST) --dist load -m hypothesis tests

lab: $(BIN)/ready  ## open JupyterLab
	$(BIN)/jupyter lab notebooks

study: $(BIN)/ready  ## the runs of studies/NAME.yaml that are missing, then their summary
#~ STUDY=name SNAKEMAKE="--dry-run", or any other option of snakemake
	@$(BIN)/snakemake --snakefile studies/Snakefile --config study="$(STUDY)" \
		folder="$(RUNS)/$(STUDY)" --cores $$($(BIN)/python -c "$(CORES)") --quiet rules $(SNAKEMAKE)

bench: $(BIN)/ready  ## how fast is the training here?
#~ BENCH="--parts speed" (--help for more)
	@$(BIN)/python upkeep/bench.py $(BENCH)

saved: $(BIN)/dev  ## for maintainers: notebooks at full scale, kept with figures and records
#~ DATA_DIR=folder NOTEBOOK=04
	@$(BIN)/python tools/course.py saved $(NUMBERS)

golden: $(BIN)/dev  ## for maintainers: notebooks at a small scale, kept for the tests
#~ NOTEBOOK=04
	@$(BIN)/python tools/course.py golden $(NUMBERS)

report: $(BIN)/ready  ## for maintainers: tables and figures from results/
#~ STUDY="name ..." keeps their finished runs there first
	@$(BIN)/python upkeep/report.py $(STUDY)

regression: $(BIN)/dev  ## for maintainers: do the tests notice broken mathematics, and only that?
	@$(BIN)/python upkeep/regression.py $(REGRESSION)

refusals: $(BIN)/dev  ## for maintainers: is every bad input refused, every source of images read?
	PAGE=1 $(TEST) tests/test_refusals.py tests/test_imports.py

survival: $(BIN)/dev  ## for maintainers: are kills, full disks, dead networks survived?
	$(TEST) --dist load -m survival tests

site: $(BIN)/site  ## the course as a website, in build/site
	@$(BIN)/python upkeep/website.py

browser: $(BIN)/dev site  ## the website, and its tests in a browser
	SITE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs tests/test_website.py tests/test_browser.py \
		tests/test_playground.py

slides: $(BIN)/ready  ## for teachers: a question and a figure for each section, in build/slides.pdf
	@$(BIN)/python upkeep/slides.py

students: $(BIN)/ready  ## for teachers: the course without solutions, in build/students
	@$(BIN)/python tools/students.py

publish: $(BIN)/ready  ## for maintainers: badges, and where a notebook alone fetches from
#~ REPO=owner/name REF=tag
	@$(BIN)/python upkeep/publish.py "$$REPO" "$$REF"

$(BIN)/ready: requirements.txt
	@echo "== installing into .venv (PyTorch is large: some minutes)"
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(BIN)/dev: $(BIN)/ready requirements-dev.txt
	@echo "== installing what the upkeep needs"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BIN)/site: $(BIN)/ready site/requirements.txt
	@echo "== installing what the website needs"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r site/requirements.txt
	@touch $@
