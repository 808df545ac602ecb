#!/usr/bin/env bash
# What the scripts share that train on top of a checkpoint: they source it with CONFIG PRETRAIN.
[ -f "$2" ] || { echo "error: there is no checkpoint $2" >&2; exit 1; }
WORK_DIR=$(echo "${1%.*}" | sed 's/configs/work_dirs/')/$(bash "$(dirname "${BASH_SOURCE[0]}")/../run_name.sh" "$2")
WEIGHTS=(--cfg-options "model.backbone.init_cfg.type=Pretrained" "model.backbone.init_cfg.checkpoint=$2")
