#!/usr/bin/env bash
# Train a detector with a C4 head from PRETRAIN, a checkpoint or extracted backbone weights; the head holds stage 4
#   [NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500] mim_dist_train_c4.sh CONFIG PRETRAIN GPUS [KEY=VALUE ...] [ARGUMENTS OF train.py]
set -e
if [ $# -lt 3 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi
PACKAGE=mmdet
PARTS=roi_head.shared_head
source "$(dirname "${BASH_SOURCE[0]}")/../mim.sh" "$1" "$2" "${@:4}"
exec bash "$ROOT/tools/dist_run.sh" "$3" "${COMMAND[@]}"
