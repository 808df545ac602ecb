# Copyright (c) mmssl contributors. All rights reserved.
"""Instance retrieval: a database, queries cropped to their boxes, and which images of the database each should find."""
import os.path as osp
import re
from abc import abstractmethod
from pathlib import Path

import numpy as np

from mmssl.utils.errors import ConfigError, check_integer
from mmssl.utils.logger import get_root_logger
from mmssl.utils.unpickle import ArrayUnpickler
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings
from .folder import find_images


class RetrievalSource(BaseDataSource):
    """Database or queries of an instance-retrieval benchmark.

    A subclass writes `load_benchmark`.

    Args:
        data_prefix (str): Folder of the benchmark.
        queries (bool): The queries instead of the database.
        ann_file (str, optional): Ground truth, where it does not lie in its usual place; relative to `data_prefix`.
        num_samples (int, optional): Take the first so many images of the database alone, for a look whether all runs.
            Queries that find none of theirs among them are left out. Database and queries need the same number.
        kwargs: See BaseDataSource.

    Attributes:
        ground_truth (dict[str, list[dict]]): By protocol, for each query `ok` and `junk`: int64 positions in the
            database of what it should find and of what is left out of its ranking.
    """

    def __init__(self, data_prefix, queries=False, ann_file=None, num_samples=None, **kwargs):
        if num_samples is not None:
            check_integer(num_samples, 'num_samples', 1)
        self.queries, self.num_samples = queries, num_samples
        super().__init__(data_prefix, ann_file=ann_file, **kwargs)

    @abstractmethod
    def load_benchmark(self):
        """Find everything.

        Returns:
            tuple: Names of the database's files, names of the queries' files, boxes of the queries in pixels
                (x1, y1, x2, y2; None for the whole image), and the ground truth.
        """

    def load_annotations(self):
        database, queries, boxes, self.ground_truth = self.load_benchmark()
        kind, names = type(self).__name__, queries if self.queries else database
        if not names:
            raise FileNotFoundError(f'{kind}: no {"queries" if self.queries else "images"} in '
                                    f'{osp.abspath(self.data_prefix)}')
        for protocol, entries in self.ground_truth.items():
            for name, entry in zip(queries, entries, strict=True):
                for part, found in entry.items():
                    if len(found) and not 0 <= found.min() <= found.max() < len(database):
                        raise ConfigError(f'{kind}: {part} of the query {name} ({protocol}) names an image beyond the '
                                          f'{len(database)} of the database')
        if self.num_samples is not None:
            database, queries, boxes = self._cut(database, queries, boxes)
            names = queries if self.queries else database
        self.boxes = boxes if self.queries else None
        return CompactStrings(names), np.full(len(names), -1, np.int32)

    def _cut(self, database, queries, boxes):
        """The first images of the database, and those queries that find one there."""
        kind, size = type(self).__name__, self.num_samples
        if size > len(database):
            raise ConfigError(f'num_samples is {size}, {kind} has {len(database)} images in its database')
        truth = {
            protocol: [{
                part: found[found < size]
                for part, found in entry.items()
            } for entry in entries]
            for protocol, entries in self.ground_truth.items()
        }
        kept = [i for i in range(len(queries)) if any(len(entries[i]['ok']) for entries in truth.values())]
        if not kept:
            raise ConfigError(f'no query of {kind} finds an image among the first num_samples={size} of the database')
        get_root_logger().info(
            f'{kind}: {size} of {len(database)} images, and the {len(kept)} of {len(queries)} queries '
            'that find some of theirs among them; the figures are no results of the benchmark')
        self.ground_truth = {protocol: [entries[i] for i in kept] for protocol, entries in truth.items()}
        return database[:size], *([values[i] for i in kept] for values in (queries, boxes))

    def read(self, idx):
        img = super().read(idx)
        box = self.boxes[idx] if self.boxes is not None else None
        if box is None:
            return img
        limits = np.tile(img.shape[1::-1], 2)
        x1, y1, x2, y2 = np.clip(np.round(box).astype(int), 0, limits)
        if x1 >= x2 or y1 >= y2:
            raise ConfigError(f'the box {list(box)} of the query {self.get_filename(idx)} holds nothing of its '
                              f'{limits[0]} x {limits[1]} pixels')
        return np.ascontiguousarray(img[y1:y2, x1:x2])

    def _find(self, *names):
        """Path of the first of several names in the folder of the benchmark, or of ann_file where that is given."""
        names = (self.ann_file, ) if self.ann_file else names
        for name in names:
            path = osp.join(self.data_prefix, name)
            if osp.exists(path):
                return path
        raise FileNotFoundError(f'{type(self).__name__}: there is no ground truth {" or ".join(names)} in '
                                f'{osp.abspath(self.data_prefix)}; ann_file names another place')

    def _listed(self, names, *folders):
        """Names of listed files: as they stand, in one of `folders`, with .jpg where they have no extension."""
        names = [name if osp.splitext(name)[1] else f'{name}.jpg' for name in map(str, names)]
        folder = next((f for f in folders if osp.isdir(osp.join(self.data_prefix, f))), '')
        paths = [osp.join(folder, name) for name in names]
        absent = [path for path in paths if not osp.isfile(osp.join(self.data_prefix, path))]
        if absent:
            raise FileNotFoundError(f'{type(self).__name__}: {len(absent)} of {len(paths)} listed images are not in '
                                    f'{osp.abspath(self.data_prefix)}, such as {absent[0]}')
        return paths


def _positions(values, first=0):
    """Positions as a sorted int64 array without repetitions; `first` is how the first image is counted."""
    return np.unique(np.asarray(values, np.int64).reshape(-1)) - first


@DATASOURCES.register_module()
class Oxford5k(RetrievalSource):
    """Oxford buildings (Philbin et al., 2007): 5,063 images, 55 queries; the same layout serves for Paris6k.

    The images lie anywhere in `data_prefix`; for each query NAME there are the text files NAME_query.txt (an image and
    its box), NAME_good.txt, NAME_ok.txt and NAME_junk.txt in the folder groundtruth, gt_files or `ann_file`. Good and
    ok images are to be found, as in the original protocol the image of the query itself, which is listed as good.

    Args: see RetrievalSource, and:
        exclude (Sequence[str]): Images that are not used, by name without folder and extension, such as the broken
            ones of Paris6k.
    """

    def __init__(self, data_prefix, queries=False, ann_file=None, exclude=(), **kwargs):
        self.exclude = frozenset(exclude)
        super().__init__(data_prefix, queries, ann_file, **kwargs)

    def load_benchmark(self):
        folder = Path(self._find('groundtruth', 'gt_files'))
        database = [name for name in find_images(self.data_prefix) if Path(name).stem not in self.exclude]
        position = {Path(name).stem: i for i, name in enumerate(database)}
        files = sorted(folder.glob('*_query.txt'))
        if not files:
            raise FileNotFoundError(f'{type(self).__name__}: no files NAME_query.txt in {folder}')
        queries, boxes, entries = [], [], []
        for file in files:
            name, *box = file.read_text().split()
            if len(box) != 4 or not all(re.fullmatch(r'-?\d+(\.\d*)?', number) for number in box):
                raise ConfigError(f'{file}: not an image and the four numbers of a box: {file.read_text()[:80]!r}')
            # Oxford's query files, and only these, put oxc1_ in front of the name
            queries.append(database[self._position(position, name.removeprefix('oxc1_'), file)])
            boxes.append(tuple(map(float, box)))
            lists = {}
            for part in ('good', 'ok', 'junk'):
                path = file.with_name(f'{file.name.removesuffix("_query.txt")}_{part}.txt')
                if not path.is_file():
                    raise FileNotFoundError(f'{type(self).__name__}: there is no {path}')
                names = [n for n in path.read_text().split() if n not in self.exclude]
                lists[part] = [self._position(position, n, path) for n in names]
            entries.append(dict(ok=_positions(lists['good'] + lists['ok']), junk=_positions(lists['junk'])))
        return database, queries, boxes, dict(all=entries)

    def _position(self, position, name, file):
        if name not in position:
            raise FileNotFoundError(f'{file} lists {name}, but there is no such image in '
                                    f'{osp.abspath(self.data_prefix)}')
        return position[name]


@DATASOURCES.register_module()
class Paris6k(Oxford5k):
    """Paris (Philbin et al., 2008): 6,412 images, 55 queries; see Oxford5k."""


def _load_pickle(path):
    with open(path, 'rb') as file:
        try:
            found = ArrayUnpickler(file, encoding='latin1').load()
            return found['imlist'], found['qimlist'], found['gnd']
        except Exception as error:
            raise ConfigError(f'{path} is no ground truth with imlist, qimlist and gnd: {error}') from error


@DATASOURCES.register_module()
class ROxford5k(RetrievalSource):
    """Revisited Oxford (Radenovic et al., 2018, arXiv:1803.11285): 4,993 images, 70 queries, three protocols.

    `data_prefix` holds gnd_roxford5k.pkl and the folder jpg. Easy: easy images are to be found, hard ones are junk.
    Medium: both are to be found. Hard: hard ones are, easy ones are junk.

    Args: see RetrievalSource.
    """

    def load_benchmark(self):
        path = self._find(f'gnd_{type(self).__name__.lower()}.pkl')
        database, queries, entries = _load_pickle(path)
        try:
            parts = [{name: _positions(entry[name]) for name in ('easy', 'hard', 'junk')} for entry in entries]
            boxes = [entry.get('bbx') for entry in entries]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f'{path}: the queries need easy, hard and junk: {error!r}') from error
        wanted = dict(easy=('easy', ), medium=('easy', 'hard'), hard=('hard', ))
        truth = {
            protocol: [
                dict(
                    ok=_positions(np.concatenate([part[name] for name in names])),
                    junk=_positions(np.concatenate([part[name] for name in part if name not in names])))
                for part in parts
            ]
            for protocol, names in wanted.items()
        }
        folders = 'jpg', 'images'
        return self._listed(database, *folders), self._listed(queries, *folders), boxes, truth


@DATASOURCES.register_module()
class RParis6k(ROxford5k):
    """Revisited Paris: 6,322 images, 70 queries, with gnd_rparis6k.pkl; see ROxford5k."""


@DATASOURCES.register_module()
class Instre(RetrievalSource):
    """INSTRE (Wang and Jiang, 2015) with the queries of Iscen et al. (2017): 27,293 images, 1,250 queries.

    `data_prefix` holds the folders of images and gnd_instre.mat (positions count from 1) or gnd_instre.pkl (from 0),
    with imlist, qimlist and, for each query, ok and bbx.

    Args: see RetrievalSource.
    """

    def load_benchmark(self):
        path = self._find('gnd_instre.mat', 'gnd_instre.pkl')
        if path.endswith('.mat'):
            from scipy.io import loadmat
            try:
                found = loadmat(path, squeeze_me=True, struct_as_record=False)
                database, queries = (np.atleast_1d(found[name]) for name in ('imlist', 'qimlist'))
                entries = [dict(ok=gnd.ok, bbx=getattr(gnd, 'bbx', None)) for gnd in np.atleast_1d(found['gnd'])]
            except Exception as error:
                raise ConfigError(f'{path} is no ground truth with imlist, qimlist and gnd: {error!r}') from error
        else:
            database, queries, entries = _load_pickle(path)
        first = int(path.endswith('.mat'))
        boxes = [None if e.get('bbx') is None else tuple(np.ravel(e['bbx'])) for e in entries]
        truth = [dict(ok=_positions(e['ok'], first), junk=_positions([])) for e in entries]
        return self._listed(database), self._listed(queries), boxes, dict(all=truth)


class _Blocks(RetrievalSource):
    """Images of one scene share the number in their file's name but for its last two digits."""

    def _blocks(self):
        names = list(find_images(self.data_prefix))
        numbers = []
        for name in names:
            digits = re.search(r'(\d{3,})\D*$', Path(name).stem)
            if not digits:
                raise ConfigError(f'{type(self).__name__}: {name} in {self.data_prefix} has no number of three or more '
                                  'digits (scene and, in the last two digits, version)')
            numbers.append(int(digits[1]))
        return names, np.array(numbers, np.int64)


@DATASOURCES.register_module()
class Copydays(_Blocks):
    """Copydays (Douze et al., 2009) and folders like it: a manipulated copy should find its original.

    The originals, in a folder `original` or else those whose number ends with 00, are the database; all other images,
    in whatever folders, are queries.

    Args: see RetrievalSource; there is no `ann_file`.
    """

    def load_benchmark(self):
        names, numbers = self._blocks()
        original = np.array(['original' in Path(name).parts[:-1] for name in names], bool)
        if not original.any():
            original = numbers % 100 == 0
        blocks = numbers[original] // 100
        truth = [dict(ok=np.flatnonzero(blocks == n // 100), junk=_positions([])) for n in numbers[~original]]
        database, queries = ([name for name, o in zip(names, original) if o == kind] for kind in (True, False))
        return database, queries, [None] * len(queries), dict(all=truth)


@DATASOURCES.register_module()
class Holidays(_Blocks):
    """Holidays (Jegou et al., 2008) and folders like it: the image XXXX00 should find XXXX01, XXXX02, ...

    All images are the database; the query itself is left out of its ranking.

    Args: see RetrievalSource; there is no `ann_file`.
    """

    def load_benchmark(self):
        names, numbers = self._blocks()
        asked = np.flatnonzero(numbers % 100 == 0)
        truth = []
        for i in asked:
            same = numbers // 100 == numbers[i] // 100
            same[i] = False
            truth.append(dict(ok=np.flatnonzero(same), junk=_positions([i])))
        return names, [names[i] for i in asked], [None] * len(asked), dict(all=truth)
