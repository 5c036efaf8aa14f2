# shellcheck shell=bash
# Sourced by the other scripts: makes the virtual environment .venv, or finds it as it was left.
#
#   source scripts/environment.sh; prepare_environment EXTRA [EXTRA ...]
#
# Takes the Python that runs as python3 if it is 3.11 or later (PYTHON=... names another), and the
# versions pinned in scripts/constraints. A second call with nothing changed takes no time.

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "bertjax needs Python 3.11 or later; set PYTHON to one" >&2
    exit 2
}

make_virtual_environment() {
    if [[ -f .venv/pyvenv.cfg ]] && .venv/bin/python -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf .venv  # what an interrupted run left
    local python
    python=$(find_python)
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "$python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 2
    fi
}

prepare_environment() {
    local python version constraints wanted extra extras missing=()
    if [[ -x .venv/bin/python ]]; then
        python=.venv/bin/python
    else
        python=$(find_python)
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    constraints=scripts/constraints/3.12.txt
    [[ $version == 3.11 ]] && constraints=scripts/constraints/3.11.txt

    # .venv/installed holds a line that changes with what is wanted, and one line per extra.
    wanted="$(cat setup.cfg pyproject.toml "$constraints" | cksum) $PWD"
    if ! grep -qsxF "$wanted" .venv/installed; then
        rm -f .venv/installed
    fi
    for extra in base "$@"; do
        grep -qsx "$extra" .venv/installed || missing+=("$extra")
    done
    if [[ ${#missing[@]} -eq 0 ]]; then
        return
    fi
    extras=$(IFS=,; echo "$*")
    echo "Setting up .venv with Python $version (once; a few minutes)"
    make_virtual_environment
    # Without the option a pip as old as Debian's builds seqeval by its setup.py alone, and fails.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 \
        --constraint "$constraints" --editable ".${extras:+[$extras]}"
    printf '%s\n' "$wanted" base "$@" > .venv/installed
}
