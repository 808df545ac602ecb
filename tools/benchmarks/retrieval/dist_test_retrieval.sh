#!/usr/bin/env bash
# Instance retrieval with a checkpoint or extracted backbone weights:
#   [GPUS=8 PORT=29500] dist_test_retrieval.sh SELFSUP_CONFIG PRETRAIN [ARGUMENTS OF test_retrieval.py]
# Without a GPU, GPUS is the number of processes.
if [ $# -lt 2 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/../../dist_run.sh" "${GPUS:-8}" "$HERE/test_retrieval.py" "$1" --checkpoint "$2" "${@:3}"
