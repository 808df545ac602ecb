#!/usr/bin/env bash
# kNN with the checkpoint of an epoch in the folder that tools/train.py, or dist_train.sh, chooses for a config:
#   [GPUS=8 PORT=29500] dist_test_knn_epoch.sh SELFSUP_CONFIG EPOCH [ARGUMENTS OF test_knn.py]
set -e
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/dist_test_knn_pretrain.sh" "$1" "$(bash "$HERE/../find_epoch.sh" "$1" "$2")" "${@:3}"
