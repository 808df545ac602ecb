# Copyright (c) mmssl contributors. All rights reserved.
"""What a loader costs as the number of samples grows: an index of any size, whose images are all one small file."""
import io
import multiprocessing
import os
import os.path as osp
import tarfile
import time

import numpy as np
from PIL import Image

from mmssl.datasets import build_dataloader, build_dataset
from mmssl.utils.shard_index import FOLDER, IndexWriter, file_shard_digest

_SMALL = 10000  # samples of the index that the memory is compared with


def write_simulated(folder, samples, shards):
    """Shards with an index as of many images: each shard is a link to one tar file with one image of 32 x 32 pixels.

    Args:
        folder (str | Path): A new folder for them; its index takes about 38 bytes a sample.
        samples (int): How many the index names, with 1,000 classes.
        shards (int): Over how many shards they are spread.

    Returns:
        int: Bytes of the arrays of the index.
    """
    os.makedirs(folder)
    pixels = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    file, tar = io.BytesIO(), osp.join(folder, 'image')  # not .tar: no shard itself
    Image.fromarray(pixels).save(file, 'JPEG')
    with tarfile.open(tar, 'w') as archive:
        member = tarfile.TarInfo('image.jpg')
        member.size = len(file.getvalue())
        archive.addfile(member, io.BytesIO(file.getvalue()))
    size, digest = osp.getsize(tar), file_shard_digest(tar)
    writer = IndexWriter(osp.join(folder, FOLDER))
    ends = np.arange(shards + 1) * samples // shards
    for number, (first, stop) in enumerate(zip(ends, ends[1:])):
        name = f'simulated-{number:06d}.tar'
        os.symlink('image', osp.join(folder, name))
        ids = np.arange(first, stop)
        names = np.full((len(ids), 14), ord('0'), np.uint8)
        names[:, 10:] = np.frombuffer(b'.jpg', np.uint8)
        for place in range(10):
            names[:, place] += (ids // 10**(9 - place) % 10).astype(np.uint8)
        writer.add(name, size, digest, np.full(len(ids), tarfile.BLOCKSIZE), np.full(len(ids), member.size),
                   names.tobytes(), 14 * np.arange(1,
                                                   len(ids) + 1), ids * 7919 % 1000)
    writer.finish()
    return index_bytes(folder)


def index_bytes(folder):
    """Bytes of the arrays of an index."""
    index = osp.join(folder, FOLDER)
    return sum(osp.getsize(osp.join(index, name)) for name in os.listdir(index) if name.endswith('.npy'))


def _forget_pages(folder):
    """Take the index out of the page cache, as after a restart of the machine."""
    index = osp.join(folder, FOLDER)
    for name in os.listdir(index):
        file = os.open(osp.join(index, name), os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def _processes():
    return [os.getpid(), *(process.pid for process in multiprocessing.active_children())]


def resident():
    """Memory of this process and its children, in bytes; what several of them share is counted once.

    Returns:
        dict[str, int]: `all`, and of it `own`, which is no part of a file.
    """
    found = dict(all=0, own=0)
    for pid in _processes():
        with open(f'/proc/{pid}/smaps_rollup') as file:
            values = {line.split(':')[0]: int(line.split()[1]) * 1024 for line in file if line.endswith('kB\n')}
        found['all'] += values['Pss']
        found['own'] += values['Pss'] - values['Pss_File']
    return found


def measure(folder, sampler=None, workers=4, batch_size=64, batches=1000):
    """Start a loader over shards, and load from it.

    Args:
        folder (str | Path): The shards with their index.
        sampler (dict, optional): As `data.sampler` of a config.
        workers (int): Worker processes.
        batch_size (int): Samples of a batch.
        batches (int): How many to load, first.

    Returns:
        dict: `start`, seconds to the first batch, from nothing but imported packages; `middle`, those to the first
        batch of an epoch that begins in its middle; `first` and `later`, the memory after the first and after all
        batches (see resident); `files`, the largest number of file descriptors of a process; `sampler_ns`, nanoseconds
        of the sampler an index; `images_per_second`.
    """
    start = time.perf_counter()
    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='Shards', data_prefix=folder),
            pipeline=[dict(type='CenterCrop', size=16)],
            prefetch=True))
    loader = build_dataloader(
        dataset, samples_per_gpu=batch_size, workers_per_gpu=workers, dist=False, seed=0, sampler=sampler)
    loaded = iter(loader)
    next(loaded)
    found = dict(start=time.perf_counter() - start, first=resident())
    start, count = time.perf_counter(), 0
    for count, _ in zip(range(1, batches), loaded):
        pass
    found['images_per_second'] = count * batch_size / (time.perf_counter() - start)
    found['later'] = resident()
    found['files'] = max(len(os.listdir(f'/proc/{pid}/fd')) for pid in _processes())
    start = time.perf_counter()
    loader.set_epoch(1, start=len(loader) // 2)
    next(iter(loader))
    found['middle'] = time.perf_counter() - start
    number = min(len(dataset), 2**20)
    start = time.thread_time()
    for _ in zip(range(number), loader.sampler.iterate(len(dataset) // 3)):
        pass
    found['sampler_ns'] = (time.thread_time() - start) / number * 1e9
    return found


def _in_a_process(function, *args):
    """The function's result, from a process of its own, whose memory nobody has used before."""

    def run(end):
        try:
            end.send((function(*args), None))
        except Exception as error:
            end.send((None, error))

    context = multiprocessing.get_context('fork')
    end, far = context.Pipe(False)
    process = context.Process(target=run, args=(far, ))
    process.start()
    far.close()
    try:
        result, error = end.recv()
    except EOFError:
        process.join()
        error = RuntimeError(f'the measuring process ended with the exit code {process.exitcode}')
    process.join()
    if error is not None:
        raise error
    return result


def simulate(folder, samples, shards, sampler=None, workers=4, batches=1000):
    """Measure a loader over an index of many samples, against one over a small index.

    Args:
        folder (str | Path): An empty or new folder, in which the indices are written and left.
        samples (int): How many.
        shards (int): Over how many shards they are spread.
        sampler (dict, optional): As `data.sampler` of a config.
        workers (int): Worker processes.
        batches (int): How many batches of 64 to load.

    Returns:
        dict: `samples`, `index_bytes`, what `measure` tells of the large index as `large` and of the small one as
        `small`, and `memory_ratio`: how much more memory the large one takes, as a share of its bytes.
    """
    folder = os.fspath(folder)
    found = dict(samples=samples, shards=shards, workers=workers, batches=batches)
    found['index_bytes'] = write_simulated(osp.join(folder, 'large'), samples, shards)
    write_simulated(osp.join(folder, 'small'), _SMALL, 1)
    for name in ('small', 'large'):
        _forget_pages(osp.join(folder, name))
        found[name] = _in_a_process(measure, osp.join(folder, name), sampler, workers, 64, batches)
    more = found['large']['later']['all'] - found['small']['later']['all']
    return dict(found, memory_ratio=more / found['index_bytes'])


def format_simulation(result):
    """The result of simulate as text."""
    rows = [('', 'small index', 'large index'), ('samples', f'{_SMALL:,}', f'{result["samples"]:,}')]
    for name, words, form in [('start', 'start to the first batch, s', '.2f'),
                              ('middle', 'first batch of an epoch begun in its middle, s', '.2f'),
                              ('sampler_ns', 'sampler, ns an index', '.0f'), ('images_per_second', 'images/s', '.0f'),
                              ('files', 'file descriptors of a process', 'd')]:
        rows.append((words, *(format(result[size][name], form) for size in ('small', 'large'))))
    for part, words in [('all', 'memory of all processes'), ('own', 'of it no part of a file')]:
        for when, count in [('first', 1), ('later', result['batches'])]:
            rows.append(
                (f'{words} after {count} batch{"es" * (count > 1)}, MB', *(f'{result[size][when][part] / 1e6:.0f}'
                                                                           for size in ('small', 'large'))))
    lines = [f'{words:<55} {small:>12} {large:>12}' for words, small, large in rows]
    lines.append(f'The large index has {result["index_bytes"] / 1e6:.0f} MB and takes {result["memory_ratio"]:.3f} of '
                 'that in memory.')
    return '\n'.join(lines)
