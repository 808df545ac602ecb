# Copyright (c) mmssl contributors. All rights reserved.
"""Evaluate a classification model on its test set."""
import argparse

from mmssl.utils.config import add_cfg_options
from mmssl.utils.evaluation_options import add_checkpoint, require_checkpoint
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description='Evaluate a model on data.test, or data.val where there is no test')
    parser.add_argument('config', help='config file')
    add_checkpoint(parser, 'of the training', teacher=False)
    parser.add_argument('--work-dir', '--work_dir', help='folder for metrics.json; none is written by default')
    parser.add_argument('--out', metavar='FILE.json', help='write the metrics to this file')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='what started the processes')
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    add_cfg_options(parser)
    args = parser.parse_args()
    require_checkpoint(parser, args)
    return args


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    from mmssl.apis import init_model, single_gpu_test
    from mmssl.core.evaluation import build_meters, evaluate_outputs
    from mmssl.core.training import autocast, build_loader
    from mmssl.datasets import build_dataset
    from mmssl.datasets.classes import align_classes
    from mmssl.utils.checkpoint import read_checkpoint
    from mmssl.utils.config import check_sections, config_section, load_config
    from mmssl.utils.dist import get_rank, init_dist, is_distributed
    from mmssl.utils.logger import get_root_logger
    from mmssl.utils.misc import write_json
    from mmssl.utils.setup_env import setup_multi_processes

    cfg = load_config(args.config, args.cfg_options)
    part = 'test' if cfg.get('data', {}).get('test') else 'val'
    check_sections(cfg, ('model', f'data.{part}', 'data.samples_per_gpu'))
    setup_multi_processes(cfg)
    init_dist(args.launcher, **cfg.get('dist_params', {}))
    model = init_model(cfg, args.checkpoint)
    with config_section(cfg, f'data.{part}'):
        dataset = build_dataset(cfg.data[part])
    loader = build_loader(dataset, cfg, is_distributed(), testing=True, seed=cfg.get('seed') or 0)
    # the scores stand in the order of the classes of the training
    names = read_checkpoint(args.checkpoint).get('meta', {}).get('CLASSES')
    report = align_classes(dataset, names=names, what=f'data.{part}', logger=get_root_logger())
    settings = cfg.get('evaluation') or {}
    meters = build_meters(settings.get('metric', 'accuracy'), settings.get('meter'))
    with autocast(cfg):
        outputs = single_gpu_test(model, loader)
    names = getattr(model, 'label_names', None)
    metrics = evaluate_outputs(outputs, dataset, meters, names, logger='silent', per_class=True)
    if get_rank() == 0:
        for name, value in metrics.items():
            for c, part in value.items() if isinstance(value, dict) else ():
                print(f'{name} {c}: {part:.4f}')
            if not isinstance(value, dict):
                print(f'{name}: {value:.4f}')
        out = args.out or (args.work_dir and f'{args.work_dir}/metrics.json')
        if out:
            write_json(out, {**metrics, **(dict(left_out_classes=report.left_out) if report.left_out else {})})


if __name__ == '__main__':
    run_tool(main, distributed=True)
