#!/usr/bin/env bash
# What runs on each worker of a slice; the other scripts call it there.
#
#   worker.sh install
#   worker.sh start gs://DATA gs://RUN CONFIG [--section.field=value ...]
#   worker.sh status [gs://RUN]
#                       prints: absent, running, stalled (it runs, and has logged nothing for half an
#                       hour, as is usual on all but the first worker), other (what runs has another
#                       RUN), finished, stopped (SIGTERM), failed (status 2: the command is wrong) or
#                       crashed
#   worker.sh end       kills a training that no longer answers
#   worker.sh log [N]   prints the last N lines
#
# Keeps ~/bertjax-run: log, run (RUN), exit (the exit status), lock (held while it runs), process (its
# number) and data/ (the copy of DATA, of the last one alone).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$HOME/bertjax-run
mkdir -p "$state"

install() {  # the images' Python is too old; uv brings the one that the TPU compiler was tried with
    export PATH=$HOME/.local/bin:$PATH
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
    cd "$root"
    [[ -x .venv/bin/python ]] || uv venv --quiet --python 3.11 .venv
    uv pip install --quiet --python .venv/bin/python \
        --constraint scripts/constraints/3.11.txt --editable '.[tpu,gcs]'
    .venv/bin/bertjax --help >/dev/null
    echo "$HOSTNAME: installed"
}

start() {
    case $(status "$2") in
        running | stalled) echo "$HOSTNAME: runs already" && return ;;
        other)
            echo "$HOSTNAME: $(<"$state/run") is trained here; worker.sh end ends that" >&2
            return 1
            ;;
    esac
    setsid bash "$0" run "$@" </dev/null >>"$state/log" 2>&1 &
    echo "$HOSTNAME: started; log in $state/log"
}

run() {  # detached, with the lock
    local data=$1 copy=$state/data/${1#gs://} folder=$2 code=0
    shift 2
    export TPU_LOG_DIR=disabled  # libtpu's own logs have filled workers' disks
    exec 9>"$state/lock"
    flock --timeout 5 9 || return 0  # `status` holds it for a moment too
    echo "${folder%/}" >"$state/run"
    echo $$ >"$state/process"
    rm -f "$state/exit"
    [[ -d $copy ]] || rm -rf "$state/data"
    echo "== $(date --iso-8601=seconds) bertjax pretrain $* --run $folder"
    cd "$root"
    {
        mkdir -p "$copy" &&
            gcloud storage rsync --recursive "$data" "$copy" &&
            .venv/bin/bertjax pretrain "$@" --data "$copy" --run "$folder"
    } || code=$?
    echo "$code" >"$state/exit"
    rm -f "$state/process"
}

status() {
    if [[ -f $state/lock ]] && ! flock --nonblock "$state/lock" true; then
        if [[ -n ${1:-} && -s $state/process && $(<"$state/run") != "${1%/}" ]]; then
            echo other
        elif [[ -n $(find "$state/log" -mmin +30) ]]; then
            echo stalled
        else
            echo running
        fi
    elif [[ ! -f $state/exit ]]; then
        echo absent
    else
        case $(<"$state/exit") in
            0) echo finished ;;
            143) echo stopped ;;
            2) echo failed ;;
            *) echo crashed ;;
        esac
    fi
}

end() {  # the training's whole session; what has ended by itself keeps its status
    [[ $(status) == @(running|stalled) ]] || return 0
    for _ in {1..50}; do  # it may be about to begin, or to end by itself
        [[ ! -s $state/process ]] || break
        sleep 0.1
    done
    [[ ! -s $state/process ]] || pkill -KILL --session "$(<"$state/process")" || true
    flock --timeout 10 "$state/lock" true
    rm -f "$state/process"
    [[ -f $state/exit ]] || echo 137 >"$state/exit"
}

log() {
    tail -n "${1:-50}" "$state/log"
}

case ${1:-} in
    install | start | run | status | end | log) "$@" ;;
    *) echo "worker.sh: unknown command ${1:-}" >&2 && exit 2 ;;
esac
