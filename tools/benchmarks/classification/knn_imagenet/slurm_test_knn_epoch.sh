#!/usr/bin/env bash
# Through Slurm, kNN with the checkpoint of an epoch in the folder that tools/train.py chooses for a config:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#   slurm_test_knn_epoch.sh PARTITION JOB_NAME SELFSUP_CONFIG EPOCH [ARGUMENTS OF test_knn.py]
set -e
if [ $# -lt 4 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/slurm_test_knn_pretrain.sh" "$1" "$2" "$3" "$(bash "$HERE/../find_epoch.sh" "$3" "$4")" "${@:5}"
