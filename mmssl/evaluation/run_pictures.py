# Copyright (c) mmssl contributors. All rights reserved.
"""Images of a training for its report: views, nearest neighbours, a map of the features."""
import os
import time

import numpy as np
import torch
from PIL import Image

from mmssl.datasets.collators import collate
from mmssl.datasets.dataset_wrappers import ConcatDataset, distinct, leaves, locate, sample_name
from mmssl.datasets.loader import KeyedDataset, PrefetchLoader, leaves_stored
from mmssl.datasets.single_view import SingleViewDataset
from mmssl.utils.errors import BrokenImageError, ConfigError, printable
from . import views
from .features import features_of, random_state_kept
from .plots import class_name, embed_tsne
from .sprites import data_uri, sprite, thumbnail

NEIGHBOURS = 6
_QUERIES = 8
_BATCH = 32
_CHARACTERS = 2_400_000  # of the thumbnails in the page
_VIEWS = 10  # of a sample, at most


def gallery_of_training(dataset, img_norm_cfg=None):
    """The images of a training, without its augmentation.

    Args:
        dataset (Dataset): Of the training.
        img_norm_cfg (dict, optional): Of the config.

    Returns:
        tuple[Dataset, dict | None]: A data set that gives one image a sample, as large as the first view of a sample
        of the training, and the `mean` and `std` to normalise it by.

    Raises:
        ConfigError: A sample of the training is not made of one image.
    """
    parts = leaves(distinct(dataset))
    if len(parts[0].data_sources) > 1:
        raise ConfigError('a sample of the training is made of several images: give ReportHook a dataset')
    with random_state_kept():
        (sample, ), _ = KeyedDataset(dataset, 0, 'replace').__getitems__([(0, 0)])
    view = views.first_images(sample)[0]
    size = tuple(view.shape[-2:] if isinstance(view, torch.Tensor) else view.shape[:2])
    side = size[0] if size[0] == size[1] else size
    pipeline = [dict(type='Resize', size=side), dict(type='CenterCrop', size=size)]
    found = [SingleViewDataset(leaf.data_source, pipeline, prefetch=True) for leaf in parts]
    norm = views.normalisation(parts[0]) or img_norm_cfg
    return found[0] if len(found) == 1 else ConcatDataset(found), norm


class Gallery:
    """Some images of a data set, spread evenly over it and kept in memory, to be looked at again and again.

    Args:
        dataset (Dataset): Gives one image a sample.
        count (int): How many at most.
        img_norm_cfg (dict, optional): `mean` and `std` of images that leave the data set as they were stored.
        seconds (float, optional): No more are read after this time, once there are a few.
        memory (float): Nor beyond so many MiB.

    Attributes:
        index (list[int]): Their indices in the data set, ascending. Images that cannot be read are left out.
        images (Tensor): N x C x H x W, as the data set gives them.
        labels (ndarray): N int64, -1 = unlabelled.
        names (list[str]): Of their files, without the folders that all have in common.

    Raises:
        ConfigError: No image can be read, or the data set gives several for a sample.
    """

    def __init__(self, dataset, count=500, img_norm_cfg=None, seconds=None, memory=128):
        self.dataset = dataset
        self.norm = img_norm_cfg
        self.stored = leaves_stored(dataset)
        start, found = time.perf_counter(), []
        keyed = KeyedDataset(dataset, 0, 'skip')
        with random_state_kept():
            # whenever the time is over, those that are there are spread evenly
            order = _evenly(len(dataset), count)
            for first in range(0, len(order), _BATCH):
                samples, _ = keyed.__getitems__([(0, idx) for idx in order[first:first + _BATCH]])
                found += samples
                if not found:
                    continue
                if not isinstance(found[0]['img'], (np.ndarray, torch.Tensor)):
                    raise ConfigError('a data set gives several views of an image; the report takes one that gives one '
                                      'image a sample, such as SingleViewDataset')
                size = sum(sample['img'].nbytes for sample in found) / 2**20
                if size > memory or seconds is not None and time.perf_counter() - start > seconds:
                    break
        if not found:
            raise ConfigError(f'none of {len(order)} images can be read')
        found.sort(key=lambda sample: sample['idx'])
        self.index = [int(sample['idx']) for sample in found]
        batch = collate(found)
        self.images = batch['img']
        labels = batch.get('label')
        plain = isinstance(labels, torch.Tensor) and labels.ndim == 1
        self.labels = labels.numpy().astype(np.int64) if plain else np.full(len(found), -1)
        self.names = _short_names([sample_name(dataset, idx) for idx in self.index])

    def __len__(self):
        return len(self.index)

    def features(self, model, layer='pooled'):
        """Features of the images, N x D float32; the model is as it was afterwards."""
        device = next(model.parameters()).device
        loader = PrefetchLoader((), device=device, stored=self.stored, **(self.norm or {}))
        with random_state_kept(), torch.no_grad():
            parts = [
                features_of(model,
                            loader.prepare(dict(img=part.clone()))['img'], layer) for part in self.images.split(_BATCH)
            ]
        x = np.concatenate(parts)
        return x.reshape(len(x), -1)

    def describe(self):
        """What does not change while training: thumbnails, names, labels, and the images whose neighbours are shown.

        Returns:
            dict: Of plain values, for JSON.
        """
        norm = views.normalisation(locate(self.dataset, self.index[0])[0]) or self.norm
        images = (views.to_picture(_as_stored(image) if self.stored else image, norm) for image in self.images)
        side = 64 if len(self) <= 400 else 48
        uri, tile, columns, sizes = sprite(images, len(self), side, _CHARACTERS)
        classes = getattr(self.dataset, 'CLASSES', None)
        present = sorted(set(self.labels.tolist()))
        return dict(
            sprite=uri,
            tile=tile,
            columns=columns,
            size=sizes[0],
            names=self.names,
            labels=[present.index(label) for label in self.labels.tolist()],
            classes=[class_name(label, classes) for label in present],
            labelled=[label >= 0 for label in present],
            of=len(self.dataset),
            queries=_queries(self.labels))


def look(features, labels, iteration, epoch=None, before=None, quick=False, seed=0):
    """Neighbours, and a map.

    Args:
        features (ndarray): N x D.
        labels (ndarray): N integers, -1 = unlabelled.
        iteration (int): Iterations of training done.
        epoch (int, optional): Epochs done.
        before (dict, optional): What was found the time before; the map begins there, so that it changes little.
        quick (bool): Draw the first two principal components, in milliseconds, instead of t-SNE.
        seed (int): Of t-SNE.

    Returns:
        dict: `neighbours` (N lists of the nearest other images, nearest first), `agreement` (share of them that have
        the class of their image; None without labels), `points` (N pairs within 0 to 1000; None where there is
        nothing to draw), `method` (of the map), `note` (why there is
        none), `iteration` and `epoch`.
    """
    found = dict(iteration=iteration, epoch=epoch, neighbours=[], agreement=None, points=None, method='', note='')
    finite = np.isfinite(features).all()
    if not finite:
        return dict(found, note='the features hold NaN or infinity: the training has diverged')
    x = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    similarity = x @ x.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, 1, kind='stable')[:, :min(NEIGHBOURS, len(x) - 1)]
    known = (labels[:, None] >= 0) & (labels[nearest] >= 0)
    if known.any():
        found['agreement'] = float((labels[nearest] == labels[:, None])[known].mean())
    found['neighbours'] = nearest.tolist()
    if len(x) < 4:
        return dict(found, note=f'{len(x)} images are too few for a map')
    try:
        points = _principal(x) if quick else _tsne(x, before, seed)
    except ValueError as error:  # all features are the same
        return dict(found, note=str(error))
    low, high = points.min(0), points.max(0)
    points = 500 + 960 * (points - (low + high) / 2) / max(1e-9, (high - low).max())
    return dict(found, points=points.round().astype(int).tolist(), method='PCA' if quick else 't-SNE')


def _tsne(x, before, seed):
    start = np.asarray(before['points'], np.float32) if before and before['points'] else None
    if start is None or len(start) != len(x):
        return embed_tsne(x, seed, max_iter=500)
    return embed_tsne(x, seed, max_iter=500, init=(start - start.mean(0)) / start.std().clip(1e-9) * 1e-2)


def _principal(x):
    """The first two principal components, N x 2.

    Raises:
        ValueError: All rows are the same.
    """
    x = x - x.mean(0)
    if np.abs(x).max() < 1e-6:
        raise ValueError(f'all {len(x)} features are the same: the network has collapsed, and there is nothing to draw')
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return np.pad(u[:, :2] * s[:2], ((0, 0), (0, max(0, 2 - u.shape[1]))))


def look_at_views(dataset, count=6, seed=0, img_norm_cfg=None):
    """Samples as they are stored, and the views that the network gets of them in the first epoch.

    Args:
        dataset (Dataset): Of the training.
        count (int): Number of samples.
        seed (int): Of the training.
        img_norm_cfg (dict, optional): See `views.look_at`.

    Returns:
        list[dict]: `image` and `rows` (of views), each image a dict with `uri`, `caption`, `width` and `height`;
        `more`, how many views are left out.
    """
    found = []
    with random_state_kept():
        for idx in views.choose(len(dataset), count):
            try:
                stored, (rows, ) = views.look_at(dataset, idx, seed=seed or 0, img_norm_cfg=img_norm_cfg)
            except BrokenImageError:
                continue
            kept, left = [], _VIEWS
            for row in rows:
                kept += [[_tile(tile) for tile in row[:left]]] if left else []
                left -= min(left, len(row))
            found.append(dict(image=_tile(stored), rows=kept, more=sum(map(len, rows)) - sum(map(len, kept))))
    return found


def _tile(tile):
    """A Tile as an image of a page; what a mask hides is grey."""
    image = tile.image
    if tile.mask is not None:
        mask = Image.fromarray(tile.mask.astype(np.uint8) * 255)
        hidden = np.asarray(mask.resize(image.shape[1::-1], Image.Resampling.NEAREST))[..., None] > 0
        image = np.where(hidden, np.uint8(128), image)
    small = thumbnail(image, 112)
    return dict(uri=data_uri(small), caption=tile.caption, width=image.shape[1], height=image.shape[0])


def _as_stored(image):
    """A collated image as the array of H x W x C that it came as."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _evenly(length, count):
    """At most `count` indices below `length`, in an order of which each beginning is spread evenly."""
    picked = np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))
    golden = (np.arange(len(picked)) * 0.6180339887498949) % 1
    return picked[np.argsort(np.argsort(golden))].tolist()


def _queries(labels):
    """Images whose neighbours are shown: of as many classes as can be, in their order."""
    turn = np.zeros(len(labels), int)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        # the middle one of a class first
        turn[mine[np.argsort(np.abs(np.arange(len(mine)) - len(mine) // 2), kind='stable')]] = np.arange(len(mine))
    if len(np.unique(labels)) == 1:
        return np.unique(np.linspace(0, len(labels) - 1, min(_QUERIES, len(labels))).round().astype(int)).tolist()
    return sorted(np.argsort(turn, kind='stable')[:_QUERIES].tolist(), key=lambda i: (labels[i], i))


def _short_names(names):
    """File names in one line each, without the folders that all have in common."""
    if len(names) > 1 and all(os.sep in name for name in names):
        shared = os.path.commonpath([os.path.dirname(name) for name in names])
        names = [os.path.relpath(name, shared) for name in names]
    return [printable(name) for name in names]
