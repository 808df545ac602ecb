# Copyright (c) mmssl contributors. All rights reserved.
"""Features in files: extracted piece by piece, by several processes, resumable; and read again."""
import contextlib
import hashlib
import json
import os
from pathlib import Path

import numpy as np

from mmssl.datasets.dataset_wrappers import sample_name
from mmssl.datasets.loader import left_out, write_broken
from mmssl.utils import dist
from mmssl.utils.errors import ConfigError, printable
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import atomic_write, json_ready, write_json
from mmssl.utils.stored_arrays import stored_array, stored_settings
from .features import Features, extract_alone


def files_digest(dataset):
    """SHA-256 of the names of all samples in their order, and of the sizes of those that are files, as hexadecimal."""
    digest = hashlib.sha256()
    for i in range(len(dataset)):
        name = sample_name(dataset, i)
        digest.update(name.encode('utf-8', 'surrogateescape') + b'\0')
        with contextlib.suppress(OSError):
            digest.update(b'%d\0' % os.stat(name).st_size)
    return digest.hexdigest()


def first_difference(known, wanted, keys):
    """Where two settings differ first, in words: 'data.data_source.data_prefix is ... there, ... here'; None: nowhere.

    Args:
        known (dict): Those of a file.
        wanted (dict): Those of now, of plain values.
        keys (Sequence[str]): What is compared of the outermost level.

    Returns:
        str | None: The words.
    """
    for key in keys:
        there, here = known.get(key), wanted.get(key)
        if there == here:
            continue
        if isinstance(there, dict) and isinstance(here, dict):
            return f'{key}.{first_difference(there, here, dict.fromkeys([*there, *here]))}'
        if key == 'files':
            return 'the names of the images are others'
        return f'{key} is {there!r} there, {here!r} here'


def store_features(model, dataset, folder, split, settings, shard_size=10000, overwrite=False, **options):
    """Extract the features of a data set into files.

    Work is done in shards, shard s by process s modulo the number of processes, so that every bit is the same in one
    process and in many. A finished shard is a file that appears at once; a run that is killed and started again goes on
    with the shards that are not there. When all are, the first process joins them: SPLIT_LAYER.npy, SPLIT_labels.npy,
    SPLIT_index.npy, SPLIT_files.txt (names of the samples), where images could not be read SPLIT_broken.json, and
    SPLIT.json with settings and shapes, which comes last.

    Args:
        model (nn.Module | None): See extract_features.
        dataset (Dataset): See extract_features.
        folder (str | Path): For the files; made where there is none.
        split (str): First part of the files' names.
        settings (dict): What the features depend on besides, of plain values: model, digest of the checkpoint, data.
        shard_size (int): Samples of a shard.
        overwrite (bool): Throw away what other settings have left.
        options: Of extract_features: layers, pool_type, batch_size, workers, dtype, img_norm_cfg, progress, broken.

    Returns:
        int: Number of samples extracted by this call in this process; 0 where everything was there.

    Raises:
        ConfigError: The folder holds features of this split with other settings; a file name has a line break; no
            image can be read.
    """
    if shard_size < 1:
        raise ConfigError(f'the size of a shard must be at least 1, got {shard_size}')
    for i in range(len(dataset)):
        name = sample_name(dataset, i)
        if '\n' in name or '\r' in name:
            raise ConfigError(f'{printable(name)}: a file name with a line break cannot stand in '
                              f'{split}_files.txt; rename the file')
    folder = Path(folder)
    classes = getattr(dataset, 'CLASSES', None)
    facts = dict(
        settings,
        samples=len(dataset),
        files=files_digest(dataset),
        classes=None if classes is None else list(map(str, classes)),
        shard_size=shard_size,
        batch_size=options.get('batch_size', 256),
        layers=list(options['layers']),
        pool_type=options.get('pool_type', 'average'),
        dtype=options.get('dtype', 'float32'))
    facts, _ = json_ready(facts)
    final, begun = folder / f'{split}.json', folder / f'{split}.unfinished'
    problem = None
    if dist.get_rank() == 0:
        for note in (final, begun / 'settings.json'):
            known = json.loads(note.read_text()) if note.exists() else None
            differs = known and first_difference(known, facts, facts)
            if differs and not overwrite:
                problem = f'{folder} holds features of {split} with other settings: {differs}. Another folder, or ' \
                    '--overwrite'
            elif differs:
                note.unlink()
                for shard in begun.glob('*.npz'):
                    shard.unlink()
        if not problem and not final.exists():
            write_json(begun / 'settings.json', facts)
    problem = dist.broadcast_object(problem)
    if problem:
        raise ConfigError(problem)
    if dist.broadcast_object(final.exists()):
        return 0

    shards, done, error = range(-(-len(dataset) // shard_size)), 0, None
    try:
        for s in shards[dist.get_rank()::dist.get_world_size()]:
            path = begun / f'{s:06d}.npz'
            if path.exists():
                continue
            part = range(s * shard_size, min(len(dataset), (s + 1) * shard_size))
            found = extract_alone(model, dataset, part, **options)
            with atomic_write(path, 'wb') as file:
                np.savez(file, broken=json.dumps(found.broken), index=found.index, labels=found.labels, **found.layers)
            done += len(found)
    except Exception as e:
        error = e
    errors = dist.all_gather_object(error and f'process {dist.get_rank()}: {type(error).__name__}: {error}')
    if error:
        raise error
    if any(errors):
        raise RuntimeError('; '.join(filter(None, errors)))
    if dist.get_rank() == 0:
        _join(dataset, folder, split, begun, len(shards), facts)
    dist.broadcast_object(None, patient=True)
    return done


def _join(dataset, folder, split, begun, count, facts):
    paths = [begun / f'{s:06d}.npz' for s in range(count)]
    shapes, kinds, broken = {}, {}, []
    for path in paths:
        with np.load(path) as shard:
            broken += json.loads(str(shard['broken']))
            for name in {*shard.files} - {'broken'}:
                rows, *rest = shard[name].shape
                if rows:
                    shapes[name] = [shapes.get(name, [0])[0] + rows, *rest]
                    kinds[name] = shard[name].dtype
    if not shapes:
        raise ConfigError(f'all images are broken: {left_out(broken, len(dataset))}')
    for name, shape in shapes.items():
        with atomic_write(folder / f'{split}_{name}.npy', 'wb') as file:
            np.lib.format.write_array_header_2_0(
                file, dict(descr=np.lib.format.dtype_to_descr(kinds[name]), fortran_order=False, shape=tuple(shape)))
            for path in paths:
                with np.load(path) as shard:
                    if name in shard.files:
                        file.write(np.ascontiguousarray(shard[name]).tobytes())
    absent = {idx for idx, _, _ in broken}
    with atomic_write(folder / f'{split}_files.txt', 'wb') as file:
        file.writelines(os.fsencode(f'{sample_name(dataset, i)}\n') for i in range(len(dataset)) if i not in absent)
    write_broken(folder / f'{split}_broken.json', broken)
    if broken:
        get_root_logger().warning(left_out(broken, len(dataset)))
    write_json(folder / f'{split}.json', dict(facts, shapes=shapes))
    for path in (*paths, begun / 'settings.json'):
        path.unlink()
    begun.rmdir()


def load_features(folder, split, layers=None):
    """Features that store_features has written.

    Args:
        folder (str | Path): The folder.
        split (str): The split.
        layers (Sequence[str], optional): Those that are needed; by default all.

    Returns:
        tuple[Features, dict]: Arrays that stay in their files until they are read, and the settings.

    Raises:
        FileNotFoundError: The folder has no features of this split, or unfinished ones.
        ConfigError: It lacks a layer.
    """
    settings = stored_settings(folder, split, layers)
    arrays = {layer: stored_array(folder, split, layer) for layer in layers or settings['layers']}
    labels, index = (np.array(stored_array(folder, split, name)) for name in ('labels', 'index'))
    return Features(arrays, labels, index, settings.get('classes')), settings
