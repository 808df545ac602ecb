#!/usr/bin/env bash
# SVM and low-shot SVM on VOC07 with a checkpoint or extracted backbone weights:
#   [PORT=29500] dist_test_svm_pretrain.sh SELFSUP_CONFIG GPUS PRETRAIN [FEATURE_LIST [ARGUMENTS OF test_svm.py]]
# FEATURE_LIST is one argument, such as "feat4 feat5" (default: "feat5"). Without a GPU, GPUS is the number of processes.
if [ $# -lt 3 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/../../../dist_run.sh" "$2" "$HERE/test_svm.py" "$1" --checkpoint "$3" --layers "${4:-feat5}" \
    --low-shot "${@:5}"
