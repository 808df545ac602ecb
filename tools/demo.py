# Copyright (c) mmssl contributors. All rights reserved.
"""Pre-train, then show what was learned: figures against raw pixels and random weights, and pictures."""
import argparse
import logging
import time
from pathlib import Path

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool

KINDS = dict(raw_pixels='raw pixels', random_init='random weights', pretrained='pre-trained')
PICTURES = ('views.png', 'loss.png', 'tsne.png', 'neighbours.png')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file with a section `demo`: the data sets of the evaluation')
    parser.add_argument('--work-dir', '--work_dir', help='folder of results (default: that of the config)')
    parser.add_argument('--seed', type=int, help='seed of all random numbers (default: that of the config)')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    from mmssl.apis.demo import measure, pretrain
    from mmssl.utils.config import load_config
    from mmssl.utils.logger import get_root_logger
    from mmssl.utils.misc import write_json
    from mmssl.utils.run_dir import lock_folder
    from mmssl.utils.setup_env import setup_multi_processes

    cfg = load_config(args.config, args.cfg_options)
    setup_multi_processes(cfg)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or 'work_dirs/demo'
    cfg.seed = args.seed if args.seed is not None else cfg.get('seed', 0)
    out = Path(cfg.work_dir)
    lock_folder(out)
    for name in ('metrics.json', *PICTURES):  # what an earlier run left is not the result of this one
        (out / name).unlink(missing_ok=True)
    timestamp = time.strftime('%Y%m%d_%H%M%S')
    logger = get_root_logger(str(out / f'{timestamp}.log'), cfg.get('log_level', 'INFO'))
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)  # the terminal is the progress bar's
    logging.getLogger('mmcv').setLevel(logging.WARNING)

    print(f'{args.config}: results go to {out}')
    result = pretrain(cfg, timestamp)
    start = time.time()
    metrics = measure(cfg, result)
    spread = metrics.pop('few_label_std')
    metrics['train_seconds'] = round(result.seconds, 1)
    draw_pictures(out, cfg, result.dataset, result.sets, result.features, out / f'{timestamp}.log.json')
    write_json(out / 'metrics.json', metrics)

    per_class, k = cfg.demo.get('labels_per_class', 10), cfg.demo.get('k', 20)
    print(
        f'\n{"accuracy on " + str(len(result.sets["test"])) + " test images":32}{per_class} labels per class    {k}-NN')
    for kind, title in KINDS.items():
        few, neighbours = (100 * metrics[task][kind] for task in ('few_label', 'knn'))
        print(f'  {title:30}{few:7.1f} % +- {100 * spread[kind]:.1f}   {neighbours:10.1f} %')
    print(f'\n{result.seconds:.0f} s of pre-training, {time.time() - start:.0f} s of evaluation. '
          f'In {out}: metrics.json, {", ".join(PICTURES)}')


def draw_pictures(out, cfg, dataset, sets, features, log):
    """The augmented views, the curves of training, the features in the plane, and nearest neighbours."""
    import numpy as np
    import torch

    from mmssl.evaluation import knn, plots
    from mmssl.evaluation.views import look_at
    from mmssl.utils.training_log import TrainingLog
    bank, test = sets['train'], sets['test']
    labels = np.asarray(test.gt_labels)

    picked = np.linspace(0, len(dataset) - 1, 6).astype(int).tolist()
    plots.plot_views([look_at(dataset, idx, range(4), cfg.seed) for idx in picked], out / 'views.png')

    log = TrainingLog(log)
    panels = {'loss': 'loss', 'accuracy of kNN': 'knn_top1'}
    plots.plot_curves({
        title: [(log.name, *log.curve(key))]
        for title, key in panels.items() if key in log.keys()
    }, out / 'loss.png', 'Pre-training')

    shown = np.linspace(0, len(test) - 1, min(len(test), 1000)).astype(int)
    embeddings = {
        title: plots.embed_tsne(features[kind]['test'][shown], cfg.seed)
        for title, kind in (('before: random weights', 'random_init'), ('after pre-training', 'pretrained'))
    }
    plots.plot_embeddings(embeddings, labels[shown], test.CLASSES, out / 'tsne.png', 't-SNE of the test images')

    queries = [np.flatnonzero(labels == c)[0] for c in np.unique(labels)[:10]]  # the first of each class
    blocks = {}
    for kind in ('pretrained', 'raw_pixels'):
        bank_features, test_features = (torch.from_numpy(features[kind][name]) for name in ('train', 'test'))
        nearest = knn.nearest_neighbours(bank_features, test_features, 7)[1].numpy()
        right = np.asarray(bank.gt_labels)[nearest] == labels[:, None]
        images = [[bank.stored(i) for i in row] for row in nearest[queries].tolist()]
        blocks[f'{KINDS[kind]} ({right.mean():.1%} right over all queries)'] = images, right[queries]
    plots.plot_neighbours([test.stored(i) for i in queries], blocks, out / 'neighbours.png')


if __name__ == '__main__':
    run_tool(main)
