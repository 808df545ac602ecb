#!/usr/bin/env bash
# Instance retrieval with a checkpoint or extracted backbone weights, through Slurm:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#   slurm_test_retrieval.sh PARTITION JOB_NAME SELFSUP_CONFIG PRETRAIN [ARGUMENTS OF test_retrieval.py]
# On nodes without a GPU set GPUS_PER_NODE=0.
if [ $# -lt 4 ]; then sed -n '2,5s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/../../slurm_run.sh" "$1" "$2" "$HERE/test_retrieval.py" "$3" --checkpoint "$4" "${@:5}"
