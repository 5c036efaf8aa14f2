#!/usr/bin/env bash
# Pretrains to the end on slices that may be taken away: asks for one, installs, starts, looks every
# minute, and does it all again after a preemption. bertjax resumes from RUN's last checkpoint. What
# it says is wrong with the command ends this, as does a third crash without an hour of training
# between.
#
#   scripts/tpu/watch.sh --project ID --zone ZONE --name NAME --topology v5e:4x4 --spot \
#       --data gs://BUCKET/data/en --run gs://BUCKET/runs/base configs/base.py [--train.seed=1 ...]
#
# Runs on any machine that stays on; stop it and start it again as you like. When training has
# finished it ends with 0 and leaves the slice: delete.sh ends what it costs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/common.sh"
read_settings "$@"
command=(${rest[@]+"${rest[@]}"})
DRY_RUN=1 "$here/pretrain.sh" ${command[@]+"${command[@]}"} >/dev/null  # told before anything costs

crashes=0 running=0 begun=""  # running: looks, one a minute

begin() {
    "$here/install.sh" && "$here/pretrain.sh" "${command[@]}" && begun=1
}

give_up() {
    on_workers 0 "bash bertjax/scripts/tpu/worker.sh log" || true
    echo "${0##*/}: training failed; the last lines of its log are above" >&2
    exit 1
}

look() {  # at a slice that is there
    local status
    if [[ -n $DRY_RUN ]]; then
        on_workers 0 "bash bertjax/scripts/tpu/worker.sh status"
        begin
        return
    fi
    status=$(on_workers 0 "bash bertjax/scripts/tpu/worker.sh status || echo absent") || status=unreachable
    echo "$(date +%T) $NAME: $status"
    if [[ $status == *running ]]; then
        begun=1
        running=$((running + 1))
        [[ $running -lt 60 ]] || crashes=0
    elif [[ -z $begun && $status != unreachable ]]; then
        status=absent  # how another command ended says nothing about this one
    fi
    case $status in
        *finished) exit 0 ;;
        *failed) give_up ;;
        *crashed)  # a host that breaks ends the training on all; so does a bug, again and again
            crashes=$((crashes + 1)) running=0
            [[ $crashes -lt 3 ]] || give_up
            begin || echo "$(date +%T) $NAME: not started; trying again"
            ;;
        *absent | *stopped) begin || echo "$(date +%T) $NAME: not started; trying again" ;;
    esac
}

while :; do
    read_state
    case $STATE in
        ACTIVE | READY) look ;;
        MISSING)
            crashes=0  # hosts that break as their slice is taken away tell nothing about a bug
            "$here/create.sh" || {
                [[ $? -ne 2 ]] || exit 2
                echo "$(date +%T) $NAME: not created; trying again"
            }
            ;;
        FAILED | SUSPENDED | PREEMPTED | TERMINATED | STOPPED)
            echo "$(date +%T) $NAME: $STATE; asking for another"
            "$here/delete.sh" || true
            ;;
        *) echo "$(date +%T) $NAME: $STATE" ;;
    esac
    [[ -z $DRY_RUN ]] || break
    sleep "${POLL_SECONDS:-60}"
done
look
"$here/delete.sh"
