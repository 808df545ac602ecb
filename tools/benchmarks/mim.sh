#!/usr/bin/env bash
# What the scripts share that train a detector or segmentor: they set PACKAGE, and PARTS of the model that get weights
# besides the backbone, and source it with CONFIG PRETRAIN [ARGUMENTS]. It sets COMMAND: mim, which runs the package's
# own train.py. torchrun or srun start mim, since mim's launcher adds an argument --local-rank unknown to train.py.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$ROOT/tools/benchmarks/classification/pretrained.sh" "$1" "$2"
for PART in $PARTS; do
    WEIGHTS+=("model.$PART.init_cfg.type=Pretrained" "model.$PART.init_cfg.checkpoint=$2")
done
# train.py takes --cfg-options once: all KEY=VALUE go there, with or without the flag before them
ARGUMENTS=()
OPTIONS=()
for ARGUMENT in "${@:3}" $PY_ARGS; do
    case "$ARGUMENT" in
        --cfg-options) ;;
        [a-z]*=*) OPTIONS+=("$ARGUMENT") ;;
        *) ARGUMENTS+=("$ARGUMENT") ;;
    esac
done
unset PY_ARGS
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" "${PYTHON:-python}" "$ROOT/tools/benchmarks/check_downstream.py" \
    "$PACKAGE" "$1" "${OPTIONS[@]}"
COMMAND=(-m mim run "$PACKAGE" train "$1" --work-dir "$WORK_DIR" "${ARGUMENTS[@]}" "${WEIGHTS[@]}" "${OPTIONS[@]}")
