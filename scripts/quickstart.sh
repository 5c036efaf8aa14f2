#!/usr/bin/env bash
# Raw text to a trained and measured BERT on a bare machine with Python 3.11 or later: at most six
# minutes on two cores once the packages are installed.
#
#   scripts/quickstart.sh                                     on Python's own documentation
#   scripts/quickstart.sh --corpus 'books/*.txt' [--corpus ...]   on your text
#
# Safe to run again: what is finished is not done twice, what was interrupted goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
prepare_environment

name=quickstart
corpus=("$@")
if [[ $# -eq 0 ]]; then
    corpus=(--corpus python-docs)
else
    name=quickstart-$(printf '%s\n' "$@" | cksum | cut -d ' ' -f 1)
fi
data=data/$name run=runs/$name
bertjax=.venv/bin/bertjax
steps=${STEPS:-2000}
started=$SECONDS

echo "1. Text to token shards, with a vocabulary trained on them: $data"
$bertjax prepare "${corpus[@]}" --vocab-size 8192 --validation 0.05 --output "$data"

echo "2. Pretraining configs/tiny.py, shortened: $run"
$bertjax pretrain configs/tiny.py --train.steps=$steps --data "$data" --run "$run"

echo "3. Evaluation of the last checkpoint on the validation split"
$bertjax evaluate "$run" --data "$data"

echo "4. What it learned to fill in"
for text in \
    "return a new [MASK] object." \
    "the [MASK] must be a positive integer." \
    "raises an [MASK] if the file does not exist."; do
    echo "   $text"
    echo "      $($bertjax fill-mask "$run" "$text")"
done

.venv/bin/python scripts/quickstart_report.py "$data" "$run"
echo "Done in $((SECONDS - started)) seconds."
