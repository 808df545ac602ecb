# Copyright (c) mmssl contributors. All rights reserved.
"""From a checkpoint to cluster labels in files: the first step of ClusterFit."""
import shlex
import time
from pathlib import Path

import numpy as np

from mmssl.evaluation import clusterfit
from mmssl.evaluation.stored_features import load_features
from mmssl.utils import dist
from mmssl.utils.clustering import size_statistics
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write, write_json


def cluster_features(run, args):
    """Extract, cluster, and write; see tools/cluster_features.py.

    Args:
        run (EvaluationRun): With the sections of all splits.
        args (argparse.Namespace): Options of the tool.

    Raises:
        ConfigError: Features that cannot be clustered as asked for.
    """
    folder, layer = Path(args.out_dir), args.layers[0]
    # options that cannot be, before hours are spent
    samples = len(run.dataset(args.splits[0]))
    if not 0 < args.clusters <= samples:
        raise ConfigError(f'--clusters {args.clusters}: data.{args.splits[0]} has {samples} images')
    if args.iterations < 1:
        raise ConfigError(f'--iterations must be 1 or more, got {args.iterations}')
    if args.pca is not None and args.pca < 1:
        raise ConfigError(f'--pca must be 1 component or more, got {args.pca}')

    shares = {}
    for split in args.splits:
        if args.features:
            features = run.extract(split)
        else:
            run.store(split, folder / 'features', overwrite=args.overwrite, dtype=args.dtype)
            features = load_features(folder / 'features', split, [layer])[0]
        # each process reads its share, of what is mapped into memory
        mine = np.array_split(np.arange(len(features)), dist.get_world_size())[dist.get_rank()]
        values = features[layer][mine[0]:mine[-1] + 1] if len(mine) else features[layer][:0]
        shares[split] = features.index[mine], np.array(values).reshape(len(mine), -1)

    start = time.time()
    index, values = shares[args.splits[0]]
    try:
        found = clusterfit.run(values, index, args.clusters, args.iterations, args.pca, args.backend, args.seed,
                               dist.default_device())
    except ValueError as error:
        raise ConfigError(f'data.{args.splits[0]}: {error}') from error
    statistics = size_statistics(found.sizes)
    run.logger.info(f'{found.sizes.sum()} images to {args.clusters} clusters in {time.time() - start:.1f} s: mean '
                    f'squared distance {found.losses[-1]:.4f} after {found.losses[0]:.4f}; sizes '
                    f'{statistics["clusters_min"]} to {statistics["clusters_max"]}, {statistics["clusters_empty"]} '
                    'empty')

    labels = {}
    for split, (index, values) in shares.items():
        own = found.labels if split == args.splits[0] else found.nearest(values, dist.default_device())
        parts = dist.all_gather_object((index, own))
        labels[split] = np.full(len(run.dataset(split)), -1, np.int32)  # -1: images that cannot be read
        for numbers, clusters in parts:
            labels[split][numbers] = clusters
    if dist.get_rank() == 0:
        _write(folder, run, args, found, labels, statistics)
    dist.barrier()


def _write(folder, run, args, found, labels, statistics):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f'{split}_labels.npy': values for split, values in labels.items()}
    for name, values in {**arrays, 'centroids.npy': found.centroids}.items():
        with atomic_write(folder / name, 'wb') as file:
            np.save(file, values)
    if found.axes is not None:
        with atomic_write(folder / 'pca.npz', 'wb') as file:
            np.savez(file, mean=found.mean, axes=found.axes)
    provenance = {split: run.provenance(split) for split in labels}
    write_json(
        folder / 'clusters.json',
        dict(
            config=str(args.config),
            checkpoint=args.checkpoint,
            dataset_config=str(args.dataset_config),
            layer=args.layers[0],
            pool_type=args.pool_type,
            clusters=args.clusters,
            iterations=args.iterations,
            pca=args.pca,
            backend=args.backend,
            seed=args.seed,
            processes=dist.get_world_size(),
            images={
                split: len(values)
                for split, values in labels.items()
            },
            losses=found.losses,
            data=provenance,
            **statistics))
    file = shlex.quote(str(folder / f'{args.splits[0]}_labels.npy'))
    run.logger.info(f'labels and centroids are in {folder}; to train on them: --cfg-options '
                    f'data.train.data_source.labels={file} '
                    f'model.head.num_classes={args.clusters}')
