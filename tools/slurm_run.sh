#!/usr/bin/env bash
# Run a script under Slurm: one task a GPU, or CPU tasks with GPUS_PER_NODE=0.
# Usage: slurm_run.sh PARTITION JOB_NAME SCRIPT [arguments of the script]
# Environment: GPUS (tasks in all), GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, PY_ARGS
set -e
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck source=slurm_resources.sh
source "$ROOT/tools/slurm_resources.sh"
# SRUN_ARGS and PY_ARGS hold several words
# shellcheck disable=SC2086
exec srun -p "$1" --job-name="$2" "${RESOURCES[@]}" --kill-on-bad-exit=1 $SRUN_ARGS \
    "${PYTHON:-python}" -u "${@:3}" --launcher=slurm $PY_ARGS
