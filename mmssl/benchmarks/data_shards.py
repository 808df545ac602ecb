# Copyright (c) mmssl contributors. All rights reserved.
"""Images in tar shards against the same images in a folder."""
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from mmssl.datasets.data_sources import Folder, Shards
from mmssl.datasets.pack import pack_images
from .data import folder_images, photographs
from .data_cases import compare

PASSES = 3


def run(cfg, data_prefix=None, num=100):
    """See data_cases. Nothing of the config is used: what differs is how bytes are read.

    From memory it is processor time of one thread. From the disk it is time by the clock with one reader, after the
    kernel was asked to forget the files; it keeps their places on the disk, which for many files it may not know.
    """
    files = [*photographs()] * -(-num // 8) if data_prefix is None else folder_images(data_prefix, num)
    with tempfile.TemporaryDirectory() as root:
        folder, packed = Path(root, 'folder'), Path(root, 'shards')
        for i, data in enumerate(files):
            path = folder / f'{i % 100:02d}' / f'{i:06d}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, 'wb') as file:
                file.write(data)
                os.fsync(file.fileno())
        sources = {'folder': Folder(str(folder))}
        pack_images(sources['folder'], packed, megabytes=64)
        sources['shards'] = Shards(str(packed))
        order = np.random.default_rng(0).permutation(len(files)).tolist()
        rows = compare({f'read, from memory: {name}': _reader(s.get_bytes, order) for name, s in sources.items()}, num)
        rows += compare(
            {
                f'read and decode, from memory: {name}': _reader(s.get_array, order)
                for name, s in sources.items()
            }, num)
        paths = [path for path in Path(root).rglob('*') if path.is_file()]
        seconds = {name: [] for name in sources}
        for _ in range(PASSES):
            for name, source in sources.items():
                sources['shards'].files.close()  # the kernel keeps what is mapped
                _forget(paths)
                start = time.perf_counter()
                for i in order:
                    source.get_bytes(i)
                seconds[name].append(time.perf_counter() - start)
        first = min(seconds['folder'])
        rows += [
            dict(what=f'read, from the disk: {name}', images_per_second=len(order) / min(own), ratio=first / min(own))
            for name, own in seconds.items()
        ]
        return dict(rows=rows, images=len(files), kilobytes_an_image=sum(map(len, files)) / len(files) / 1e3)


def _reader(read, order):
    return lambda i: read(order[i])


def _forget(paths):
    """Have the kernel drop what it keeps of files in memory."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
