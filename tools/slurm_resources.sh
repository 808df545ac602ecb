# For the scripts of Slurm, by `source`: what GPUS, GPUS_PER_NODE and CPUS_PER_TASK ask for, in the array RESOURCES.
# shellcheck shell=bash disable=SC2034
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
RESOURCES=()
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    TASKS_PER_NODE=$((GPUS < GPUS_PER_NODE ? GPUS : GPUS_PER_NODE))
    RESOURCES=(--gres="gpu:$TASKS_PER_NODE" --ntasks-per-node="$TASKS_PER_NODE")
fi
RESOURCES+=(--ntasks="$GPUS" --cpus-per-task="${CPUS_PER_TASK:-5}")
