#!/usr/bin/env bash
# Shows what a worker logged, follows it, or fetches the logs of all workers.
#
#   scripts/tpu/logs.sh --project ID --zone ZONE --name NAME [--worker 0] [--follow | --output FOLDER]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
read_settings "$@"

worker=0 follow="" output=""
while [[ ${#rest[@]} -gt 0 ]]; do
    case ${rest[0]} in
        --follow) follow=-f ;;
        --worker | --output)
            [[ ${#rest[@]} -gt 1 ]] || fail "${rest[0]} needs a value"
            if [[ ${rest[0]} == --worker ]]; then worker=${rest[1]}; else output=${rest[1]}; fi
            rest=("${rest[@]:1}")
            ;;
        *) fail "unknown argument ${rest[0]}" ;;
    esac
    rest=("${rest[@]:1}")
done
[[ $worker =~ ^[0-9]+$ ]] || fail "--worker $worker: a number from 0"
[[ -z $output || -z $follow ]] || fail "--output fetches what is there: leave --follow out"

if [[ -n $output ]]; then
    # gcloud's own --output-directory writes into a folder named None in some releases (578)
    describe=("${tpus[@]}" tpu-vm describe "$NAME" "${where[@]}" "--flatten=networkEndpoints[]"
        "--format=value(networkEndpoints.ipAddress)")
    run mkdir -p "$output"
    if [[ -n $DRY_RUN ]]; then
        show "${describe[@]}"
        on_workers 0 "cat bertjax-run/log"
        exit 0
    fi
    workers=$("${describe[@]}" | wc -l) missing=0
    [[ $workers -gt 0 ]] || fail "$NAME has no workers"
    for ((worker = 0; worker < workers; worker++)); do
        if on_workers "$worker" "cat bertjax-run/log" >"$output/$worker.part"; then
            mv "$output/$worker.part" "$output/$worker.log"
        else
            rm -f "$output/$worker.part"
            echo "${0##*/}: worker $worker has not answered" >&2
            missing=1
        fi
    done
    exit "$missing"
else
    on_workers "$worker" "tail -n 100 ${follow:+$follow }bertjax-run/log"
fi
