#!/usr/bin/env bash
# Train in several processes: one a GPU, or on a machine without a GPU as many CPU processes.
# Usage: dist_train.sh CONFIG GPUS [arguments of train.py]
# Environment: MAX_RESTARTS, and for several nodes NNODES NODE_RANK MASTER_ADDR PORT; see dist_run.sh
if [ $# -lt 2 ]; then sed -n '3s/^# //p' "$0" >&2; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/dist_run.sh" "$2" "$HERE/train.py" "$1" "${@:3}"
