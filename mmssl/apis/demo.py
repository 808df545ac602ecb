# Copyright (c) mmssl contributors. All rights reserved.
"""Pre-train as a config says, and measure what was learned against raw pixels and random weights."""
import time
from dataclasses import dataclass

import torch
from torch import nn

from mmssl.datasets import BaseDataset, build_dataset
from mmssl.evaluation import extract_features, few_label, knn
from mmssl.models import build_algorithm
from mmssl.utils.config import check_sections, config_section
from mmssl.utils.config_text import config_text
from mmssl.utils.config_version import with_version
from mmssl.utils.misc import fast_bfloat16
from .train import set_random_seed, train_model


@dataclass
class Pretraining:
    """What a pre-training was made of and what came of it.

    Attributes:
        model (nn.Module): The algorithm, trained.
        dataset (BaseDataset): What it was trained on.
        sets (dict[str, BaseDataset]): `train`, from which labels and neighbours are taken, and `test`.
        features (dict[str, dict[str, ndarray]]): N x D features of both sets, by kind: 'raw_pixels', 'random_init'
            and 'pretrained'.
        seconds (float): Length of the training.
    """
    model: nn.Module
    dataset: BaseDataset
    sets: dict
    features: dict
    seconds: float


def pretrain(cfg, timestamp=None, model=None):
    """Train as a config says; features of its evaluation sets are extracted before and after.

    Args:
        cfg (mmcv.Config): With the section `demo`: the data sets `train` and `test`, and optionally the `layer` of the
            features (see extract_features; 'pooled'). Mixed precision is left out where the device gains nothing by
            it.
        timestamp (str, optional): Name of the log files in cfg.work_dir.
        model (nn.Module, optional): The algorithm, initialised; by default built as the config says.

    Returns:
        Pretraining: Models, data and features.
    """
    check_sections(cfg, ('model', 'data.train', 'optimizer', 'runner', 'demo.train', 'demo.test'))
    set_random_seed(cfg.seed)
    if cfg.get('amp') and not fast_bfloat16('cuda' if torch.cuda.is_available() else 'cpu'):
        cfg.amp = None
    if model is None:
        with config_section(cfg, 'model'):
            model = build_algorithm(cfg.model)
        model.init_weights()
    with config_section(cfg, 'data.train'):
        dataset = build_dataset(cfg.data.train)
    sets = {}
    for name in ('train', 'test'):
        with config_section(cfg, f'demo.{name}'):
            sets[name] = build_dataset(cfg.demo[name])

    def extract(model, layer, norm):
        return {
            name: extract_features(model, d, layers=(layer, ), img_norm_cfg=norm)[layer]
            for name, d in sets.items()
        }

    norm, layer = cfg.get('img_norm_cfg'), cfg.demo.get('layer', 'pooled')
    # raw as they are, 0 to 1: taking a mean off changes their cosine similarities
    features = dict(
        raw_pixels=extract(None, 'pixels', dict(mean=[0.], std=[1.])), random_init=extract(model, layer, norm))
    start = time.time()
    train_model(
        model, dataset, cfg, timestamp=timestamp, meta=dict(config=config_text(with_version(cfg)), seed=cfg.seed))
    seconds = time.time() - start
    features['pretrained'] = extract(model, layer, norm)
    return Pretraining(model, dataset, sets, features, seconds)


def measure(cfg, result):
    """Accuracies with few labels and by nearest neighbours.

    Args:
        cfg (mmcv.Config): Its section `demo` has `labels_per_class` (10) and `k` (20).
        result (Pretraining): Of pretrain.

    Returns:
        dict[str, dict[str, float]]: 'few_label' (mean over draws), 'few_label_std' and 'knn' (top 1), as fractions, by
        kind of features.
    """
    labels = {name: d.gt_labels for name, d in result.sets.items()}
    metrics = dict(few_label={}, few_label_std={}, knn={})
    k = cfg.demo.get('k', 20)
    for kind, found in result.features.items():
        arguments = found['train'], labels['train'], found['test'], labels['test']
        few = few_label.run(*arguments, labels_per_class=cfg.demo.get('labels_per_class', 10))
        metrics['few_label'][kind], metrics['few_label_std'][kind] = few['mean'], few['std']
        metrics['knn'][kind] = knn.run(*arguments, k=k)[f'k{k}_T0.07_top1']
    return metrics
