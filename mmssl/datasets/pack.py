# Copyright (c) mmssl contributors. All rights reserved.
"""From a data source to tar shards in the form of the webdataset library."""
import hashlib
import io
import json
import math
import os
import os.path as osp
import re
import shutil
import tarfile
from contextlib import contextmanager, suppress
from functools import partial

import cv2
import numpy as np
import simplejpeg
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmssl.utils.errors import BrokenImageError, ConfigError, check_integer
from mmssl.utils.locks import locked
from mmssl.utils.misc import TEMPORARY, atomic_write, write_json
from mmssl.utils.shard_index import FOLDER, ShardIndex, check_shards, file_shard_digest
from .builder import worker_init_fn
from .data_sources.base import BaseDataSource, whole_source
from .data_sources.decode import DEEP_FILES, decode_image
from .data_sources.shards import Shards
from .loader import check_broken_policy, write_broken
from .pipelines.resample import resize_part
from .shard_scan import IMAGES, index_shards

UNFINISHED = 'unfinished'  # beside the shards: what is packed so far, and how
_PROBED = 64  # samples that tell how large one is
_CHUNK = 8  # samples that a worker packs in one go


def stored_shape(data):
    """Height, width and whether 8 bits of at most four channels are all there is, of an image file that is not decoded.

    Returns:
        tuple[int, int, bool] | None: As it is stored, before a rotation; None for what Pillow cannot open.
    """
    if data[:3] == b'\xff\xd8\xff':
        with suppress(ValueError):
            return *simplejpeg.decode_jpeg_header(data)[:2], True
    try:
        with Image.open(io.BytesIO(data)) as img:
            shallow = img.mode[0] not in 'IF'
            if img.format == 'PNG':
                shallow = shallow and data[24] <= 8
            elif img.format == 'TIFF':  # with bits, and number of channels, as stored: Pillow may show fewer
                deepest = max(np.atleast_1d(img.tag_v2.get(258, 8)))
                shallow = shallow and deepest <= 8 and img.tag_v2.get(277, 1) <= 3 and img.n_frames == 1
            return img.height, img.width, shallow
    except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError):
        return None


def shrink(data, shorter_side, quality=90, filename='<bytes>'):
    """An image file whose shorter side has at most so many pixels.

    A smaller image, and one of more than 8 bits a channel or of many channels, stays as it is, byte for byte. Others
    are turned as their EXIF header says, resized with bicubic weights, and written as JPEG without metadata, or as PNG
    where they have an alpha channel.

    Args:
        data (bytes): The file.
        shorter_side (int): In pixels.
        quality (int): Of the JPEG file, 1 to 100.
        filename (str): For the error.

    Returns:
        bytes: The file.

    Raises:
        BrokenImageError: It has to be decoded and cannot be.
    """
    shape = stored_shape(data)
    if shape is None:
        if data.startswith(DEEP_FILES):
            return data
        decode_image(data, filename=filename)  # says what is wrong; Pillow's plug-ins for other files come with it
        shape = (2**31, 2**31, True)
    if min(shape[:2]) <= shorter_side or not shape[2]:
        return data
    img = decode_image(data, 'unchanged', filename=filename, choose=partial(_reduction, 2 * shorter_side))
    height, width = img.shape[:2]
    factor = shorter_side / min(height, width)
    if factor >= 1:
        return data
    size = max(1, round(height * factor)), max(1, round(width * factor))
    return encode(resize_part(img, 0, 0, height, width, *size, 'bicubic'), quality)


def _reduction(shorter_side, height, width):
    """How far a JPEG is reduced as it is decoded, so that its shorter side still has so many pixels."""
    return next((r for r in (8, 4, 2) if min(height, width) // r >= shorter_side), 1)


def encode(img, quality=None):
    """An image file of an array.

    Args:
        img (ndarray): H x W x C; uint8 becomes JPEG or PNG, anything else .npy.
        quality (int, optional): Of JPEG; None: PNG, which loses nothing.

    Returns:
        bytes: The file.
    """
    img = np.ascontiguousarray(img)
    channels = img.shape[2]
    if img.dtype != np.uint8 or channels not in (1, 3, 4):
        file = io.BytesIO()
        np.save(file, img)
        return file.getvalue()
    if quality is not None and channels < 4:
        return simplejpeg.encode_jpeg(img, quality, 'GRAY' if channels == 1 else 'RGB', '420')
    code = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[channels]
    return cv2.imencode('.png', img if code is None else cv2.cvtColor(img, code))[1].tobytes()


def _kind_of(data, extension):
    """Extension for an image file: its own one, unless its first bytes say otherwise or it has none."""
    for magic, own in ((b'\xff\xd8\xff', ('jpg', 'jpeg')), (b'\x89PNG', ('png', )), (b'\x93NUMPY', ('npy', ))):
        if data.startswith(magic):
            return extension if extension.lower() in own else own[0]
    if not extension:
        with suppress(OSError, ValueError, SyntaxError,
                      Image.DecompressionBombError), Image.open(io.BytesIO(data)) as img:
            extension = img.format.lower()
    return extension if extension.lower() in IMAGES else None


def member_key(name):
    """Key of a file: its path without the extension; dots of the file name, which would end the key, are `%2E`.

    Args:
        name (str): Path with forward slashes.

    Returns:
        tuple[str, str]: Key, and extension without its dot, '' where the name has none of an image.
            urllib.parse.unquote gives the path back.
    """
    folder, _, file = name.replace('%', '%25').rpartition('/')
    parts = ['%2E%2E' if part == '..' else part for part in folder.split('/') if part not in ('', '.')]
    stem, dot, extension = file.rpartition('.')
    if not (dot and stem and extension.lower() in IMAGES):
        stem, extension = file, ''
    return '/'.join([*parts, stem.replace('.', '%2E')]), extension


def _name(source, idx):
    """Path of a sample below the folder of all, its number where the source has no files."""
    sample = source.samples[idx]
    if isinstance(sample, dict):
        sample = sample['img_info']['filename']
    if not isinstance(sample, str):
        return f'{idx:08d}'
    # one of shards is SHARD.tar!MEMBER
    return sample.partition('.tar!')[2] if isinstance(whole_source(source), Shards) else sample


def _label(source, idx):
    """Label of a sample; where it has several, a dict of those that are there and those that may be."""
    if not source.multi_label:
        return int(source.get_cat_ids(idx))
    unknown = [] if source.targets is None else np.flatnonzero(source.targets[idx] == -1).tolist()
    return dict(labels=[int(label) for label in source.get_cat_ids(idx)], unknown=unknown)


def _labels_digest(source):
    if not source.multi_label:
        labels = np.ascontiguousarray(source.get_gt_labels(), np.int32)
    elif source.targets is not None:
        labels = np.ascontiguousarray(source.targets, np.int8)
    else:
        labels = json.dumps([_label(source, i) for i in range(len(source))]).encode()
    return hashlib.sha256(labels).hexdigest()[:32]


def _repeated(source):
    """Keys of those samples whose own key another one has: a.jpg and a.png, or a file that is listed twice.

    Returns:
        tuple[dict[int, str], str]: Key by number of the sample, and a digest of all names.
    """
    keys, digest = np.empty(len(source), np.int64), hashlib.sha256()
    for i in range(len(source)):
        name = _name(source, i)
        digest.update(name.encode('utf-8', 'surrogateescape') + b'\0')
        keys[i] = hash(member_key(name)[0])
    order = np.argsort(keys, kind='stable')
    same = keys[order[1:]] == keys[order[:-1]]
    seen, own = {}, {}
    for i in sorted(order[np.r_[same, False] | np.r_[False, same]].tolist()):
        key, extension = member_key(_name(source, i))
        key = f'{key}%2e{extension}' if extension else key  # in lower case: no other name has become that
        seen[key] = seen.get(key, -1) + 1
        own[i] = f'{key}%23{seen[key]}' if seen[key] else key
    return own, digest.hexdigest()[:32]


class _Packed(Dataset):
    """What is written of each sample: key, extension and bytes of the image, label; or (file name, reason)."""

    def __init__(self, source, own_keys, shorter_side, quality, broken):
        self.source, self.own_keys = source, own_keys
        self.shorter_side, self.quality, self.broken = shorter_side, quality, broken
        # images that are no files have to be encoded
        kind = type(whole_source(source))
        self.files = kind.get_bytes is not BaseDataSource.get_bytes or (kind.read is BaseDataSource.read
                                                                        and kind.get_img is BaseDataSource.get_img)

    def __len__(self):
        return len(self.source)

    def __getitem__(self, idx):
        idx = int(idx)
        try:
            image = self._image(idx)
            key, extension = member_key(_name(self.source, idx))
            kind = _kind_of(image, extension)
            if kind is None and self.broken != 'keep':
                raise BrokenImageError(self.source.get_filename(idx), 'no known kind of image')
        except BrokenImageError as error:
            if self.broken == 'stop':
                raise
            return error.filename, error.reason
        kind = kind or 'jpg'
        if idx in self.own_keys:
            key = self.own_keys[idx]
        elif kind != extension and extension:
            key = f'{key}%2e{extension}'
        return key, kind, image, _label(self.source, idx)

    def _image(self, idx):
        if not self.files:
            image = encode(self.source.get_array(idx))
            return image if self.shorter_side is None else shrink(image, self.shorter_side, self.quality)
        image, place = self.source.get_bytes(idx), self.source.get_filename(idx)
        if not image and self.broken != 'keep':
            raise BrokenImageError(place, 'the file is empty')
        try:
            return image if self.shorter_side is None else shrink(image, self.shorter_side, self.quality, place)
        except BrokenImageError:
            if self.broken == 'keep':
                return image
            raise


def _write_shard(path, samples):
    """A tar file of samples, the same bytes wherever and whenever it is written.

    Returns:
        list[tuple[str, str]]: File name and reason of each that was left out.
    """
    absent = []
    with atomic_write(path, 'wb') as file, tarfile.open(
            fileobj=file, mode='w', format=tarfile.PAX_FORMAT, encoding='utf-8', errors='surrogateescape') as tar:
        for sample in samples:
            if len(sample) == 2:
                absent.append(sample)
                continue
            key, extension, image, label = sample
            members = [(extension, image)]
            if isinstance(label, dict):
                members.append(('json', json.dumps(label).encode()))
            elif label >= 0:
                members.append(('cls', str(label).encode()))
            for end, content in members:
                member = tarfile.TarInfo(f'{key}.{end}')  # with time 0 and owner 0
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return absent


def _plan(source, packed, samples, megabytes, order):
    """Number of samples of each shard; the last has fewer."""
    if samples is None:
        probed = order[np.unique(np.linspace(0, len(order) - 1, min(_PROBED, len(order))).astype(np.int64))]
        packed = _Packed(source, {}, packed.shorter_side, packed.quality, 'keep')
        sizes = [len(sample[2]) for sample in map(packed.__getitem__, probed) if len(sample) > 2] or [0]
        samples = max(1, round(megabytes * 1e6 / (np.mean(sizes) + 1024)))  # headers, padding, label
    shards = -(-len(order) // samples)
    return -(-len(order) // shards)


def _same_options(folder, options):
    """See that what was begun, or is there already, was made with these options.

    Returns:
        bool: Whether the set is complete.

    Raises:
        ConfigError: It was made otherwise; there are shards of other origin.
    """
    note = osp.join(folder, UNFINISHED, 'options.json')
    complete = osp.isdir(osp.join(folder, FOLDER))
    if osp.isfile(note):
        with open(note, encoding='utf-8') as file:
            found = json.load(file)
        complete = False
    elif complete:
        with open(osp.join(folder, FOLDER, 'index.json'), encoding='utf-8') as file:
            found = json.load(file).get('packed')
    elif osp.isdir(folder) and any(name.endswith('.tar') for name in os.listdir(folder)):
        found = None
    else:
        return False
    if found is None:
        raise ConfigError(
            f'{folder} holds shards, and no note how they were packed: name another folder, or index what is '
            'there by tools/data_converters/index_shards.py')
    for name, value in options.items():
        if found.get(name) != value:
            raise ConfigError(
                f'{folder} holds {"a set" if complete else "the beginning of a set"} that was packed with '
                f'{name.replace("_", " ")} {found.get(name)!r}, and now it is {value!r}: name another folder, or '
                'delete this one')
    return complete


def pack_images(source,
                out,
                name='images',
                shorter_side=None,
                quality=90,
                samples=None,
                megabytes=250,
                seed=None,
                broken='skip',
                workers=0,
                progress=None):
    """Write the images of a data source as tar shards with an index.

    The bytes of the shards depend on the source and these options alone. A run that was stopped goes on behind the
    shards that are done.

    Args:
        source (BaseDataSource): The images.
        out (str | Path): Folder for the shards.
        name (str): Of the shards, NAME-000000.tar.
        shorter_side (int, optional): Larger images are shrunk to it, see shrink. None: files are taken as they are.
        quality (int): Of the JPEG files of what is shrunk.
        samples (int, optional): Samples of a shard.
        megabytes (float): About so large is a shard where `samples` is None, by the mean of 64 samples.
        seed (int, optional): Shuffle the samples by it. None: they stay in the order of the source.
        broken (str): What is done with an image that cannot be read: 'skip' leaves it out and lists it in broken.json,
            'stop' ends, 'keep' packs the bytes as they are.
        workers (int): Processes that read and encode.
        progress (callable, optional): Called with the number of samples that are done.

    Returns:
        dict: `samples`, `shards`, `classes`, `labelled`, `bytes`, `broken` (list of index, file name and reason) and
            `kept` (samples of shards that were there already).

    Raises:
        ConfigError: An option that makes no sense; the folder holds another set.
        BrokenImageError: With 'stop'.
    """
    broken = check_broken_policy(broken, ('skip', 'stop', 'keep'))
    for value, option, least in ((shorter_side, 'shorter_side', 1), (samples, 'samples', 1), (seed, 'seed', 0),
                                 (workers, 'workers', 0)):
        if value is not None:
            check_integer(value, option, least)
    check_integer(quality, 'quality', 1)
    if quality > 100:
        raise ConfigError(f'quality is 1 to 100, got {quality}')
    if not 0 < megabytes < math.inf:
        raise ConfigError(f'megabytes of a shard are more than 0 and finite, got {megabytes}')
    if not re.fullmatch(r'[\w-]+', name):
        raise ConfigError(f'the name of shards has letters, digits, "-" and "_" alone, got {name!r}')
    own_keys, digest = _repeated(source)
    options = dict(
        images=len(source),
        files=digest,
        labels=_labels_digest(source),
        name=name,
        shorter_side=shorter_side,
        quality=quality if shorter_side is not None else None,
        samples=samples,
        megabytes=None if samples else megabytes,
        seed=seed,
        broken=broken)
    out = os.fspath(out)
    if _same_options(out, options):
        index = ShardIndex(osp.join(out, FOLDER))
        check_shards(out, index.shards)
        shutil.rmtree(osp.join(out, UNFINISHED), ignore_errors=True)  # of a run that was killed as it removed it
        return dict(samples=len(index), shards=len(index.shards), kept=len(index), broken=[])
    order = np.arange(len(source)) if seed is None else np.random.default_rng(seed).permutation(len(source))
    packed = _Packed(source, own_keys, shorter_side, quality, broken)
    notes = osp.join(out, UNFINISHED)
    with _alone(notes):
        write_json(osp.join(notes, 'options.json'), options)
        for entry in os.listdir(out):
            if TEMPORARY.search(entry):
                os.remove(osp.join(out, entry))
        each = _plan(source, packed, samples, megabytes, order)
        parts = [order[start:start + each] for start in range(0, len(order), each)]
        paths = [osp.join(out, f'{name}-{number:06d}.tar') for number in range(len(parts))]
        done = [_finished(path, notes) for path in paths]
        kept = sum(len(part) for part, note in zip(parts, done) if note)
        if progress:
            progress(kept)
        rest = [number for number, note in enumerate(done) if not note]
        stream = _in_order(packed, np.concatenate([order[:0], *(parts[n] for n in rest)]), workers, progress)
        for number in rest:
            absent = _write_shard(paths[number], (next(stream) for _ in parts[number]))
            done[number] = dict(
                bytes=os.path.getsize(paths[number]), digest=file_shard_digest(paths[number]), broken=absent)
            write_json(osp.join(notes, f'{osp.basename(paths[number])}.json'), done[number])
        several = dict(label='json:labels', columns=None if source.targets is None else source.targets.shape[1])
        found = index_shards(
            out,
            classes=source.CLASSES,
            workers=max(1, workers),
            packed=options,
            **several if source.multi_label else {})
        found['broken'] = [(-1, *entry) for note in done for entry in note['broken']]
        write_broken(osp.join(out, 'broken.json'), found['broken'])
        shutil.rmtree(notes)
    return dict(found, kept=kept)


@contextmanager
def _alone(notes):
    """See that no other process packs into the same folder."""
    os.makedirs(notes, exist_ok=True)
    with open(osp.join(notes, 'lock'), 'w') as lock, locked(lock.fileno(), wait=False) as held:
        if not held:
            raise ConfigError(f'another process packs into {osp.dirname(notes)} at this moment')
        yield


def _finished(path, notes):
    """What is noted of a shard that is there and whole, else None."""
    with suppress(OSError, ValueError), open(osp.join(notes, f'{osp.basename(path)}.json'), encoding='utf-8') as file:
        note = json.load(file)
        if os.path.getsize(path) == note['bytes'] and file_shard_digest(path) == note['digest']:
            return note
    return None


def _in_order(packed, order, workers, progress):
    """What `packed` has of each sample, made ahead by worker processes, in order."""
    init = partial(worker_init_fn, num_workers=workers, rank=0, seed=0)
    for chunk in DataLoader(packed, _CHUNK, sampler=order, num_workers=workers, collate_fn=list, worker_init_fn=init):
        if progress:
            progress(len(chunk))
        yield from chunk
