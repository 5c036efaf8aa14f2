#!/usr/bin/env bash
# Asks for a TPU slice and waits until it is there; finds one of that name that is there already.
#
#   scripts/tpu/create.sh --project ID --zone ZONE --name NAME --topology v5e:4x4 [--spot]
#   ... --track alpha --create-options '--reservation=NAME --provisioning-model=reservation-bound'
#
# Ctrl-C ends the waiting, not the request; delete.sh ends that.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
read_settings "$@"
no_more_arguments

[[ $TOPOLOGY =~ ^(v4|v5p|v5e|v6e):([0-9]+)x([0-9]+)(x[0-9]+)?$ ]] || {
    [[ $TOPOLOGY != tpu7x* && $TOPOLOGY != v7x* ]] ||
        fail "--topology $TOPOLOGY: the Cloud TPU API ends with v6e; use GKE (scripts/gke)"
    [[ ! $TOPOLOGY =~ ^v[0-9]+[a-z]*-[0-9]+$ ]] ||
        fail "--topology $TOPOLOGY: write the shape in chips, as in v5e:4x4 (v5litepod-16) or v4:2x2x4 (v4-32)"
    fail "--topology ${TOPOLOGY:-is missing}: write one such as v4:2x2x2, v5e:4x4, v5p:2x2x2 or v6e:4x4"
}
kind=${BASH_REMATCH[1]} shape=${TOPOLOGY#*:} chips=$((BASH_REMATCH[2] * BASH_REMATCH[3]))
dimensions=2
[[ -z ${BASH_REMATCH[4]} ]] || dimensions=3
# Shapes and names: https://cloud.google.com/tpu/docs/v4, v5e, v5p and v6e; images:
# https://cloud.google.com/tpu/docs/runtimes (November 2026).
case $kind-$dimensions in
    v4-3) slice=(--type=v4 "--topology=$shape") image=tpu-ubuntu2204-base ;;
    v5p-3) slice=(--type=v5p "--topology=$shape") image=v2-alpha-tpuv5 ;;
    v5e-2) slice=("--accelerator-type=v5litepod-$chips") image=v2-alpha-tpuv5-lite ;;
    v6e-2) slice=("--accelerator-type=v6e-$chips") image=v2-alpha-tpuv6e ;;
    *) fail "--topology $TOPOLOGY: v4 and v5p have three dimensions, v5e and v6e two" ;;
esac
image=${RUNTIME_VERSION:-$image}
# So that the roles of its account alone say what the slice may do, such as write to a bucket.
options=(--scopes=https://www.googleapis.com/auth/cloud-platform)
[[ -z $SPOT ]] || options+=(--spot)
[[ -z $SERVICE_ACCOUNT ]] || options+=("--service-account=$SERVICE_ACCOUNT")
read -ra more <<< "$CREATE_OPTIONS"
options+=(${more[@]+"${more[@]}"})

read_state
[[ $STATE != UNKNOWN ]] || exit 1
if [[ $STATE == MISSING && -n $DIRECT ]]; then
    run "${tpus[@]}" tpu-vm create "$NAME" "${where[@]}" "${slice[@]}" \
        "--version=$image" "${options[@]}"
elif [[ $STATE == MISSING ]]; then
    run "${tpus[@]}" queued-resources create "$NAME" "${where[@]}" "--node-id=$NAME" \
        "${slice[@]}" "--runtime-version=$image" "${options[@]}"
fi
[[ -z $DRY_RUN ]] || exit 0

while :; do
    read_state
    echo "$(date +%T) $NAME: $STATE"
    case $STATE in
        ACTIVE | READY) exit 0 ;;
        MISSING | FAILED | SUSPENDED | PREEMPTED | TERMINATED | STOPPED)
            echo "${0##*/}: $NAME will not come; delete.sh removes what is left of it" >&2
            exit 1
            ;;
    esac
    sleep "${POLL_SECONDS:-30}"
done
