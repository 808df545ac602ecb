# Copyright (c) mmssl contributors. All rights reserved.
"""One call from a folder of images to their features."""
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from mmssl.datasets.data_sources.base import CompactStrings
from mmssl.datasets.data_sources.decode import BrokenImageError
from mmssl.datasets.data_sources.folder import Folder
from mmssl.datasets.pipelines.crop import CenterCrop, Resize
from mmssl.datasets.single_view import SingleViewDataset
from mmssl.evaluation.features import extract_features
from mmssl.interop.export import image_channels
from mmssl.interop.reference_models import IMAGENET
from mmssl.utils.config import check_sections, load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write
from .inference import evaluated_parts, pretrained_model

_BROKEN = -2  # in the place of a label: there are none in a folder


@dataclass
class Embeddings:
    """Features of a folder.

    Attributes:
        files (list[str]): Paths relative to the folder, sorted.
        features (ndarray): float32, one row a file.
        broken (dict[str, str]): Files that could not be read, and why; they have no row.
    """
    files: list
    features: np.ndarray
    broken: dict = field(default_factory=dict)


class _Cover(Resize):
    """Scale an image so that it just covers (height, width); the ratio of its sides stays."""

    def target(self, h, w):
        scale = max(self.size[0] / h, self.size[1] / w)
        return max(self.size[0], round(h * scale)), max(self.size[1], round(w * scale))


class _MarkedBroken(Dataset):
    """A data set in whose items a broken image is a black one with a mark in place of its label."""

    def __init__(self, dataset, blank):
        self.dataset = dataset
        self.blank = blank

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, idx):
        try:
            return self.dataset[idx]
        except BrokenImageError:
            return dict(img=self.dataset.finish(self.dataset.pipeline(self.blank.copy())), label=_BROKEN, idx=idx)


def embed_folder(config,
                 checkpoint,
                 folder,
                 layer='pooled',
                 size=224,
                 broken='fail',
                 batch_size=64,
                 workers=0,
                 cfg_options=None,
                 progress=False):
    """Features of all images below a folder, resized, cropped at the centre and normalised as the config says.

    Args:
        config (str | mmcv.Config): Of the training.
        checkpoint (str): Of the training, or of the backbone alone.
        folder (str | Path): Any tree of images.
        layer (str): 'pooled', 'cls_token', 'neck', 'head' or 'stageN' (see extract_features).
        size (int | tuple[int]): Side, or height and width, of the crop in pixels; images are resized first,
            so that they just cover 8/7 of it.
        broken (str): 'fail' at an image that cannot be read, or 'skip' it and name it.
        batch_size (int): Images in a batch.
        workers (int): Processes that load images.
        cfg_options (dict, optional): Settings of the config to override, by dotted keys.
        progress (bool): Show a progress bar.

    Returns:
        Embeddings: In the order of the sorted file names, on every process.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
        BrokenImageError: An image cannot be read, with broken='fail'.
        ConfigError: A layer that the model lacks; every image is broken.
    """
    if broken not in ('fail', 'skip'):
        raise ConfigError(f"broken must be 'fail' or 'skip', got {broken!r}")
    cfg = load_config(config, cfg_options)
    check_sections(cfg, ['model.backbone'])
    source = Folder(str(folder))
    source.samples = CompactStrings(sorted(source.samples))  # it has the files of a folder before those below it
    model = pretrained_model(cfg, checkpoint, evaluated_parts([layer]))
    channels = image_channels(model)
    source.color_type = 'grayscale' if channels == 1 else 'color'
    height, width = (size, size) if isinstance(size, int) else size
    sides = round(height * 8 / 7), round(width * 8 / 7)
    pipeline = [Resize(sides[0]) if height == width else _Cover(sides), CenterCrop((height, width))]
    dataset = SingleViewDataset(source, pipeline, prefetch=True)
    if broken == 'skip':
        dataset = _MarkedBroken(dataset, np.zeros((height, width, channels), np.uint8))
    try:
        found = extract_features(
            model,
            dataset,
            layers=(layer, ),
            batch_size=batch_size,
            workers=workers,
            img_norm_cfg=cfg.get('img_norm_cfg', IMAGENET),
            progress=progress)
    except BrokenImageError:
        raise
    except ValueError as error:
        raise ConfigError(f'layer {layer}: {error}') from error
    reasons = {source.samples[idx]: _reason(source, idx) for idx in found.index[found.labels == _BROKEN]}
    good = found.labels != _BROKEN
    if not good.any():
        raise ConfigError(f'all {len(good)} images in {folder} are broken, such as {next(iter(reasons))}: '
                          f'{next(iter(reasons.values()))}')
    return Embeddings([source.samples[idx] for idx in found.index[good]], found[layer][good], reasons)


def _reason(source, idx):
    """Why an image cannot be read; its worker could not tell."""
    try:
        source.get_img(idx)
    except BrokenImageError as error:
        return error.reason
    return 'it could be read at a second try'


def write_embeddings(embeddings, path, settings):
    """Write features and file names.

    Args:
        embeddings (Embeddings): The features.
        path (str | Path): NAME.npy, beside which NAME.json gets `files`, `broken` and the settings; or NAME.parquet
            with the columns `file` and `embedding`, and the same in its metadata, without `files`.
        settings (dict): What they were made with, plain values.

    Raises:
        ConfigError: An unknown format; pyarrow is not installed.
    """
    check_embeddings_path(path)
    path = Path(path)
    facts = dict(settings, broken=embeddings.broken)
    if path.suffix == '.npy':
        with atomic_write(path.with_suffix('.json')) as file:
            json.dump(dict(facts, files=embeddings.files), file, indent=1)
        with atomic_write(path, 'wb') as file:
            np.save(file, embeddings.features)
        return
    import pyarrow
    import pyarrow.parquet
    rows, dims = embeddings.features.shape
    values = pyarrow.array(embeddings.features.reshape(-1), pyarrow.float32())
    table = pyarrow.table(
        dict(
            file=pyarrow.array(embeddings.files, pyarrow.string()),
            embedding=pyarrow.FixedSizeListArray.from_arrays(values, dims)))
    table = table.replace_schema_metadata(dict(mmssl=json.dumps(facts)))
    with atomic_write(path, 'wb') as file:
        pyarrow.parquet.write_table(table, file)


def check_embeddings_path(path):
    """Raise a ConfigError where features cannot be written into a file of this name."""
    suffix = Path(path).suffix
    if suffix not in ('.npy', '.parquet'):
        raise ConfigError(f'{path}: features are written as .npy or .parquet')
    if suffix == '.parquet':
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ConfigError(f'{path} needs pyarrow: pip install pyarrow; or write a .npy') from error
