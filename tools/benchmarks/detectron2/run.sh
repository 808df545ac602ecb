#!/usr/bin/env bash
# Train and test a detector with detectron2 on WEIGHTS, the .pkl that convert-pretrain-to-detectron2.py has written:
#   [GPUS=8] run.sh CONFIG WEIGHTS [OUTPUT_DIR [KEY VALUE ...]]
set -e
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi
[ -f "$2" ] || { echo "error: there are no weights $2; convert-pretrain-to-detectron2.py writes them" >&2; exit 1; }
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$HERE/../../..${PYTHONPATH:+:$PYTHONPATH}"
OUTPUT_DIR=${3:-work_dirs/benchmarks/detectron2/$(basename "${1%.*}")/$(bash "$(dirname "$0")/../run_name.sh" "$2")}
exec "${PYTHON:-python}" "$HERE/train_net.py" --config-file "$1" --num-gpus "${GPUS:-8}" \
    MODEL.WEIGHTS "$2" OUTPUT_DIR "$OUTPUT_DIR" "${@:4}"
