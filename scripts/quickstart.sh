#!/usr/bin/env bash
# Raw text to a trained and measured BERT on a bare machine with Python 3.11 or later, and a labelled
# task, which shows what pretraining was worth: five to seven minutes on two cores once the
# packages are installed.
#
#   scripts/quickstart.sh                                         on Python's own documentation
#   scripts/quickstart.sh --corpus 'books/*.txt' [--corpus ...]   on your text
#
# Safe to run again: what is finished is not done twice, what was interrupted goes on. SEED=1 in the
# environment trains with another seed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The phases of configs/tiny.py, shortened: rows of 16 tokens first, rows of 128 in the end.
phase() {
    printf '{"steps": %d, "length": %d, "batch_size": %d, "learning_rate": 1.5e-3, "warmup_steps": %d}' "$@"
}
phases="[$(phase 600 16 128 100), $(phase 150 32 64 20), $(phase 150 64 32 20), $(phase 3500 128 16 20)]"

corpus=(--corpus python-docs) name=quickstart
if [[ $# -gt 0 ]]; then
    if [[ $1 != --corpus || $(($# % 2)) -ne 0 ]]; then
        echo "usage: scripts/quickstart.sh [--corpus SPEC]..." >&2
        exit 2
    fi
    corpus=("$@") name=quickstart-$(printf '%s\n' "$@" | cksum | cut -d ' ' -f 1)
fi
data=$root/data/$name run=$root/runs/$name${SEED:+-seed-$SEED}
packages=$data-packages tuned=("$run-packages-pretrained" "$run-packages-scratch")
bertjax=$root/.venv/bin/bertjax

source "$root/scripts/environment.sh"
# shellcheck disable=SC2119  # no extras
(cd "$root" && prepare_environment)
started=$SECONDS

# refused STATUS FOLDER...: what an older version of this script made is of other phases or text.
refused() {
    local status=$1 folder there=()
    shift
    for folder in "$@"; do
        [[ ! -e $folder ]] || there+=("$folder")
    done
    if [[ $status -eq 2 && -e $1 ]]; then
        printf 'If an older version made it, remove it and start again: rm -rf%s\n' \
            "$(printf ' %q' "${there[@]}")" >&2
    fi
    exit "$status"
}

echo "1. Text to token shards, with a vocabulary trained on them: $data"
"$bertjax" prepare "${corpus[@]}" --vocab-size 8192 --validation 0.05 --output "$data" \
    || refused $? "$data" "$run" "$packages" "${tuned[@]}"

echo "2. Pretraining configs/tiny.py with shorter phases: $run"
"$bertjax" pretrain tiny --data "$data" --run "$run" \
    --train.phases="$phases" --train.seed="${SEED:-0}" || refused $? "$run" "${tuned[@]}"

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

if [[ $name == quickstart ]]; then
    echo "5. Fine-tuning: which package is a paragraph about? Pretrained, then from scratch"
    [[ -f $packages/train.tsv ]] ||
        "$root/.venv/bin/python" "$root/scripts/quickstart_task.py" "$packages"
    for start in pretrained scratch; do
        options=(--run "$run-packages-$start")
        [[ $start == pretrained ]] || options+=(--scratch)
        "$bertjax" finetune python_package --init "$run" "${options[@]}" \
            --train "$packages/train.tsv" --dev "$packages/dev.tsv" \
            --train.seed="${SEED:-0}" >/dev/null || refused $? "$run-packages-$start"
    done
fi

"$root/.venv/bin/python" "$root/scripts/quickstart_report.py" "$data" "$run"
echo "Done in $((SECONDS - started)) seconds."
