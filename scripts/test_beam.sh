#!/usr/bin/env bash
# Tests `bertjax prepare --runner beam` on Beam's own runner for one machine.
#
#   scripts/test_beam.sh [arguments of pytest]
#
# In an environment of its own, .venv-beam, for apache-beam wants older protobuf and pyarrow; the
# versions are those of scripts/constraints/beam.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

wanted=$(cat setup.cfg pyproject.toml scripts/constraints/beam.txt | cksum)
if [[ $(cat .venv-beam/installed 2>/dev/null) != "$wanted" ]]; then
    echo "Setting up .venv-beam (once; a few minutes)"
    rm -rf .venv-beam
    python=$(find_python)
    "$python" -m venv .venv-beam
    .venv-beam/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint scripts/constraints/beam.txt --editable '.[beam]' pytest hypothesis
    echo "$wanted" >.venv-beam/installed
fi
.venv-beam/bin/python -m pytest tests/text/test_beam.py "$@"
