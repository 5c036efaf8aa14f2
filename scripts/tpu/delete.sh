#!/usr/bin/env bash
# Deletes a slice and what is on its disks, or its place in the queue; from then on it costs nothing.
#
#   scripts/tpu/delete.sh --project ID --zone ZONE --name NAME
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
read_settings "$@"
no_more_arguments

if [[ -n $DIRECT ]]; then
    run "${tpus[@]}" tpu-vm delete "$NAME" "${where[@]}" --quiet
else
    run "${tpus[@]}" queued-resources delete "$NAME" "${where[@]}" --force --quiet
fi
