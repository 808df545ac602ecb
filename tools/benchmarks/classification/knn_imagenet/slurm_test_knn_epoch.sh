#!/usr/bin/env bash
# Through Slurm, kNN with the checkpoint of an epoch in the folder that tools/train.py chooses for a config:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#   slurm_test_knn_epoch.sh PARTITION JOB_NAME SELFSUP_CONFIG EPOCH [ARGUMENTS OF test_knn.py]
set -e
if [ $# -lt 4 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
WORK_DIR=$(echo "${3%.*}" | sed 's/configs/work_dirs/')
[ -d "$WORK_DIR" ] || WORK_DIR=work_dirs/$(basename "${3%.*}")
exec bash "$(dirname "$0")/slurm_test_knn_pretrain.sh" "$1" "$2" "$3" "$WORK_DIR/epoch_$4.pth" "${@:5}"
