#!/usr/bin/env bash
# Everything that CI runs: linter, formatter, type checker, the whole test suite.
#
#   scripts/test.sh                 all of it
#   scripts/test.sh -m "not slow"   other arguments go to pytest: here, the quick part
#
# Sets up .venv by itself. On Python 3.11 the parity tests against PyTorch and the tests that compile
# for TPUs run too, and a skip among them fails the run; on later versions they are skipped, and the
# summary says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

extras=(test)
if [[ -x .venv/bin/python ]]; then python=.venv/bin/python; else python=$(find_python); fi
if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    extras+=(parity aot)
    export BERTJAX_REQUIRE_PARITY=1
fi
prepare_environment "${extras[@]}"

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/pyright
.venv/bin/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
