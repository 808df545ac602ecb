#!/usr/bin/env bash
# Run a script under Slurm: one task a GPU, or CPU tasks with GPUS_PER_NODE=0.
# Usage: slurm_run.sh PARTITION JOB_NAME SCRIPT [arguments of the script]
# Environment: GPUS (tasks in all), GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, PY_ARGS
set -e
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
RESOURCES=()
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    TASKS_PER_NODE=$((GPUS < GPUS_PER_NODE ? GPUS : GPUS_PER_NODE))
    RESOURCES=(--gres="gpu:$TASKS_PER_NODE" --ntasks-per-node="$TASKS_PER_NODE")
fi
# SRUN_ARGS and PY_ARGS hold several words
# shellcheck disable=SC2086
exec srun -p "$1" --job-name="$2" "${RESOURCES[@]}" --ntasks="$GPUS" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 $SRUN_ARGS \
    "${PYTHON:-python}" -u "${@:3}" --launcher=slurm $PY_ARGS
