#!/usr/bin/env bash
# Pretrains to the end on slices that may be taken away: asks for one, installs, starts, looks every
# minute, and does it all again after a preemption. bertjax resumes from RUN's last checkpoint. A
# training that logs nothing for half an hour is killed and counts as a crash. What bertjax says is
# wrong with the command ends this, as do a third crash without an hour and a half of training
# between, and half an hour in which gcloud, or ssh to a slice that is ready, does not answer.
#
#   scripts/tpu/watch.sh --project ID --zone ZONE --name NAME --topology v5e:4x4 --spot \
#       --data gs://BUCKET/data/en --run gs://BUCKET/runs/base configs/base_two_phase.py [--train.seed=1 ...]
#
# Runs on any machine that stays on; stop it and start it again as you like, as the same user (each
# has a home of its own on the slice). It installs the commit that is checked out when it starts. When
# training has finished it ends with 0 and leaves the slice: delete.sh ends what it costs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/common.sh"
read_settings "$@"
command=(${rest[@]+"${rest[@]}"})
read_training  # what is wrong with it is told before anything costs
# A commit in between does not change a run on its way.
commit=$(git -C "$here" rev-parse --verify --quiet "${BERTJAX_COMMIT:-HEAD}^{commit}" 2>/dev/null) ||
    [[ -n $DRY_RUN && -z ${BERTJAX_COMMIT:-} ]] ||
    fail "no commit ${BERTJAX_COMMIT:-HEAD} in git here, and install.sh sends what is committed"
export BERTJAX_COMMIT=${commit:-HEAD}

crashes=0 begun=""
running=0 unanswered=0  # looks, one a minute, since the last crash, and in a row

begin() {
    "$here/install.sh" && "$here/pretrain.sh" "${command[@]}" && begun=1
}

give_up() {
    on_workers 0 "bash bertjax/scripts/tpu/worker.sh log" || true
    echo "${0##*/}: training failed; the last lines of its log are above" >&2
    exit 1
}

no_answer() {  # gcloud|slice
    unanswered=$((unanswered + 1))
    [[ $unanswered -ge ${PATIENCE_LOOKS:-30} ]] || return 0
    [[ $1 != slice ]] || read_state vm
    case $STATE in
        MISSING | PREEMPTED | TERMINATED | STOPPED | FAILED)
            echo "$(date +%T) $NAME: $STATE; asking for another"
            unanswered=0
            "$here/delete.sh" || true
            ;;
        *)
            echo "${0##*/}: no answer $unanswered times, state ${STATE:-empty}: look at it, and start this again" >&2
            exit 1
            ;;
    esac
}

look() {  # at a slice that is there
    local status
    if [[ -n $DRY_RUN ]]; then
        on_workers 0 "bash bertjax/scripts/tpu/worker.sh status $folder"
        begin
        return
    fi
    status=$(on_workers 0 "bash bertjax/scripts/tpu/worker.sh status $folder || echo absent") ||
        status=unreachable
    echo "$(date +%T) $NAME: $status"
    if [[ $status == unreachable ]]; then
        no_answer slice
        return
    fi
    unanswered=0
    if [[ $status == *running ]]; then
        begun=1
        running=$((running + 1))
        [[ $running -lt ${FORGIVE_LOOKS:-90} ]] || crashes=0  # an hour, and the half that may be a hang
    elif [[ -z $begun && $status != *stalled && $status != *other ]]; then
        status=absent  # how another command ended says nothing about this one
    fi
    case $status in
        *finished) exit 0 ;;
        *other)
            echo "${0##*/}: a training with another --run is on $NAME; let it end, or end it:" >&2
            DRY_RUN=1 on_workers all "bash bertjax/scripts/tpu/worker.sh end" >&2
            exit 1
            ;;
        *failed) give_up ;;
        *crashed | *stalled)  # a host that breaks ends all; so does a bug, again and again
            crashes=$((crashes + 1)) running=0
            [[ $crashes -lt 3 ]] || give_up
            [[ $status != *stalled ]] ||
                on_workers all "bash bertjax/scripts/tpu/worker.sh end" || true
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
            unanswered=0
            crashes=0 running=0  # hosts that break as their slice is taken away tell nothing about a bug
            "$here/create.sh" || {
                [[ $? -ne 2 ]] || exit 2
                echo "$(date +%T) $NAME: not created; trying again"
            }
            ;;
        FAILED | SUSPENDED | PREEMPTED | TERMINATED | STOPPED)
            echo "$(date +%T) $NAME: $STATE; asking for another"
            unanswered=0
            "$here/delete.sh" || true
            ;;
        UNKNOWN) echo "$(date +%T) $NAME: gcloud cannot tell" && no_answer gcloud ;;
        *) unanswered=0 && echo "$(date +%T) $NAME: $STATE" ;;
    esac
    [[ -z $DRY_RUN ]] || break
    sleep "${POLL_SECONDS:-60}"
done
look
"$here/delete.sh"
