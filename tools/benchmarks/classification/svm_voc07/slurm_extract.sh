#!/usr/bin/env bash
# Features of VOC07 for SVMs, through Slurm:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#   slurm_extract.sh PARTITION JOB_NAME SELFSUP_CONFIG WORK_DIR [ARGUMENTS OF extract.py]
# On nodes without a GPU set GPUS_PER_NODE=0.
if [ $# -lt 4 ]; then sed -n '2,5s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/../../../slurm_run.sh" "$1" "$2" "$HERE/extract.py" "$3" --work-dir "$4" "${@:5}"
