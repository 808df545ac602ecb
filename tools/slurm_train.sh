#!/usr/bin/env bash
# Train under Slurm: one task a GPU, or CPU tasks with GPUS_PER_NODE=0.
# Usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]
# Environment: GPUS (tasks in all), GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, PY_ARGS
if [ $# -lt 4 ]; then sed -n '3s/^# //p' "$0" >&2; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/slurm_run.sh" "$1" "$2" "$HERE/train.py" "$3" --work-dir="$4" "${@:5}"
