# Copyright (c) mmssl contributors. All rights reserved.
"""Data sets by name and split: where they lie and how they are read, in one file for all configs."""
import glob
import os
import os.path as osp
import re
from pathlib import Path

from mmssl.utils.data_files import load_file
from mmssl.utils.errors import AbsentFileError, ConfigError, UnknownNameError, nearest, short
from mmssl.utils.logger import get_root_logger

SHIPPED = Path(__file__).with_name('catalog.yml')
_PATHS = ('data_prefix', 'ann_file', 'labels')
_LISTS = ('.npy', '.npz', '.pkl', '.pickle', '.json', '.txt', '.csv')


def user_catalog():
    """Path: The user's file: $MMSSL_CATALOG, or else ~/.config/mmssl/catalog.yml, whether it is there or not."""
    named = os.environ.get('MMSSL_CATALOG')
    folder = os.environ.get('XDG_CONFIG_HOME') or '~/.config'
    return Path(named or osp.join(folder, 'mmssl', 'catalog.yml')).expanduser()


def read_catalog(path):
    """Entries of a catalog file.

    Args:
        path (str | Path): A YAML or JSON file.

    Returns:
        dict[str, dict]: By name of the data set, and by split.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It is none.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'no such catalog of data sets: {path.absolute()}')
    entries = load_file(path)
    return {} if entries is None else entries


def _check(name, splits, place):
    """See that an entry has its form."""
    if not isinstance(name, str) or not isinstance(splits, dict) or not splits:
        raise ConfigError(f'{place}: a data set is a name, and a dict of its splits; got {name!r}: {short(splits)}')
    for split, entry in splits.items():
        if not (isinstance(split, str) and (_is_config(entry) or _is_pair(entry))):
            raise ConfigError(f'{place}: the split {split!r} of {name} is the config of a data source, such as '
                              '{type: ImageNet, data_prefix: data/imagenet/train}, or [images, labels]; got '
                              f'{short(entry)}')


def _is_config(entry):
    """Whether an entry is the config of a source itself; one of the catalog would lead round."""
    if not isinstance(entry, dict) or entry.get('type', 'Catalog') == 'Catalog':
        return False
    needs = entry.get('needs', [])
    return isinstance(needs, str) or isinstance(needs, (list, tuple)) and all(isinstance(path, str) for path in needs)


def _is_pair(entry):
    return isinstance(entry, (list, tuple)) and 1 <= len(entry) <= 2 and isinstance(entry[0], str) and all(
        part is None or isinstance(part, str) for part in entry)


class DatasetCatalog:
    """Data sets by name, each with its splits. Later ones of the same name win: the package's, the user's file, and
    what a program registers (in a module that `custom_imports` names, every process of a training does so).

    A split is the config of a data source, or [images, labels] as in VISSL: a folder or a list (.npy, .pkl) of
    images, and a list of labels or nothing. `needs` in the config names files that must be there besides.
    """

    def __init__(self):
        self._registered = {}

    def register_data(self, name, data_dict, origin='register_data'):
        """Register one data set.

        Args:
            name (str): Its name.
            data_dict (dict): A config, or [images, labels], by split.
            origin (str): Where it comes from, for messages.

        Raises:
            ConfigError: It has another form, or another one of this name was registered before.
        """
        _check(name, data_dict, origin)
        if name in self._registered and self._registered[name][0] != data_dict:
            raise ConfigError(f'{origin}: the data set {name!r} is registered already, by {self._registered[name][1]}, '
                              'and is another one')
        self._registered[name] = dict(data_dict), origin

    def register_dict(self, dict_catalog, origin='register_dict'):
        """Register several data sets; see register_data."""
        if not isinstance(dict_catalog, dict):
            raise ConfigError(f'{origin}: a catalog is a dict of data sets by name, got {short(dict_catalog)}')
        for name, data_dict in dict_catalog.items():
            self.register_data(name, data_dict, origin)

    def register_file(self, path):
        """Register the data sets of a YAML or JSON file, that of VISSL among them."""
        self.register_dict(read_catalog(path), str(path))

    register_json = register_yaml = register_file

    def remove(self, name):
        """Take back what was registered under a name."""
        self._registered.pop(name)

    def _entries(self):
        """dict[str, tuple[dict, str]]: Splits and origin by name."""
        entries, own = {}, user_catalog()
        if own.is_file() or os.environ.get('MMSSL_CATALOG'):
            files = (SHIPPED, own)
        else:
            files = (SHIPPED, )
        for path in files:
            found = read_catalog(path)
            if not isinstance(found, dict):
                raise ConfigError(f'{path}: a catalog is a dict of data sets by name, got {short(found)}')
            for name, splits in found.items():
                _check(name, splits, str(path))
                entries[name] = splits, 'mmssl' if path is SHIPPED else str(path)
        return {**entries, **self._registered}

    def get(self, name):
        """The splits of a data set, present or not.

        Args:
            name (str): Its name.

        Returns:
            dict: A config, or [images, labels], by split.

        Raises:
            UnknownNameError: There is no such name.
        """
        return self._find(name)[0]

    def _find(self, name):
        entries = self._entries()
        if name not in entries:
            raise UnknownNameError(f'the catalog has no data set {name!r}; {nearest(name, entries, "it has")}')
        return entries[name]

    def describe(self):
        """All data sets, present or not.

        Returns:
            list[tuple[str, str, str | None, str]]: Name, split, the first path that is absent (None: all are there),
                and where the entry comes from.
        """
        return [(name, split, absent_path(source_config(entry, split)), origin)
                for name, (splits, origin) in self._entries().items() for split, entry in splits.items()]

    def names(self):
        """list[str]: Names of all data sets, present or not."""
        return [*self._entries()]

    def list(self):
        """list[str]: Names of the data sets of which at least one split is there."""
        return list(dict.fromkeys(name for name, _, absent, _ in self.describe() if absent is None))

    def resolve(self, name, split, **changes):
        """The config of the data source that a name and a split stand for.

        Args:
            name (str): Of the data set.
            split (str): Of it.
            changes: Arguments that win over those of the entry; None stands for those of the entry.

        Returns:
            tuple[dict, str]: The config, and where the entry comes from.

        Raises:
            UnknownNameError: There is no such name.
            ConfigError: It has no such split.
        """
        splits, origin = self._find(name)
        if split not in splits:
            raise ConfigError(f'{name} has no split {split!r} in the catalog ({origin}); '
                              f'{nearest(split, splits, "it has")}')
        config = source_config(splits[split], split)
        config.pop('needs', None)
        return {**config, **{key: value for key, value in changes.items() if value is not None}}, origin


CATALOG = DatasetCatalog()


def absent_path(config):
    """The first path of a config that is not there, None where all are; places on a server count as there."""
    needed = config.get('needs') or []
    paths = [config.get(key) for key in _PATHS] + ([needed] if isinstance(needed, str) else list(needed))
    for path in paths:
        for part in path if isinstance(path, (list, tuple)) else [path]:
            if isinstance(part, str) and '://' not in part:
                part = re.split(r'(?<=\.zip)/', osp.expanduser(part), maxsplit=1, flags=re.I)[0]  # not what is in it
                if not osp.exists(part) and not glob.glob(part):
                    return part
    return None


def source_config(entry, split):
    """The config of a data source from an entry of the catalog.

    Args:
        entry (dict | list): The config itself, or [images, labels] as VISSL has it. Then folders laid out as Pascal VOC
            and COCO are read as such, folders with folders in them by class, and other folders without labels.
        split (str): Of the data set.

    Returns:
        dict: The config.
    """
    if isinstance(entry, dict):
        return dict(entry)
    images, labels = osp.expanduser(entry[0]), entry[1] if len(entry) == 2 else None
    if osp.isdir(osp.join(images, 'ImageSets', 'Main')):
        # of 2012 the labels of the test images are not public
        parts = dict(train='train', val='val') if '2012' in osp.basename(osp.normpath(images)) else \
            dict(train='trainval', val='test')
        return dict(type='VOC', data_prefix=images, split=parts.get(split, split), multi_label=True)
    if osp.isfile(osp.join(images, 'annotations', f'instances_{split}2014.json')):
        return dict(type='COCO', data_prefix=images, split=split)
    if images.endswith(_LISTS):
        config = dict(type='ImageList', data_prefix=None, ann_file=images)
    else:
        by_class = not osp.isdir(images) or any(e.is_dir() for e in os.scandir(images) if not e.name.startswith('.'))
        config = dict(type='ImageNet' if by_class else 'Folder', data_prefix=images)
    if labels and osp.isfile(osp.expanduser(labels)):
        config['labels'] = labels
    elif labels and labels != entry[0] and not labels.startswith('<'):  # VISSL ships words such as <lbl_path>
        get_root_logger().warning(f'{labels} of the catalog is not there: the labels of {images} ' +
                                  ('follow from its folders' if config['type'] == 'ImageNet' else 'are left out'))
    return config


def build_from_catalog(cfg, build, default_args=None):
    """Build the data source that `dict(type='Catalog', name=..., split=..., ...)` stands for.

    Args:
        cfg (dict): Besides `name` and `split` (default 'train'), arguments of the source that win over the catalog's;
            None counts as not given, so that options can take away those that a recipe has.
        build (callable): Builds a data source from its own config.
        default_args (dict, optional): Arguments used where `cfg` has none.

    Returns:
        BaseDataSource: The source. Nothing in it refers to the catalog: worker processes need none.

    Raises:
        ConfigError: Such a name or split is unknown, or its files are absent.
    """
    arguments = {**(default_args or {}), **cfg}
    arguments.pop('type')
    name, split = arguments.pop('name', None), arguments.pop('split', 'train')
    if not isinstance(name, str) or not isinstance(split, str):
        raise ConfigError(
            f'Catalog needs the name of a data set and of a split, got name={name!r}, split={split!r}; '
            f'at hand are {", ".join(CATALOG.list())}', cfg)
    try:
        config, origin = CATALOG.resolve(name, split, **arguments)
    except ConfigError as error:
        error.cfg = cfg
        raise
    try:
        return build(config)
    except ConfigError as error:
        absent = isinstance(error, FileNotFoundError)
        message = f'{error.message} ({name}, {split} in the catalog of {origin}'
        message += '; data_prefix, or a catalog of your own, names another place)' if absent else ')'
        raise (AbsentFileError if absent else ConfigError)(message, cfg) from error
