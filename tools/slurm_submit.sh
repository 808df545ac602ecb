#!/usr/bin/env bash
# Submit a training to Slurm that comes back when its time is over, or a machine fails, until it is done.
# Usage: slurm_submit.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]
# Environment: that of slurm_train.sh, and SBATCH_ARGS, such as "--time=1-0 --mem=200G"
if [ $# -lt 4 ]; then sed -n '3s/^# //p' "$0" >&2; exit 2; fi
set -e
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=slurm_resources.sh
source "$HERE/slurm_resources.sh"
mkdir -p "$4"
# shellcheck disable=SC2086
sbatch -p "$1" --job-name="$2" "${RESOURCES[@]}" --requeue --open-mode=append --signal="USR1@${STOP_SECONDS:-120}" \
    --output="$4/slurm_%j.out" $SBATCH_ARGS << END
#!/usr/bin/env bash
exec bash $(printf '%q ' "$HERE/slurm_train.sh" "$@")
END
