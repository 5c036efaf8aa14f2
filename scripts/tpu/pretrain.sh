#!/usr/bin/env bash
# Starts pretraining on every worker of a slice, or finds it running. It goes on when you log out;
# an existing RUN is resumed.
#
#   scripts/tpu/pretrain.sh --project ID --zone ZONE --name NAME \
#       --data gs://BUCKET/data/en --run gs://BUCKET/runs/base configs/base_two_phase.py [--train.seed=1 ...]
#
# Each worker first copies DATA to its own disk.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
read_settings "$@"

data="" folder="" arguments=()
while [[ ${#rest[@]} -gt 0 ]]; do
    case ${rest[0]} in
        --data=*) data=${rest[0]#*=} ;;
        --run=*) folder=${rest[0]#*=} ;;
        --data | --run)
            [[ ${#rest[@]} -gt 1 ]] || fail "${rest[0]} needs a value"
            if [[ ${rest[0]} == --data ]]; then data=${rest[1]}; else folder=${rest[1]}; fi
            rest=("${rest[@]:1}")
            ;;
        *) arguments+=("${rest[0]}") ;;
    esac
    rest=("${rest[@]:1}")
done
[[ ${#arguments[@]} -gt 0 && ${arguments[0]} != -* ]] || fail "name a config first, such as configs/base_two_phase.py"
[[ $data == gs://?* ]] || fail "--data ${data:-is missing}: DATA of prepare in a bucket, gs://..."
[[ $folder == gs://?* ]] || fail "--run ${folder:-is missing}: a folder in a bucket, gs://...; the workers' disks do not outlive them"

start="bash bertjax/scripts/tpu/worker.sh start"
for word in "$data" "$folder" "${arguments[@]}"; do
    start+=" $(printf %q "$word")"
done
on_workers all "$start"
