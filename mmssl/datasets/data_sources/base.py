# Copyright (c) mmssl contributors. All rights reserved.
"""What all data sources share: compact annotations and image reading."""
import io
import os
import os.path as osp
import re
from abc import ABCMeta, abstractmethod
from array import array
from collections.abc import Sequence

import mmcv
import numpy as np

from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.local_copy import copy_to_local
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import ask_for_part
from ..classes import translate, translation
from ..images import to_array, to_pillow
from ..source_subset import SourceSubset
from .decode import CHANNEL_ORDERS, COLOR_TYPES, BrokenImageError, decode_image
from .labels import read_labels_and_names
from .stored import check_depth, decode_stored
from .zip_folder import find_archive

IMG_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.pgm', '.ppm', '.tif', '.tiff', '.webp')


def has_file_allowed_extension(filename, extensions):
    """Whether a file name ends with one of the (lower-case) extensions, in any case."""
    return filename.lower().endswith(tuple(extensions))


class CompactStrings(Sequence):
    """Strings in one block of bytes: 8 bytes more than its characters for each of them.

    A list of str takes 60 bytes more for each, and a forked worker copies its memory pages by merely counting
    references.

    Args:
        strings (Iterable[str]): Read once.
    """

    def __init__(self, strings):
        block, ends = bytearray(), array('q', [0])
        for s in strings:
            block += s.encode('utf-8', 'surrogateescape')
            ends.append(len(block))
        self.block = np.frombuffer(block, np.uint8)
        self.ends = np.frombuffer(ends, np.int64)

    @classmethod
    def of(cls, block, ends):
        """The strings whose UTF-8 lies in an array of bytes.

        Args:
            block (ndarray): uint8.
            ends (ndarray): Where each ends, behind a 0.

        Returns:
            CompactStrings: Of these very arrays, which may be mapped files.
        """
        strings = cls.__new__(cls)
        strings.block, strings.ends = block, ends
        return strings

    def __len__(self):
        return len(self.ends) - 1

    def __getitem__(self, idx):
        if idx < 0:
            idx += len(self)
        if not 0 <= idx < len(self):
            raise IndexError(f'index {idx} of {len(self)} strings')
        return self.block[self.ends[idx]:self.ends[idx + 1]].tobytes().decode('utf-8', 'surrogateescape')

    def take(self, kept):
        """CompactStrings: Those of some numbers (ndarray), in that order."""
        return CompactStrings(self[i] for i in kept)

    @property
    def nbytes(self):
        return self.block.nbytes + self.ends.nbytes


class DataInfos(Sequence):
    """The annotations as the dicts that MMSelfSup keeps, each made when it is asked for."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, idx):
        return dict(
            img_prefix=self.source.data_prefix,
            img_info=dict(filename=self.source.samples[idx]),
            gt_label=np.array(self.source.labels[idx], dtype=np.int64),
            idx=int(idx))


def read_lines(path):
    """Lines of a text file with their numbers from 1, blank ones left out; from any of mmcv's file backends.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The file has NUL bytes: it is no text, or one in UTF-16.
    """
    if mmcv.FileClient.parse_uri_prefix(path) is None:
        path = osp.expanduser(path)
        if not osp.isfile(path):
            raise FileNotFoundError(
                f'no such list: {osp.abspath(path)}; a folder of images needs none: set ann_file=None, and '
                "type='Folder' where its subfolders are no classes")
        file = open(path, encoding='utf-8', errors='surrogateescape')
    else:
        file = io.StringIO(mmcv.FileClient.infer_client(uri=path).get_text(path))
    with file:
        for number, line in enumerate(file, 1):
            if '\0' in line:
                raise ConfigError(f'{path}, line {number}: there is a NUL byte in {line[:80]!r}; a list is a text in '
                                  'UTF-8, or in any encoding whose names the file system has')
            line = (line.removeprefix('\ufeff') if number == 1 else line).strip()
            if line:
                yield number, line


def split_label(line, place):
    """A line of a list -> file name and class id.

    Args:
        line (str): A file name, and perhaps spaces or tabs and a class id.
        place (str): File and line, for the error.

    Returns:
        tuple[str, int | None]: None where the line has no class id.

    Raises:
        ConfigError: The class id is no integer from -1 to 2^31 - 1, or is set off by a comma or semicolon.
    """
    found = re.fullmatch(r'(.*\S)[ \t]+([+-]?\d+)', line)
    if found and not (found[1][-1] in ',;' and has_file_allowed_extension(found[1].rstrip(',; '), IMG_EXTENSIONS)):
        label = int(found[2])
        if not -1 <= label < 2**31:
            raise ConfigError(f'{place}: class ids are 0 to {2**31 - 1}, and -1 for an image without a label; got '
                              f'{found[2]}')
        return found[1], label
    # what follows the name of an image is meant as a label
    odd = re.fullmatch(rf'(.*({"|".join(map(re.escape, IMG_EXTENSIONS))}))\s*([\s,;])(.*)', line, re.IGNORECASE)
    if odd and not has_file_allowed_extension(line, IMG_EXTENSIONS):
        raise ConfigError(f'{place}: expected a file name, a space and a class id, such as "{odd[1]} 0"; got {line!r}' +
                          (', which has a comma or semicolon instead of the space' if odd[3] in
                           ',;' else f', where {odd[4]!r} is no class id: the names of classes are given by `classes`'))
    return line, None


class BaseDataSource(metaclass=ABCMeta):
    """Where samples come from: an index -> an image and, where there is one, a label.

    A subclass writes `load_annotations`.

    Args:
        data_prefix (str | None): Folder that file names are relative to; also a .zip file, or a folder in one.
        classes (str | Sequence[str], optional): Names of the classes, or a file with one name a line. Where the images
            have class names, as in class folders, only these are taken, in this order; labels of lists are numbers
            and get these names by position. None takes those that the class carries or finds.
        ann_file (str | list[str], optional): Annotation file(s). None: annotations follow from the folders.
        test_mode (bool): Take the test split, where the source has its own splits.
        color_type (str): 'color' (3 channels), 'grayscale' (1) or 'unchanged' (as stored).
        channel_order (str): 'rgb' or 'bgr'.
        file_client_args (dict): Arguments of mmcv.FileClient, by which images are read.
        labels (str | list, optional): Labels in place of those that the source finds, such as clusters: a .npy
            file of N integers in the order of the samples, or these themselves, -1 = unlabelled; or N x C values of 1
            (the class is there), 0 (it is not) and -1 (unknown), where an image has several; or N words. `classes`
            then names these labels (of words, it gives the order) and selects nothing.
        mmap_labels (bool): Leave the labels in their file and read those that are asked for.
        scaled_decode (bool, optional): Decode large JPEG files at a half, a quarter or an eighth of their size where
            the pipeline looks at no more. None: for random crops, but not for resizing alone, with which evaluations
            begin.
        copy_to (str, optional): Copy `data_prefix`, with all that is in it, to this folder on a disk near the compute,
            such as '$SLURM_TMPDIR', unless a complete copy is there, and read from that; see copy_to_local.
        depth (str): '8-bit', or 'stored': values and channels stay as they are in TIFF, .npy, .npz and 16-bit PNG
            files, as uint8, uint16 or float32 (other integers and floats become float32). NaN is a missing value then,
            and `color_type` is of the other files, such as JPEG.
        nodata (float, optional): With depth 'stored', the value that stands for a missing one. It becomes NaN, and all
            images float32.
        layout (str, optional): With depth 'stored', 'HWC' or 'CHW' for arrays, and for TIFF files whose channels are
            pages. None: the channels are the axis at an end that is at most half as long as the other two; a shape
            that does not tell is an error.
        array_name (str, optional): With depth 'stored', which array of an .npz file is the image; it may hold one only
            where this is None.

    Attributes:
        samples: File names (CompactStrings), images (ndarray) or the dicts of a source that was written for MMSelfSup.
        labels (ndarray): int32, -1 = unlabelled.
        targets (ndarray | None): N x C int8 of 1, 0 and -1 where `multi_label`, of those sources that have such.
        multi_label (bool): Whether an image has several labels; data sets then give a vector of 1, 0 and -1.
        CLASSES (Sequence[str] | None): Names of the classes.
        found_classes (Sequence[str] | None): Names of the classes that `load_annotations` counts, where the
            annotations carry them, as folders do. Then `classes` selects and orders by name; else it names by position.
    """

    CLASSES = None
    found_classes = None
    targets = None
    multi_label = False

    def __init__(self,
                 data_prefix,
                 classes=None,
                 ann_file=None,
                 test_mode=False,
                 color_type='color',
                 channel_order='rgb',
                 file_client_args=dict(backend='disk'),
                 labels=None,
                 mmap_labels=False,
                 scaled_decode=None,
                 copy_to=None,
                 depth='8-bit',
                 nodata=None,
                 layout=None,
                 array_name=None):
        if color_type not in COLOR_TYPES:
            raise ConfigError(f'color_type must be one of {COLOR_TYPES}, got {color_type!r}')
        if channel_order not in CHANNEL_ORDERS:
            raise ConfigError(f'channel_order must be one of {CHANNEL_ORDERS}, got {channel_order!r}')
        check_depth(depth, nodata, layout, array_name, color_type, channel_order)
        backend = file_client_args.get('backend')
        if backend is not None and backend not in mmcv.FileClient._backends:
            raise ConfigError(f'file_client_args has the backend {backend!r}, which mmcv does not know; '
                              f'{nearest(backend, mmcv.FileClient._backends, "backends")}')
        self.depth = depth
        self.nodata = nodata
        self.layout = layout
        self.array_name = array_name
        if data_prefix is not None and not isinstance(data_prefix, (str, os.PathLike)):
            raise ConfigError(
                f'data_prefix must be a folder, got {data_prefix!r}; on a command line, names such as a,b '
                'or 2021 are strings in quotes: data_prefix="\'2021\'"')
        self.data_prefix = data_prefix and osp.expanduser(data_prefix)
        self.zip_folder, inside = (None, '') if data_prefix is None else find_archive(os.fspath(self.data_prefix))
        if copy_to is not None:
            if data_prefix is None:
                raise ConfigError('copy_to copies data_prefix, a folder or a file, which is None')
            outer = self.data_prefix if self.zip_folder is None else self.zip_folder.path
            copied = copy_to_local(outer, copy_to, tell=get_root_logger().info)
            self.data_prefix = osp.join(copied, inside) if inside else copied
            self.zip_folder = find_archive(self.data_prefix)[0]
        self.ann_file = ann_file
        self.test_mode = test_mode
        self.color_type = color_type
        self.channel_order = channel_order
        self.scaled_decode = scaled_decode
        self.file_client_args = file_client_args
        self.file_client = None
        self.CLASSES = self.get_classes(classes)
        loaded = self.load_annotations()
        if self.zip_folder is not None:
            self.zip_folder.forget_tree()
        if isinstance(loaded, list):
            loaded = loaded, np.array([info.get('gt_label', -1) for info in loaded], np.int32)
        self.samples, self.labels = loaded
        if not len(self.samples):
            raise ConfigError(f'{type(self).__name__} found no sample: ' +
                              (f'ann_file {ann_file} names none' if ann_file else f'data_prefix is {data_prefix}'))
        self._check_files()
        if labels is not None:
            self._replace_labels(labels, mmap_labels, classes)
        elif mmap_labels:
            raise ConfigError('mmap_labels=True is for labels in a .npy file, and labels is None')
        elif self.found_classes is not None:
            self._select_classes()
        if self.CLASSES is not None and len(self.labels) and self.largest_label() >= len(self.CLASSES):
            raise ConfigError(f'{type(self).__name__}: label {self.largest_label()} is there, but only '
                              f'{len(self.CLASSES)} classes are named (labels count from 0)')

    def _replace_labels(self, labels, mmap, classes):
        """Labels from elsewhere, whose classes have nothing to do with those that the source found."""
        if self.multi_label:
            raise ConfigError(
                'either labels or multi_label=True says which classes an image has: leave one of them out')
        self.CLASSES = None if classes is None else self.CLASSES
        labels, words = read_labels_and_names(labels, len(self), mmap=mmap)
        if words is not None:
            self.CLASSES = words if classes is None else tuple(map(str, self.CLASSES))
            unknown = [word for word in words if word not in self.CLASSES]
            if unknown:
                raise ConfigError(f'labels has the word {unknown[0]!r}, which is none of classes; '
                                  f'{nearest(unknown[0], self.CLASSES, "classes")}')
            labels = translate(labels, translation(words, self.CLASSES, 'labels')).astype(np.int32)
        if labels.ndim == 1:
            self.labels = labels
            return
        self.multi_label, self.targets = True, labels
        self.labels = np.full(len(self), -1, np.int32)
        if self.CLASSES is not None and len(self.CLASSES) != labels.shape[1]:
            raise ConfigError(f'labels have {labels.shape[1]} columns, classes names {len(self.CLASSES)}')

    def _select_classes(self):
        """Only the samples of the classes that are asked for, in the order that these are named."""
        own = [str(name) for name in self.found_classes]
        wanted = own if self.CLASSES is None else [str(name) for name in self.CLASSES]
        for name in wanted:
            if name not in own:
                raise ConfigError(f'classes names {name!r}, but {self.data_prefix or type(self).__name__} has no such '
                                  f'class; {nearest(name, own, "classes")}')
        self.CLASSES = tuple(wanted)
        if wanted == own:
            return
        self.labels = translate(self.labels, translation(own, wanted, 'classes')).astype(np.int32)
        kept = np.flatnonzero(self.labels >= 0)
        if len(kept) < len(self.labels):
            self.samples = self.samples.take(kept, 0) if isinstance(self.samples, np.ndarray) else \
                self.samples.take(kept)
            self.labels = self.labels[kept]

    @abstractmethod
    def load_annotations(self):
        """Find the samples.

        Returns:
            tuple | list: Samples (CompactStrings of file names, or what `get_img` of the subclass takes) and an int32
                array of labels; or, as in MMSelfSup, a list of dicts with img_prefix, img_info=dict(filename=...)
                and gt_label.
        """

    def largest_label(self):
        """int: The largest label there is."""
        return self.labels.max()

    def _is_of_a_list(self):
        """Whether samples are files whose names come from a list, and not from a look at a folder."""
        kind, own = type(self), BaseDataSource
        return self.ann_file is not None and all(
            getattr(kind, name) is getattr(own, name) for name in ('get_img', 'read', 'get_bytes', 'get_filename'))

    @property
    def lists_files(self):
        """bool: Whether samples are files that a list names, and it is cheap to see whether they are there."""
        return self._is_of_a_list() and (self.zip_folder is not None
                                         or self.file_client_args.get('backend', 'disk') == 'disk')

    def _check_files(self):
        """Where a list and a folder do not fit together, all files are absent; three of them tell."""
        if not self._is_of_a_list():
            return
        files = [self.get_filename(i) for i in sorted({0, len(self) // 2, len(self) - 1})]
        if not any(map(self.has_file, files)):
            if isinstance(self.ann_file, list):
                others = f', and neither are others of the {len(self)} images given' if len(self) > 1 else ''
                raise FileNotFoundError(f'no such image: {osp.abspath(files[0])}{others}')
            raise FileNotFoundError(
                f'{len(self)} images are listed in {self.ann_file}, but neither the first nor the last is there: there '
                f'is no {osp.abspath(files[0])}. Names are relative to data_prefix, which is {self.data_prefix!r}')

    def has_file(self, filename):
        """Whether a file is there. Those on servers count as there, since nobody has asked.

        Args:
            filename (str): As get_filename gives it.

        Returns:
            bool: Whether it is on disk, in the zip archive `data_prefix`, or a key of the LMDB.
        """
        name = self._in_archive(filename)
        if name is not None:
            return name in self.zip_folder
        backend = self.file_client_args.get('backend', 'disk')
        return self._fetch(filename) is not None if backend == 'lmdb' else backend != 'disk' or osp.lexists(filename)

    def _in_archive(self, filename):
        """The name of a member of the archive from the path that leads to it; None for files that lie elsewhere."""
        if self.zip_folder is None:
            return None
        root = osp.join(self.zip_folder.path, '')
        path = osp.abspath(filename)
        return path[len(root):] if path.startswith(root) else None

    def __len__(self):
        return len(self.samples)

    def __getstate__(self):
        # connections are opened anew in the worker process
        return {**self.__dict__, 'file_client': None}

    @property
    def data_infos(self):
        """Sequence[dict]: The annotations in MMSelfSup's form."""
        return self.samples if isinstance(self.samples, list) else DataInfos(self)

    def get_filename(self, idx):
        """Path of the sample's file."""
        sample = self.samples[idx]
        prefix = self.data_prefix
        if isinstance(sample, dict):
            prefix, sample = sample.get('img_prefix'), sample['img_info']['filename']
        return osp.join(prefix, sample) if prefix else sample

    def get_img(self, idx):
        """Read and decode one image, in the form that users' code and torchvision's steps take.

        Args:
            idx (int): Index of the sample.

        Returns:
            PIL.Image.Image | ndarray: A Pillow image; H x W x C where it has other than 1, 3 or 4 channels, or is not
                of uint8.

        Raises:
            BrokenImageError: The file cannot be read or decoded.
        """
        return to_pillow(self.read(idx))

    def get_array(self, idx):
        """Read and decode one image, in the form that native steps take. A `get_img` of a subclass is asked first.

        Args:
            idx (int): Index of the sample.

        Returns:
            ndarray: H x W x C, uint8 where `depth` is '8-bit', else uint8, uint16 or float32.

        Raises:
            BrokenImageError: See get_img.
        """
        if getattr(self.get_img, '__func__', None) is BaseDataSource.get_img:
            return self.read(idx)
        return to_array(self.get_img(idx))

    def get_reduced(self, idx, choose):
        """As get_array, where less than the whole image may do.

        Args:
            idx (int): Index of the sample.
            choose (Callable): Height and width -> reduction, see decode_image.

        Returns:
            ndarray | ReducedImage: The whole image where it is no JPEG, or where a subclass reads images its own way.

        Raises:
            BrokenImageError: See get_img.
        """
        if self._reads_itself():
            return self.get_array(idx)
        return self._decode(idx, choose)

    def _reads_itself(self):
        """Whether a subclass, or whoever has changed this source, decodes images in another way than ours."""
        return any(
            getattr(getattr(self, name), '__func__', None) is not getattr(BaseDataSource, name)
            for name in ('get_img', 'get_array', 'read'))

    @property
    def _has_files_on_disk(self):
        """Whether each sample is a file of its own on disk: no member of an archive, nor of another backend."""
        return self.zip_folder is None and type(self).get_bytes is BaseDataSource.get_bytes and \
            self.file_client_args.get('backend', 'disk') == 'disk'

    def will_read(self, idx):
        """Tell the system that the file of a sample will be read, so that it fetches it meanwhile.

        Args:
            idx (int): Index of the sample.

        Raises:
            AttributeError: The samples are no files on disk.
            OSError: There is no such file.
        """
        if not self._has_files_on_disk or type(self).read is not BaseDataSource.read:
            raise AttributeError(f'{type(self).__name__} reads no files on disk')
        ask_for_part(self.get_filename(idx))

    def get_bytes(self, idx):
        """The file of one image, before it is decoded. Sources that keep files elsewhere than on disk override it.

        Args:
            idx (int): Index of the sample.

        Returns:
            bytes: The file.

        Raises:
            BrokenImageError: It cannot be read.
        """
        filename = self.get_filename(idx)
        name = self._in_archive(filename)
        if name is not None:
            return self.zip_folder.read(name)
        try:
            content = self._fetch(filename)
        except OSError as error:
            raise BrokenImageError(filename, f'{type(error).__name__}: {error}') from error
        if content is None:
            raise BrokenImageError(filename, f'there is no such key in {self.file_client_args.get("db_path")}')
        return bytes(content)

    def _fetch(self, filename):
        """A file from the backend of mmcv; None where an LMDB has no such key."""
        if self.file_client is None:
            try:
                self.file_client = mmcv.FileClient(**self.file_client_args)
            except (TypeError, ValueError) as error:  # of the arguments; an LMDB is opened later
                raise ConfigError(
                    f'file_client_args={self.file_client_args} make no backend of mmcv: {error}') from error
        try:
            return self.file_client.get(filename)
        except Exception as error:
            if type(error).__module__ != 'lmdb':
                raise
            raise ConfigError(f'the LMDB {self.file_client_args.get("db_path")} cannot be read: {error}') from error

    def read(self, idx):
        """What `get_img` and `get_array` return, as an array; sources of images that are no files override it."""
        return self._decode(idx)

    def _decode(self, idx, choose=None):
        filename = self.get_filename(idx)
        if self.depth == '8-bit':
            return decode_image(self.get_bytes(idx), self.color_type, self.channel_order, filename, choose)
        data = self._mapped(filename)
        data = self.get_bytes(idx) if data is None else data
        return decode_stored(data, filename, self.color_type, self.nodata, self.layout, self.array_name, choose)

    def _mapped(self, filename):
        """The array of a .npy file on disk, of which then only what is looked at is read; None for other files."""
        if not (self._has_files_on_disk and filename.endswith('.npy')):
            return None
        try:
            return np.load(filename, mmap_mode='r', allow_pickle=False).view(np.ndarray)
        except (OSError, ValueError) as error:
            raise BrokenImageError(filename, f'{type(error).__name__}: {error}') from error

    def get_cat_ids(self, idx):
        """Label of one sample, -1 = unlabelled; where there are several, the list of the classes that are there."""
        if self.multi_label and self.targets is not None:
            return np.flatnonzero(self.targets[idx] == 1).tolist()
        return int(self.labels[idx])

    def get_gt_labels(self):
        """ndarray: Labels of all samples, -1 = unlabelled.

        Raises:
            ConfigError: There are several for each.
        """
        if self.multi_label:
            raise ConfigError(f'{type(self).__name__} has several labels an image, and one is needed here')
        return self.labels

    @property
    def class_to_idx(self):
        """dict[str, int]: Label by name of the class."""
        return {name: i for i, name in enumerate(self.CLASSES or ())}

    @classmethod
    def get_classes(cls, classes=None):
        """Names of the classes.

        Args:
            classes (str | Sequence[str], optional): The names, or a file with one name a line. None: `cls.CLASSES`.

        Returns:
            Sequence[str] | None: The names.
        """
        if classes is None:
            return cls.CLASSES
        names = [line for _, line in read_lines(classes)] if isinstance(classes, str) else classes
        if not isinstance(names, (list, tuple)):
            raise ConfigError(f'classes must be a file name or a list of names, got {classes!r}')
        if not names:
            raise ConfigError(f'classes={classes!r} names no class: None takes those that the source finds')
        return names


class ArraySource(BaseDataSource):
    """A source whose images are in memory: `load_annotations` returns uint8 N x H x W x C and the labels."""

    @property
    def found_classes(self):
        return type(self).CLASSES

    def get_filename(self, idx):
        return f'image {idx} of {type(self).__name__}'

    def read(self, idx):
        img = self.samples[idx]
        if self.color_type == 'color' and img.shape[2] == 1:
            return np.repeat(img, 3, axis=2)
        if self.color_type == 'grayscale' and img.shape[2] == 3:
            return np.round(img @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None]  # luma of ITU-R BT.601
        # a copy: a step that works in place must not change the data set
        return img[..., ::-1].copy() if self.channel_order == 'bgr' else img.copy()


def whole_source(source):
    """The data source itself, or the one that a subset is of: what its class can do, the subset can."""
    while isinstance(source, SourceSubset):
        source = source.source
    return source


def is_in_memory(source):
    """Whether the images of a data source, or of the one that a subset is of, are no files."""
    return isinstance(whole_source(source), ArraySource)
