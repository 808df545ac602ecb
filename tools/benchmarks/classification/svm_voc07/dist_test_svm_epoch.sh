#!/usr/bin/env bash
# SVM and low-shot SVM on VOC07 with the checkpoint of an epoch in the folder that tools/train.py chooses for a config:
#   [GPUS=8 PORT=29500] dist_test_svm_epoch.sh SELFSUP_CONFIG EPOCH [FEATURE_LIST [ARGUMENTS OF test_svm.py]]
# FEATURE_LIST is one argument, such as "feat4 feat5" (default: "feat5"). Without a GPU, GPUS is the number of processes.
set -e
if [ $# -lt 2 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/dist_test_svm_pretrain.sh" "$1" "${GPUS:-8}" "$(bash "$HERE/../find_epoch.sh" "$1" "$2")" "${@:3}"
