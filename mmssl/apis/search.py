# Copyright (c) mmssl contributors. All rights reserved.
"""Images that a trained network finds similar; features of a folder are computed once and kept with the run."""
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Subset

from mmssl.evaluation.descriptor import Descriptor
from mmssl.evaluation.features import extract_alone
from mmssl.evaluation.neighbours import nearest_neighbours
from mmssl.utils.config_text import parse_config_text
from mmssl.utils.errors import AbsentFileError, ConfigError, check_integer, printable
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import atomic_write, file_digest
from .embedding import embed, told_of
from .image_sources import has_files, name_of, path_of
from .inference import training_source
from .run_dir import last_start
from .sheet import html_of, write_sheet


@dataclass
class Hit:
    """An image that was found.

    Attributes:
        file (str): Its name, relative to the folder that was searched.
        similarity (float): Cosine similarity of its features and those of the query, -1 to 1.
        path (Path | None): Its file, where it is one of its own on the disk.
        idx (int): Number of the image in its data source.
    """
    file: str
    similarity: float
    path: Path
    idx: int


@dataclass(eq=False)
class Hits(Sequence):
    """The images most similar to a query, the most similar first. It shows itself as pictures in a notebook.

    Attributes:
        query (str): Name of the query.
        picture (ndarray): The query, H x W x C.
        found (list[Hit]): The images.
        source (BaseDataSource): Where they are from: `source.get_array(hit.idx)` reads one.
        searched (int): Number of images that were compared.
        broken (dict[str, str]): Files that could not be read, and why.
    """
    query: str
    picture: np.ndarray
    found: list
    source: object
    searched: int
    broken: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.found)

    def __getitem__(self, place):
        return self.found[place]

    def __repr__(self):
        lines = [f'{self.query}, most similar of {self.searched} images:']
        return '\n'.join(lines + [f'  {hit.similarity:.3f}  {hit.file}' for hit in self.found])

    def _repr_html_(self):
        return html_of([self])

    def save(self, path):
        """Write the query and what was found as a sheet of pictures.

        Args:
            path (str | Path): NAME.png, .jpg, .pdf or .svg, or NAME.html, one file with all pictures in it.
        """
        write_sheet([self], path)


@dataclass
class Bank:
    """Features of the images that are searched.

    Attributes:
        source (BaseDataSource): The images.
        names (list[str]): Of those with features.
        index (list[int]): Their numbers in the source.
        features (ndarray): One row each, float32, before they are whitened.
        broken (dict[str, str]): Files that could not be read, and why.
        computed (int): Of how many images features were computed now; those of the others were there already.
    """
    source: object
    names: list
    index: list
    features: np.ndarray
    broken: dict
    computed: int


def search(run, queries, data=None, k=9, layer=None, size=None, workers=0, progress=False):
    """The images most similar to queries, by the cosine similarity of features.

    A query that is itself one of the images is not found.

    Args:
        run (Run): Whose network makes the features.
        queries (Sequence): Files, Pillow images or arrays.
        data (str | Path | dict | Sequence, optional): Where to search, see image_sources.source_of; None: the images
            of the training.
        k (int): How many to find for each query.
        layer, size, workers, progress: See Run.features.

    Returns:
        list[Hits]: One a query.

    Raises:
        BrokenImageError: A query cannot be read.
        FileNotFoundError, ConfigError: See Run.features.
    """
    check_integer(k, 'k', 1)
    for query in queries:
        if isinstance(query, (str, os.PathLike)) and not os.path.isfile(os.path.expanduser(query)):
            raise AbsentFileError(f'{printable(query)} is ' + (
                'a folder: a query is an image file' if os.path.isdir(query) else 'no image file that is there'))
    asked, norm = run.dataset(list(queries), size)
    wanted = embed(run.model(layer), asked, Descriptor.by(layer, run.cfg), norm, broken='stop').features
    if wanted.ndim != 2:
        raise ConfigError(
            f'layer {layer} gives {" x ".join(map(str, wanted.shape[1:]))} numbers for an image: a search '
            'compares vectors, such as those of pooled')
    whitening = run.whitening(layer)
    bank = open_bank(run, data, layer, size, workers, progress)
    features, wanted = (
        torch.from_numpy(x if whitening is None else whitening.apply(x)) for x in (bank.features, wanted))
    similarity, rows = nearest_neighbours(features, wanted, min(k + 1, len(bank.names)))
    answers = []
    for number, (values, places) in enumerate(zip(similarity.tolist(), rows.tolist())):
        own = path_of(asked.data_source, number)
        hits = [
            Hit(bank.names[row], value, path_of(bank.source, bank.index[row]), bank.index[row])
            for value, row in zip(values, places)
        ]
        hits = [hit for hit in hits if own is None or hit.path is None or not own.samefile(hit.path)][:k]
        name, picture = asked.data_source.get_filename(number), asked.data_source.get_array(number)
        answers.append(Hits(str(name), picture, hits, bank.source, len(bank.names), bank.broken))
    return answers


def open_bank(run, data=None, layer=None, size=None, workers=0, progress=False):
    """Features of the images that are searched; those of unchanged files are kept with the run.

    They lie in RUN/features. What is kept of a file counts as long as its size and its time of change, the checkpoint,
    the layer and the preprocessing are the same. Of images that are no files of their own nothing is kept.

    Args:
        run, data, layer, size, workers, progress: See search.

    Returns:
        Bank: Of all images that can be read.
    """
    dataset, norm = run.dataset(data, size)
    source, options = dataset.data_source, dict(img_norm_cfg=norm, workers=workers, progress=progress)
    by, stamps = Descriptor.by(layer, run.cfg), _stamps(source)
    if stamps is None:
        found = embed(run.model(layer), dataset, by, **options)
        return Bank(source, found.files, found.index, found.features, found.broken, len(dataset))
    names = [name_of(source, i) for i in range(len(source))]
    place = repr((os.path.abspath(source.data_prefix or ''), by, dataset.pipeline, norm, run.teacher))
    file = run.out / 'features' / f'{hashlib.sha256(place.encode()).hexdigest()[:20]}.npz'
    sha256 = file_digest(run.checkpoint)
    old = _read(file, sha256)
    wanted = [i for i, name in enumerate(names) if (name, *stamps[i]) not in old]
    if wanted:
        with told_of(', '.join(by.layers)):
            found = by.join(
                extract_alone(
                    run.model(layer),
                    Subset(dataset, wanted),
                    layers=tuple(by.layers),
                    pool_type=by.pool_type,
                    **options))
        new = {wanted[i]: reason for i, _, reason in found.broken}
        new.update(zip(found.index.tolist(), found['descriptor'] if len(found) else ()))
        old.update({(names[i], *stamps[i]): new[i] for i in wanted})
    rows = [old[(name, *stamp)] for name, stamp in zip(names, stamps)]
    readable = [i for i, row in enumerate(rows) if not isinstance(row, str)]
    broken = {names[i]: row for i, row in enumerate(rows) if isinstance(row, str)}
    if not readable:
        raise ConfigError(f'all images are broken, such as {printable(names[0])}: {broken[names[0]]}')
    features = np.stack([rows[i] for i in readable])
    if wanted:
        _write(file, sha256, names, stamps, readable, features, broken)
    return Bank(source, [names[i] for i in readable], readable, features, broken, len(wanted))


def _stamps(source):
    """Size and time of change of the file of each image; None where images are no files of their own.

    Returns:
        list[tuple[int, int]] | None: Bytes and nanoseconds; (-1, -1) for a file that is not there.
    """
    if not has_files(source):
        return None
    stamps = []
    for i in range(len(source)):
        try:
            found = os.stat(source.get_filename(i))
            stamps.append((found.st_size, found.st_mtime_ns))
        except (OSError, ValueError):
            stamps.append((-1, -1))
    return stamps


def _read(file, sha256):
    """What is kept, by name, size and time of change: features, or words on why a file cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            facts = json.loads(kept['facts'].tobytes())
            if facts['sha256'] != sha256:
                return {}
            rows = dict(zip(facts['readable'], kept['features']))
            return {(name, *stamp): rows.get(i, facts['broken'].get(name))
                    for i, (name, stamp) in enumerate(zip(facts['names'], kept['stamps'].tolist()))}  # yapf: disable
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return {}  # nothing is kept, or by another version


def _write(file, sha256, names, stamps, readable, features, broken):
    facts = json.dumps(dict(sha256=sha256, names=names, readable=readable, broken=broken)).encode()
    try:
        file.parent.mkdir(exist_ok=True)
        with atomic_write(file, 'wb') as opened:
            np.savez(opened, facts=np.frombuffer(facts, np.uint8), stamps=np.array(stamps, np.int64), features=features)
    except OSError as error:
        get_root_logger().warning(f'the features are not kept for the next search: {error}')


def find_run(data, folder='work_dirs'):
    """The run below a folder that began last, of those that were trained on certain images.

    Args:
        data (str | Path): What a search is in: a folder, a list, a name of the catalog.
        folder (str | Path): Of the runs.

    Returns:
        Path: Folder of the run.

    Raises:
        ConfigError: There is none.
    """
    wanted = _places(data)
    runs = []
    for out in Path(folder).glob('*/'):
        saved = last_start(out)
        if saved is None:
            continue
        try:
            values = parse_config_text(saved.read_text(encoding='utf-8'))
        except ConfigError:
            continue
        if wanted & _places_of_source(training_source(values)):
            runs.append((saved.stat().st_mtime_ns, out))
    if not runs:
        raise ConfigError(f'no run in {folder} was trained on {data}: name one by --run, or train one by '
                          f'`mmssl train {data}`')
    return max(runs)[1]


def _places(data):
    """What a config may have as the place of some images."""
    if os.path.exists(os.path.expanduser(data)):
        path = os.path.realpath(os.path.expanduser(data))
        return {path, *(os.path.join(path, part) for part in ('train', 'training', 'trainval'))}
    return {str(data)}


def _places_of_source(source):
    source = source or {}
    name = source.get('name')
    places = {name, f'{name}:{source.get("split")}'} if name else set()
    for key in ('data_prefix', 'ann_file'):
        if isinstance(source.get(key), str):
            places.add(os.path.realpath(os.path.expanduser(source[key])))
    return places
