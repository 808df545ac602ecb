# Copyright (c) mmssl contributors. All rights reserved.
"""Train or test a detector with detectron2, as MoCo does: its trainer, with one more batch norm in the C4 head.

Needs detectron2 (https://github.com/facebookresearch/detectron2). The options are those of its tools/train_net.py.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config-file', required=True, metavar='FILE', help='config of detectron2')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint in OUTPUT_DIR')
    parser.add_argument('--eval-only', action='store_true', help='test MODEL.WEIGHTS')
    parser.add_argument('--num-gpus', type=int, default=1, help='on this machine (default: %(default)s)')
    parser.add_argument('--num-machines', type=int, default=1, help='in all (default: %(default)s)')
    parser.add_argument('--machine-rank', type=int, default=0, help='of this one (default: %(default)s)')
    parser.add_argument('--dist-url', default='auto', help='address of the first machine, tcp://HOST:PORT')
    parser.add_argument('opts', nargs=argparse.REMAINDER, help='KEY VALUE ... to override the config')
    return parser.parse_args()


def train(args):
    """Train, or test, in one process of a launch."""
    from pathlib import Path

    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultTrainer, default_setup
    from detectron2.evaluation import COCOEvaluator, PascalVOCDetectionEvaluator
    from detectron2.layers import get_norm
    from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, Res5ROIHeads

    @ROI_HEADS_REGISTRY.register()
    class Res5ROIHeadsExtraNorm(Res5ROIHeads):
        """Normalises what the last stage of the ResNet, a residual sum, gives to the box and mask predictors."""

        def __init__(self, cfg, input_shape):
            super().__init__(cfg, input_shape)
            self.res5.add_module('norm', get_norm(cfg.MODEL.RESNETS.NORM, self.res5[-1].out_channels))

    class Trainer(DefaultTrainer):

        @classmethod
        def build_evaluator(cls, cfg, dataset_name, output_folder=None):
            if dataset_name.startswith('voc'):
                return PascalVOCDetectionEvaluator(dataset_name)
            return COCOEvaluator(dataset_name, output_dir=output_folder or str(Path(cfg.OUTPUT_DIR) / 'inference'))

    cfg = get_cfg()
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def main():
    args = parse_args()
    from importlib.util import find_spec

    from mmssl.utils.errors import ConfigError
    if find_spec('detectron2') is None:
        raise ConfigError('detectron2 is not installed, and no package index has it: see docs/en/downstream.md')
    from detectron2.engine import launch
    launch(train, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, args=(args, ))


if __name__ == '__main__':
    run_tool(main)
