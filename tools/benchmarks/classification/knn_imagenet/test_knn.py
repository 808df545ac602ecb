# Copyright (c) mmssl contributors. All rights reserved.
"""Weighted kNN on the frozen features of a backbone."""
import argparse


def switch(text):
    """A boolean of the command line: bool('False') would be True."""
    words = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f'true or false, got {text!r}')
    return words[text.lower()]


def parse_args():
    from mmssl.utils.config import add_cfg_options
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the pre-training: its model is evaluated')
    parser.add_argument('--checkpoint', help='checkpoint of the pre-training, or extracted backbone weights')
    parser.add_argument(
        '--dataset-config',
        default='configs/benchmarks/classification/knn_imagenet.py',
        help='config with data.train (the bank) and data.val (default: %(default)s)')
    parser.add_argument('--num-knn', type=int, nargs='+', default=[10, 20, 100, 200], help='numbers of neighbours')
    parser.add_argument('--temperature', type=float, nargs='+', default=[0.07], help='temperatures of the votes')
    parser.add_argument('--layer', default='pooled', help='which features: pooled, neck, stage0 to stage4')
    parser.add_argument(
        '--use-cuda',
        type=switch,
        nargs='?',
        const=True,
        default=True,
        help='search neighbours on the GPU, if there is one (true or false; default: true)')
    parser.add_argument('--memory-limit', type=float, default=512, help='MiB for one tile of similarities')
    parser.add_argument('--work-dir', '--work_dir', help='folder for the log')
    parser.add_argument('--out', help='JSON file for the metrics')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()

    import json
    import os
    import os.path as osp
    import time

    from mmssl.utils.config import check_sections, config_section, load_config

    # the data of CONFIG is not used here: options on data mean that of the evaluation
    of_data = {key: value for key, value in args.cfg_options.items() if key.split('.')[0] == 'data'}
    cfg = load_config(args.config, {k: v for k, v in args.cfg_options.items() if k not in of_data})
    data_cfg = load_config(args.dataset_config, of_data)
    check_sections(cfg, ['model'])
    check_sections(data_cfg, ['data.train', 'data.val'])

    from mmssl.apis.inference import pretrained_model
    from mmssl.datasets import build_dataset
    from mmssl.evaluation import extract_features, knn
    from mmssl.utils import dist
    from mmssl.utils.logger import get_root_logger
    from mmssl.utils.misc import atomic_write

    dist.init_dist(args.launcher, **cfg.get('dist_params', {}))
    if args.work_dir:
        os.makedirs(args.work_dir, exist_ok=True)
    log_file = osp.join(args.work_dir, time.strftime('knn_%Y%m%d_%H%M%S.log')) if args.work_dir else None
    logger = get_root_logger(log_file, cfg.get('log_level', 'INFO'))
    parts = ('backbone', 'neck') if args.layer == 'neck' else ('backbone', )
    model = pretrained_model(cfg, args.checkpoint, parts, logger)

    start, features = time.time(), {}
    for name in ('train', 'val'):
        with config_section(data_cfg, f'data.{name}'):
            dataset = build_dataset(data_cfg.data[name])
        features[name] = extract_features(
            model,
            dataset,
            layers=(args.layer, ),
            batch_size=data_cfg.data.get('samples_per_gpu', 256),
            workers=data_cfg.data.get('workers_per_gpu', 0),
            img_norm_cfg=data_cfg.get('img_norm_cfg'),
            progress=True)
    logger.info(f'features of {len(features["train"])} + {len(features["val"])} images in {time.time() - start:.1f} s')
    start = time.time()
    metrics = knn.run(
        features['train'][args.layer],
        features['train'].labels,
        features['val'][args.layer],
        features['val'].labels,
        k=args.num_knn,
        temperature=args.temperature,
        memory_limit=args.memory_limit,
        device=dist.default_device() if args.use_cuda else 'cpu')
    logger.info(f'kNN in {time.time() - start:.1f} s, {metrics["num_train"]} against {metrics["num_test"]} images of '
                f'{metrics["num_classes"]} classes')
    for temperature in args.temperature:
        for k in args.num_knn:
            top1, top5 = (100 * metrics[f'k{k}_T{temperature:g}_{name}'] for name in ('top1', 'top5'))
            logger.info(f'{k}-NN, T={temperature:g}: top1 {top1:.2f} %, top5 {top5:.2f} %')
    if args.out and dist.get_rank() == 0:
        with atomic_write(args.out) as file:
            json.dump(metrics, file, indent=2)


if __name__ == '__main__':
    from mmssl.utils.misc import run_tool
    run_tool(main)
