# Copyright (c) mmssl contributors. All rights reserved.
"""How long algorithms that cluster take to assign images to clusters, as against what the training itself takes."""
import copy

import numpy as np
import torch
from torch.nn import functional as F

from mmssl.datasets import DeepClusterDataset
from mmssl.datasets.samplers import DistributedSampler
from mmssl.evaluation import Extractor
from mmssl.models import SwAVHead
from mmssl.utils.clustering import CLUSTERINGS, Kmeans, preprocess_features, run_kmeans
from mmssl.utils.dist import default_device
from mmssl.utils.errors import ConfigError
from .step import Step, Stopwatch, interleaved, model_and_batch


def measure_assignment(cfg, batch_size, size, rounds, samples, k=None):
    """Time the assignment step of SwAV or DeepCluster, without loading of data.

    Args:
        cfg (mmcv.Config): A config with a SwAVHead or a DeepClusterHook.
        batch_size (int): Images a batch.
        size (int): Height and width of the first view.
        rounds (int): Timed iterations.
        samples (int): Of DeepCluster: number of features to cluster.
        k (int, optional): Of DeepCluster: number of clusters and of classes, by default the config's.

    Returns:
        dict: `images_per_second` of the assignment, its `share` of an iteration or an epoch, `milliseconds` of each
        part by name, of one image each, and what was measured.

    Raises:
        ConfigError: A config of another algorithm.
    """
    hooks = {hook['type']: hook for hook in cfg.get('custom_hooks') or []}
    if k is not None and 'DeepClusterHook' in hooks:
        cfg = copy.deepcopy(cfg)
        cfg.model.head.num_classes = k
    model, batch = model_and_batch(cfg, batch_size, size)
    if isinstance(getattr(model, 'head', None), SwAVHead):
        return _measure_swav(cfg, hooks.get('SwAVHook', {}).get('queue_length', 0), model, batch, rounds)
    if 'DeepClusterHook' in hooks:
        return _measure_deepcluster(cfg, hooks['DeepClusterHook'], model, batch, rounds, samples, k)
    raise ConfigError(f'{type(model).__name__} of this config has neither a SwAVHead nor a DeepClusterHook, so that '
                      'there is no assignment to measure')


def _measure_swav(cfg, queue_length, model, batch, rounds):
    """Codes in each iteration. The queue is full; in one process all of it is this process's share."""
    head, size, device = model.head, len(batch['idx']), default_device()
    length = queue_length - queue_length % size
    if length:
        head.build_queue(length)
        head.queue.copy_(F.normalize(torch.randn_like(head.queue), dim=-1))
        head.filled = length
    projections = F.normalize(torch.randn(len(head.crops_for_assign), size, head.feat_dim, device=device), dim=-1)

    @torch.no_grad()
    def assign():
        for prototypes in head.prototypes.parameters():
            prototypes.copy_(F.normalize(prototypes, dim=1))
            head.compute_codes(projections, prototypes)

    seconds = interleaved(dict(iteration=Step(cfg, model, batch), assignment=assign), rounds, device)
    return dict(
        algorithm='SwAV',
        prototypes=sum(len(prototypes) for prototypes in head.prototypes.parameters()),
        queue_length=length,
        images_per_second=size / seconds['assignment'],
        share=seconds['assignment'] / seconds['iteration'],
        share_of='an iteration',
        milliseconds={
            name: 1e3 * value / size
            for name, value in seconds.items()
        })


class _NoImages:
    """A source of so many samples, of which only the labels are needed."""
    CLASSES = None

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length


def _measure_deepcluster(cfg, hook, model, batch, rounds, samples, k):
    """Clusters every so many epochs: features, their reduction, k-means, new labels."""
    size, device = len(batch['idx']), default_device()
    clustering = CLUSTERINGS.build(hook['clustering'])
    if not isinstance(clustering, Kmeans):
        raise ConfigError(f'of clusterings only Kmeans is measured, the config has {type(clustering).__name__}')
    k = k or clustering.k
    if not k <= samples:
        raise ConfigError(f'{samples} features cannot make {k} clusters: take more of them (--samples) or a smaller k '
                          '(--k)')
    extractor = Extractor([dict(img=img, idx=i) for i, img in enumerate(batch['img'].cpu())], size, 0)
    extracting = copy.deepcopy(model)  # the step changes weights, and compiled or wrapped models stay as they are
    seconds = interleaved(
        dict(training=Step(cfg, model, batch), features=lambda: extractor(extracting)), rounds, device)
    parts = {name: value / size for name, value in seconds.items()}
    features = np.random.default_rng(0).standard_normal((samples, extractor(extracting).shape[1]), np.float32)

    def timed(name, function):
        with Stopwatch(device) as watch:
            result = function()
        parts[name] = watch.seconds / samples
        return result

    x = timed('pca', lambda: preprocess_features(features, clustering.pca_dim))
    labels, _ = timed('kmeans', lambda: run_kmeans(x, k))
    dataset = DeepClusterDataset(_NoImages(samples), [])
    sampler = DistributedSampler(dataset, 1, 0)

    def hand_out():
        dataset.assign_labels(labels)
        if hook['unif_sampling']:
            sampler.set_uniform_indices(labels, k)
        sampler.global_indices()
        model.head.reset()

    timed('labels', hand_out)
    assignment = sum(parts.values()) - parts['training']
    each_epoch = assignment / hook.get('interval', 1)
    return dict(
        algorithm='DeepCluster',
        samples=samples,
        clusters=k,
        dimensions=[features.shape[1], x.shape[1]],
        images_per_second=1 / assignment,
        share=each_epoch / (each_epoch + parts['training']),
        share_of='an epoch',
        milliseconds={
            name: 1e3 * value
            for name, value in parts.items()
        })
