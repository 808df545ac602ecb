#!/usr/bin/env bash
# SVM and low-shot SVM on VOC07 with a checkpoint or extracted backbone weights, through Slurm:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#   slurm_test_svm_pretrain.sh PARTITION JOB_NAME SELFSUP_CONFIG PRETRAIN [FEATURE_LIST [ARGUMENTS OF test_svm.py]]
# FEATURE_LIST is one argument, such as "feat4 feat5" (default: "feat5"). On nodes without a GPU set GPUS_PER_NODE=0.
if [ $# -lt 4 ]; then sed -n '2,5s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/../../../slurm_run.sh" "$1" "$2" "$HERE/test_svm.py" "$3" --checkpoint "$4" --layers "${5:-feat5}" \
    --low-shot "${@:6}"
