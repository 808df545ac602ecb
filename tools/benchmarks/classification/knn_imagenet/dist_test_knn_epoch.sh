#!/usr/bin/env bash
# kNN with the checkpoint of an epoch in the folder that tools/train.py, or dist_train.sh, chooses for a config:
#   [GPUS=8 PORT=29500] dist_test_knn_epoch.sh SELFSUP_CONFIG EPOCH [ARGUMENTS OF test_knn.py]
set -e
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
WORK_DIR=$(echo "${1%.*}" | sed 's/configs/work_dirs/')
[ -d "$WORK_DIR" ] || WORK_DIR=work_dirs/$(basename "${1%.*}")
exec bash "$(dirname "$0")/dist_test_knn_pretrain.sh" "$1" "$WORK_DIR/epoch_$2.pth" "${@:3}"
