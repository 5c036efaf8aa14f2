#!/usr/bin/env bash
# Raw text to a trained and measured BERT on a bare machine with Python 3.11 or later: at most six
# minutes on two cores once the packages are installed.
#
#   scripts/quickstart.sh                                         on Python's own documentation
#   scripts/quickstart.sh --corpus 'books/*.txt' [--corpus ...]   on your text
#
# Safe to run again: what is finished is not done twice, what was interrupted goes on.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
steps=1600 # of the tiny configuration's schedule, shortened in proportion

corpus=(--corpus python-docs) name=quickstart
if [[ $# -gt 0 ]]; then
    if [[ $1 != --corpus || $(($# % 2)) -ne 0 ]]; then
        echo "usage: scripts/quickstart.sh [--corpus SPEC]..." >&2
        exit 2
    fi
    corpus=("$@") name=quickstart-$(printf '%s\n' "$@" | cksum | cut -d ' ' -f 1)
fi
data=$root/data/$name run=$root/runs/$name
bertjax=$root/.venv/bin/bertjax

source "$root/scripts/environment.sh"
(cd "$root" && prepare_environment)
started=$SECONDS

echo "1. Text to token shards, with a vocabulary trained on them: $data"
"$bertjax" prepare "${corpus[@]}" --vocab-size 8192 --validation 0.05 --output "$data"

echo "2. Pretraining configs/tiny.py, $steps steps: $run"
"$bertjax" pretrain tiny --data "$data" --run "$run" --train.steps="$steps"

echo "3. Evaluation of the last checkpoint on the validation split"
"$bertjax" evaluate "$run" --data "$data"

echo "4. What it learned to fill in"
for text in \
    "return a new [MASK] object." \
    "the [MASK] must be a positive integer." \
    "raises an [MASK] if the file does not exist."; do
    echo "   $text"
    echo "      $("$bertjax" fill-mask "$run" "$text")"
done

"$root/.venv/bin/python" "$root/scripts/quickstart_report.py" "$data" "$run"
echo "Done in $((SECONDS - started)) seconds."
