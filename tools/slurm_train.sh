#!/usr/bin/env bash
# Train under Slurm: one task a GPU, or CPU tasks with GPUS_PER_NODE=0.
# Usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]
# Environment: GPUS (tasks in all), GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, PY_ARGS, and STOP_SECONDS: so long before
# the end of its time the training gets SIGUSR1, writes a checkpoint and ends with status 75. In a job of sbatch it is
# then put back into the queue (see slurm_submit.sh).
if [ $# -lt 4 ]; then sed -n '3s/^# //p' "$0" >&2; exit 2; fi
HERE=$(dirname "$0")
export SRUN_ARGS="--signal=USR1@${STOP_SECONDS:-120} $SRUN_ARGS"
bash "$HERE/slurm_run.sh" "$1" "$2" "$HERE/train.py" "$3" --work-dir="$4" "${@:5}"
STATUS=$?
if [ $STATUS = 75 ]; then
    if [ "$ENVIRONMENT" != BATCH ]; then
        echo "not finished: go on with the same command and --auto-resume; slurm_submit.sh does so by itself" >&2
    elif ! command -v scontrol > /dev/null; then
        echo "scontrol is not there, as within a container, so job $SLURM_JOB_ID cannot be put back into the queue:" \
            "call this script outside of it, or submit the job again with --auto-resume" >&2
    else
        scontrol requeue "$SLURM_JOB_ID"
    fi
fi
exit $STATUS
