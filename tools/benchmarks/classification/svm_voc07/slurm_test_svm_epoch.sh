#!/usr/bin/env bash
# Through Slurm, SVM and low-shot SVM on VOC07 with the checkpoint of an epoch in the folder that tools/train.py chooses:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#   slurm_test_svm_epoch.sh PARTITION JOB_NAME SELFSUP_CONFIG EPOCH [FEATURE_LIST [ARGUMENTS OF test_svm.py]]
# FEATURE_LIST is one argument, such as "feat4 feat5" (default: "feat5"). On nodes without a GPU set GPUS_PER_NODE=0.
set -e
if [ $# -lt 4 ]; then sed -n '2,5s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/slurm_test_svm_pretrain.sh" "$1" "$2" "$3" "$(bash "$HERE/../find_epoch.sh" "$3" "$4")" "${@:5}"
