#!/usr/bin/env bash
# Installs bertjax, as it is committed here (BERTJAX_COMMIT: in another commit), on every worker of a
# slice; again: only what changed.
#
#   scripts/tpu/install.sh --project ID --zone ZONE --name NAME
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/scripts/tpu/common.sh"
read_settings "$@"
no_more_arguments

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
archive=$folder/bertjax.tar.gz
[[ -z $DRY_RUN ]] || archive=/tmp/bertjax.tar.gz
run git -C "$root" archive --format=tar.gz "--output=$archive" "${BERTJAX_COMMIT:-HEAD}"
run "${tpus[@]}" tpu-vm scp "$archive" "$NAME:bertjax.tar.gz" "${where[@]}" \
    "--scp-flag=$keep_alive" ${ssh_options[@]+"${ssh_options[@]}"} --worker=all
on_workers all "mkdir -p bertjax && tar -xzf bertjax.tar.gz -C bertjax && bash bertjax/scripts/tpu/worker.sh install"
