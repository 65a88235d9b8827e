.PHONY: help book test lab clean tidy stamp
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

help:
	@echo "make book   build the book into _build/html"
	@echo "make test   check the code, build the book and run every test"
	@echo "make lab    open the chapters in JupyterLab"
	@echo "make tidy   strip outputs from the notebooks"
	@echo "make stamp  write the repository's address into the chapters (for Colab)"
	@echo "make clean  remove everything that was built, the environment included"

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=...")'
	@echo "Setting up .venv (about a minute, 2 GB on disk) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

book: .venv/ready
	@echo "Executing the chapters (only those that changed) ..."
	@$(BIN)/python book/_ext/execute_book.py
	@echo "Building the pages ..."
	@$(BIN)/jupyter-book build . --quiet $(BOOK_FLAGS)
	@echo "The book: $(CURDIR)/_build/html/index.html"

test: book
	@echo "Checking the code ..."
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy
	@echo "Running the tests ..."
	@$(BIN)/python -m pytest -q -n 2
	@echo "Everything passed."

lab: .venv/ready
	@echo "JupyterLab opens the chapters; stop it with Ctrl-C."
	@cd book && ../$(BIN)/jupyter lab

tidy stamp: .venv/ready
	@$(BIN)/python book/_ext/notebooks.py $@

clean:
	rm -rf .venv _build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
