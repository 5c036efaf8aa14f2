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
read_training
on_workers all "bash bertjax/scripts/tpu/worker.sh start$training"
