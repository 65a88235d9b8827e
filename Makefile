.PHONY: help book instructor students slides sheets assignments grader pdf style check test bounds fuzz long mutants threads twice shuffled colab lab clean tidy stamp
PYTHON ?= python3
BIN := .venv/bin
LOWEST := .venv-bounds/bin
export OMP_NUM_THREADS ?= 1

help:
	@echo "make book    build the book into _build/html"
	@echo "make check   style, types, laws of imports, fast tests: before each commit (CHAPTER=depth: one chapter's)"
	@echo "make test    build the book with warnings as errors, then run every check and every test"
	@echo "make bounds  the library's tests at the lowest versions it promises (not part of make test)"
	@echo "make fuzz    10,000 hostile calls of the library (some minutes; not part of make test)"
	@echo "make long    hunts for a violated bound, memory at large sizes (half an hour; not part of make test)"
	@echo "make mutants 300 small changes to the code: does a test notice each? (hours; resumes; not part of make test)"
	@echo "make threads one, two and four threads give the same verdicts (not part of make test)"
	@echo "make twice   every cell of every page runs twice and says the same (not part of make test)"
	@echo "make shuffled  the fast tests in random order (SEED=1 for another)"
	@echo "make colab   every notebook twice from a bare folder, at Colab's versions (not part of make test)"
	@echo "make pdf     print the built book: one PDF, and one for each page (needs Chromium)"
	@echo "make instructor  the book with all solutions, into _build/instructor"
	@echo "make students    the notebooks without solutions, into _build/students"
	@echo "make slides  a deck for each lecture of the plans on the teachers' page, into _build/slides"
	@echo "make sheets  exercises, solutions and the cheat sheet as PDF, into _build/sheets (needs Chromium)"
	@echo "make assignments  an nbgrader course with an assignment for each chapter, into _build/course"
	@echo "make grader  try one assignment from beginning to end, with nbgrader in .venv-grader"
	@echo "make lab     open the chapters in JupyterLab"
	@echo "make tidy    strip outputs from the notebooks"
	@echo "make stamp   write the repository's address into the chapters (for Colab)"
	@echo "make clean   remove everything that was built, the environments included"

# --no-compile: most of what is installed is never imported, and compiling it takes a minute.
.venv/ready: requirements.txt pyproject.toml book/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=...")'
	@echo "Setting up .venv (one to two minutes, 2 GB on disk) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	@touch $@

book: .venv/ready
	@echo "Executing the chapters (only those that changed) ..."
	@$(BIN)/python book/_ext/execute_book.py
	@echo "Building the pages ..."
	@$(BIN)/jupyter-book build . --quiet $(BOOK_FLAGS)
	@echo "The book: $(CURDIR)/_build/html/index.html"

instructor: export BOOK_EDITION = instructor
instructor: .venv/ready
	@$(BIN)/python book/_ext/execute_book.py
	@$(BIN)/jupyter-book build . --quiet --path-output _build/instructor
	@echo "With solutions: $(CURDIR)/_build/instructor/_build/html/index.html"

students: .venv/ready
	@$(BIN)/python book/_ext/editions.py

slides: .venv/ready
	@echo "Executing the chapters (only those that changed) ..."
	@$(BIN)/python book/_ext/execute_book.py
	@$(BIN)/python book/_ext/slides.py

sheets: .venv/ready
	@$(BIN)/python book/_ext/sheets.py

assignments: .venv/ready
	@$(BIN)/python book/_ext/assignments.py

# nbgrader wants an older notebook server than the book: its own environment, the book's kernel.
.venv-grader/ready:
	@$(PYTHON) -m venv --clear .venv-grader
	@.venv-grader/bin/pip install --quiet --disable-pip-version-check nbgrader==0.9.6
	@touch $@

grader: .venv-grader/ready assignments
	@.venv-grader/bin/python tests/grade.py _build/course

pdf: book
	@echo "Printing the pages ..."
	@$(BIN)/python book/_ext/pdf.py

style: .venv/ready
	@echo "Style, types, laws of imports ..."
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

check: style
	@echo "Fast tests ..."
	@$(BIN)/python -m pytest -q -n 2 $(if $(CHAPTER),tests/evidence/test_$(CHAPTER).py,-m "not slow and not browser")

test: BOOK_FLAGS = --all -W -n --keep-going
test: style book
	@echo "Every test ..."
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup
	@echo "Everything passed."

# Its own environment: python3.11, the lower bounds of pyproject.toml and nothing newer.
.venv-bounds/ready: pyproject.toml
	@echo "Setting up .venv-bounds (some minutes: an old torch brings several GB on Linux) ..."
	@python3.11 -m venv --clear .venv-bounds
	@$(LOWEST)/python -c 'import tomllib; print(*(d.replace(">=", "==") + ".*" for d in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]), sep="\n")' > .venv-bounds/lowest.txt
	@$(LOWEST)/pip install --quiet --disable-pip-version-check -c .venv-bounds/lowest.txt -e '.[test]'
	@touch $@

bounds: .venv-bounds/ready
	@cat .venv-bounds/lowest.txt
	@$(LOWEST)/python -m pytest -q -n 2 tests/lib

# Calls with odd and hostile arguments: right or refused in our own words; other calls with SEED=1.
CALLS ?= 10000
SEED ?= 0
fuzz: .venv/ready
	@$(BIN)/python tests/fuzz.py $(CALLS) --seed $(SEED)

long: .venv/ready
	@$(BIN)/python -m pytest -q -n 2 -m long

MUTANTS ?= 300
mutants: .venv/ready
	@$(BIN)/python tests/mutants.py --number $(MUTANTS) --seed $(SEED) --workers 2

threads twice: .venv/ready
	@$(BIN)/python tests/$@.py

shuffled: .venv/ready
	@SHUFFLE=$(SEED) $(BIN)/python -m pytest -q -n 2 -m "not slow and not browser"

# What Colab has installed; the set-up cell must find everything there.
COLAB := numpy==2.1.3 scipy==1.16.3 torch==2.11.0 matplotlib==3.10.0 scikit-learn==1.6.1 ipywidgets==7.7.1 ipython==7.34.0
.venv-colab/ready:
	@echo "Setting up .venv-colab (some minutes; on Linux torch brings several GB) ..."
	@python3.12 -m venv --clear .venv-colab
	@.venv-colab/bin/pip install --quiet --disable-pip-version-check $(COLAB) ipykernel nbclient nbformat pillow pygments setuptools
	@touch $@

colab: .venv-colab/ready
	@PATH="$(CURDIR)/.venv-colab/bin:$$PATH" .venv-colab/bin/python book/_ext/bare.py $(NOTEBOOKS)

lab: .venv/ready
	@echo "JupyterLab opens the list of chapters; stop it with Ctrl-C."
	@$(BIN)/python book/_ext/lab.py

tidy stamp: .venv/ready
	@$(BIN)/python book/_ext/notebooks.py $@

clean:
	rm -rf .venv .venv-bounds .venv-grader .venv-colab _build build *.egg-info book/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
