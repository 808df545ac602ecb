# Copyright (c) mmssl contributors. All rights reserved.
"""From tar shards to their index, in one pass over the headers."""
import json
import os
import os.path as osp
import re
import signal
import tarfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context

import numpy as np

from mmssl.utils.errors import ConfigError, check_integer, printable
from mmssl.utils.launch import die_with_parent
from mmssl.utils.misc import disk_full
from mmssl.utils.shard_index import FOLDER, IndexWriter, check_label, file_shard_digest
from .data_sources.base import IMG_EXTENSIONS
from .data_sources.folder import PLUGINS

IMAGES = tuple(extension[1:] for extension in (*IMG_EXTENSIONS, *PLUGINS, '.npy', '.npz'))
_PACKED = b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'\x28\xb5\x2f\xfd'  # how gzip, bzip2, xz and zstd begin
_MEMBER = re.compile(r'((?:.*/)?[^./][^.]*)\.([^/]+)',
                     re.DOTALL)  # key and extension, as the webdataset library has them


def find_shards(folder):
    """File names of the shards in a folder, sorted.

    Raises:
        FileNotFoundError: There is no such folder, or no shard in it.
        ConfigError: There are packed ones.
    """
    if not osp.isdir(folder):
        raise FileNotFoundError(f'no such folder: {osp.abspath(folder)}')
    names = sorted(os.listdir(folder))
    packed = [name for name in names if re.search(r'\.(tgz|tbz2?|txz|tar\.\w+)$', name) and not name.endswith('.tmp')]
    if packed:
        raise ConfigError(_packed(osp.join(folder, packed[0])))
    found = [name for name in names if name.endswith('.tar') and not name.startswith('.')]
    if not found:
        below = [
            name for name in names if osp.isdir(osp.join(folder, name)) and any(
                entry.endswith('.tar') for entry in os.listdir(osp.join(folder, name)))
        ]
        raise FileNotFoundError(f'no .tar file in {osp.abspath(folder)}' +
                                (f'; there are some in {osp.join(folder, below[0])}' if below else ''))
    return found


def _packed(path):
    return (f'{path} is compressed: an image in it cannot be read without unpacking all in front of it. Unpack the '
            'shards once (gunzip, bunzip2, unxz, unzstd); images are compressed already, so it hardly saves space')


def members(path):
    """Yield the files in a tar file: ustar, GNU or pax. Data are passed over unread.

    Args:
        path (str): The tar file.

    Yields:
        tuple[str, int, int]: Name, offset of the bytes, number of bytes.

    Raises:
        ConfigError: It is compressed, cut off, damaged, or no tar file.
    """
    with open(path, 'rb', buffering=2048) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(512)
        if head.startswith(_PACKED):
            raise ConfigError(_packed(path))
        if not size:
            raise ConfigError(f'{path} is empty: it is no tar file')
        file.seek(0)
        try:
            tar = tarfile.TarFile(fileobj=file)
            while (member := tar.next()) is not None:
                tar.members.clear()
                if member.issparse():
                    raise ConfigError(f'{path}: {printable(member.name)} is sparse, and its bytes do not lie together: '
                                      'pack without "tar --sparse"')
                if member.offset_data + member.size > size and member.isreg():
                    raise ConfigError(f'{path} is cut off: {printable(member.name)} ends at byte '
                                      f'{member.offset_data + member.size}, the file at byte {size}')
                if member.isreg():
                    yield member.name, member.offset_data, member.size
        except tarfile.TarError as error:
            raise ConfigError(f'{path} is cut off or damaged, or no tar file: {error}') from error
        # the library takes a damaged header for the end
        file.seek(tar.offset)
        last = file.read(512)
        end = file.tell()
        if len(last) < 512 or any(last):
            raise ConfigError(f'{path} is ' + ('cut off' if len(last) < 512 else 'damaged') +
                              f': at byte {tar.offset} there is '
                              'neither the header of a member nor the end of a tar file')
        while rest := file.read(2**20):  # zeros up to a round number of blocks
            if any(rest):
                raise ConfigError(
                    f'{path} has more bytes behind the end of the tar file, at byte {end}: of several tar '
                    'files that were joined, readers see the first alone; split them again')


def split_member(name):
    """Key and extension of a member as the webdataset library has them: all up to the first dot of the file name.

    Args:
        name (str): Name of the member.

    Returns:
        tuple[str, str] | None: The extension in lower case; None for what belongs to no sample, such as hidden files.
    """
    found = _MEMBER.fullmatch(name)
    return found and (found[1], found[2].lower())


def _choose_image(there, image, key, path):
    """Extension of the image among those of a sample, None where it has none."""
    if image is not None:
        return image if image in there else None
    found = [extension for extension in there if extension in IMAGES] or \
        [extension for extension in there if extension.rpartition('.')[2] in IMAGES]
    if len(found) > 1:
        raise ConfigError(f'{path}: the sample {printable(key)} has several images ({", ".join(sorted(found))}): say '
                          f'which one, --image {found[0]}')
    return found[0] if found else None


def _read_label(content, key, place):
    """The label in a member: an integer, or the text of a class name; or two lists of class ids, there and unknown.

    Args:
        content (bytes): Of the member.
        key (str): Dotted path in a JSON file, '' for a text.
        place (str): For the error.
    """
    try:
        text = content.decode().strip()
        if not key:
            if not text:
                raise ValueError('it is empty')
            return int(text) if re.fullmatch(r'[+-]?\d+', text) else text
        value = json.loads(text)
        for part in key.split('.'):
            found = value
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(f'{place} has no label{f" {key}" if key else ""}: {type(error).__name__}: {error}') from None
    if value is None:
        return -1
    if isinstance(value, list):
        return _several(value, place), _several(found.get('unknown', []) if isinstance(found, dict) else [], place)
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise ConfigError(f'{place}: {key} is {value!r}, and a label is an integer or the name of a class')
    return value


def _several(values, place):
    if not isinstance(values, list):
        raise ConfigError(f'{place}: "unknown" is {values!r}, and a list of class ids belongs there')
    for value in values:
        check_integer(value, f'a label of {place}', 0)
    return values


def scan_shard(path, image=None, label='auto'):
    """What the index says of one shard.

    Args:
        path (str): The tar file.
        image (str, optional): Extension of the images; None: the one of each sample that is one of an image.
        label (str, optional): Where labels are: an extension ('cls') whose member holds an integer or the name of a
            class, or EXTENSION:KEY ('json:meta.label') for an entry of a JSON file, which may also be a list of
            integers: the classes of an image that has several; those beside it under `unknown` are neither there nor
            absent. 'auto': in `.cls` where there are
            such members. None: images have none.

    Returns:
        dict: `offsets`, `sizes` (lists), `names` (bytes), `name_ends`, `labels` (list of int, str or pairs of lists, or
            None), `size`, `digest`, `extensions` (Counter of all members) and `left_out` (names of samples without an
            image).

    Raises:
        ConfigError: See members; a label that is none; several images in one sample; members of one that stand apart.
    """
    extension, _, key = ('cls' if label == 'auto' else label or '').partition(':')
    found = dict(offsets=[], sizes=[], name_ends=[], labels=[], left_out=[], extensions=Counter())
    names, labelled = bytearray(), False

    with open(path, 'rb', buffering=0) as file:

        def close(sample, parts):
            nonlocal labelled
            if not parts:
                return
            chosen = _choose_image(parts, image, sample, path)
            if chosen is None:
                found['left_out'].append(sample)
                return
            name, offset, size = parts[chosen]
            if size >= 2**32:
                raise ConfigError(f'{path}!{printable(name)} has {size} bytes; an image has less than 4 GiB')
            found['offsets'].append(offset)
            found['sizes'].append(size)
            names.extend(name.encode('utf-8', 'surrogateescape'))
            found['name_ends'].append(len(names))
            value = -1
            if extension in parts:
                labelled = True
                name, offset, size = parts[extension]
                place = f'{path}!{printable(name)}'
                value = _read_label(os.pread(file.fileno(), size, offset), key, place)
                if isinstance(value, int):
                    check_label(value, place)
            found['labels'].append(value)

        sample, parts = None, {}
        for name, offset, size in members(path):
            split = split_member(name)
            if split is None:
                continue
            if split[0] != sample or split[1] in parts:  # two samples of one name, one behind the other, are two
                close(sample, parts)
                sample, parts = split[0], {}
            parts[split[1]] = name, offset, size
            found['extensions'][split[1]] += 1
        close(sample, parts)
    if found['left_out'] and found['extensions'][extension]:
        apart = set(found['left_out'])
        for start, stop in zip([0, *found['name_ends']], found['name_ends']):
            name = names[start:stop].decode('utf-8', 'surrogateescape')
            if split_member(name)[0] in apart:
                raise ConfigError(
                    f'{path}: {printable(name)} and other members of its sample do not follow each other, '
                    'so that its label would be lost: pack the files in the order of their names '
                    '(tar --sort=name), or do without labels (--label none)')
    if not labelled:
        if extension and label != 'auto' and found['offsets']:
            raise ConfigError(f'{path}: no sample has a member .{extension}; there are: {_listed(found["extensions"])}')
        found['labels'] = None
    return dict(found, names=bytes(names), size=os.path.getsize(path), digest=file_shard_digest(path))


def _listed(extensions):
    return ', '.join(f'{count} .{extension}' for extension, count in sorted(extensions.items())) or 'none at all'


def index_shards(folder, image=None, label='auto', classes=None, workers=1, progress=None, columns=None, **facts):
    """Write the index of the shards in a folder.

    Args:
        folder (str | Path): The shards, `*.tar`; the index lies in `index/` in it.
        image, label: See scan_shard.
        classes (Sequence[str], optional): Names of the classes. None: where labels are names, those there are, sorted.
        workers (int): Processes that read shards.
        progress (callable, optional): Called with the number of bytes of each shard that is done.
        columns (int, optional): Number of the classes where an image has several; None: as many as are named or met.
        **facts: Plain values that go into index.json as well.

    Returns:
        dict: `samples`, `labelled`, `shards`, `classes` (number), `bytes`, `extensions` (Counter) and `left_out` (names
            of samples without an image, SHARD!KEY).

    Raises:
        FileNotFoundError: See find_shards.
        ConfigError: See scan_shard; no image; labels that are integers here and names there.
    """
    shards = find_shards(folder)
    image = image and image.lower().lstrip('.')
    label = label and label.lstrip('.')
    writer = IndexWriter(osp.join(folder, FOLDER))
    names = None if classes is None else {name: number for number, name in enumerate(classes)}
    told = dict(samples=0, labelled=0, shards=len(shards), bytes=0, extensions=Counter(), left_out=[])
    by_name, kind, several = {}, None, []
    try:
        for shard, found in zip(shards, _scan([osp.join(folder, name) for name in shards], image, label, workers)):
            left_out, extensions, labels = found.pop('left_out'), found.pop('extensions'), found.pop('labels')
            told['left_out'] += [f'{shard}!{sample}' for sample in left_out]
            told['extensions'] += extensions
            told['samples'] += len(found['offsets'])
            told['bytes'] += found['size']
            for value in labels or ():
                if value == -1:
                    continue
                told['labelled'] += 1
                kind = kind or type(value)
                if type(value) is not kind:
                    words = {int: 'integers', str: 'names', tuple: 'lists'}
                    raise ConfigError(f'{shard} has the label {value!r}, and others are {words[kind]}')
            if kind is tuple:
                several += labels or [-1] * len(found['offsets'])
                labels = None
            if kind is str and labels is not None:
                labels = [value if value == -1 else _number(value, names, by_name, shard) for value in labels]
            writer.add(shard, labels=labels, **found)
            if progress:
                progress(found['size'])
        if not told['samples']:
            raise ConfigError(f'no sample of {folder} has an image' + (f' .{image}' if image else '') +
                              f'; there are: {_listed(told["extensions"])}')
        targets = None
        if kind is tuple:
            targets = _targets([-1] * (told['samples'] - len(several)) + several, columns or (names and len(names)))
        if kind is not str and names is not None and writer.most >= len(names):
            raise ConfigError(f'{folder}: label {writer.most} is there, but only {len(names)} classes are named')
        if by_name:
            writer.renumber(np.argsort(np.argsort(np.array(list(by_name)))))
        writer.finish(classes if classes is not None else sorted(by_name) or None, targets, **facts)
    except BaseException as error:
        writer.abandon()
        full = disk_full(error)
        if full is not None:
            raise OSError(full.errno,
                          f'the index {writer.folder} could not be written: {full.strerror.lower()}') from error
        raise
    told['classes'] = targets.shape[1] if kind is tuple else writer.most + 1 if classes is None else len(classes)
    return told


def _targets(labels, columns):
    """A row of 1, 0 and -1 for each pair of lists; -1 alone for an image without."""
    most = max((max(ids, default=-1) for pair in labels if pair != -1 for ids in pair), default=-1)
    if columns is not None and most >= columns:
        raise ConfigError(f'label {most} is there, but there are only {columns} classes')
    targets = np.full((len(labels), columns or most + 1), -1, np.int8)
    for row, pair in zip(targets, labels):
        if pair != -1:
            row[:] = 0
            row[pair[0]], row[pair[1]] = 1, -1
    return targets


def _number(value, names, by_name, shard):
    """Number of a class that is given by its name."""
    if names is None:
        return by_name.setdefault(value, len(by_name))
    if value not in names:
        raise ConfigError(f'{shard} has the class {value!r}, which is not among the {len(names)} that are named')
    return names[value]


def _scan(paths, image, label, workers):
    scan = partial(scan_shard, image=image, label=label)
    if workers <= 1 or len(paths) == 1:
        yield from map(scan, paths)
        return
    # no Pool: that ends its workers by SIGTERM, which one that is just being forked may lose to the handler of a tool
    with ProcessPoolExecutor(min(workers, len(paths)), get_context('fork'), _prepare) as pool:
        try:
            yield from pool.map(scan, paths)
        except BrokenProcessPool as error:
            raise ConfigError('a process that reads shards was ended from outside, perhaps for want of memory: start '
                              'again, with fewer --workers') from error


def _prepare():
    """As the workers of a loader: the process ends with its parent, which is the one that Ctrl-C is for."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
