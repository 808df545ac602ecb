# Copyright (c) mmssl contributors. All rights reserved.
"""A training that shows what it learned: figures against raw pixels and random weights, and pictures."""
import logging
import time
from pathlib import Path

import numpy as np
import torch

from mmssl.evaluation import knn, plots
from mmssl.evaluation.views import look_at
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import write_json
from mmssl.utils.run_dir import lock_folder
from mmssl.utils.setup_env import setup_multi_processes
from mmssl.utils.training_log import TrainingLog
from .demo import measure, pretrain

KINDS = dict(raw_pixels='raw pixels', random_init='random weights', pretrained='pre-trained')
PICTURES = ('views.png', 'loss.png', 'tsne.png', 'neighbours.png')


def run_demo(config, cfg, work_dir=None, seed=None):
    """Pre-train as a config says, print what was learned, and draw pictures of it.

    Args:
        config (str | Path): Its file, for the words.
        cfg (mmcv.Config): With a section `demo`, see mmssl.apis.demo.
        work_dir (str | Path, optional): Folder of results. Default: that of the config, else work_dirs/demo.
        seed (int, optional): Of all random numbers. Default: that of the config, else 0.

    Returns:
        dict: What metrics.json in the folder holds.
    """
    setup_multi_processes(cfg)
    cfg.work_dir = str(work_dir or cfg.get('work_dir') or 'work_dirs/demo')
    cfg.seed = seed if seed is not None else cfg.get('seed', 0)
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

    print(f'{config}: results go to {out}')
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
    return metrics


def draw_pictures(out, cfg, dataset, sets, features, log):
    """The augmented views, the curves of training, the features in the plane, and nearest neighbours."""
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
