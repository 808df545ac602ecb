# Copyright (c) mmssl contributors. All rights reserved.
"""One call from a folder of images to their features."""
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmssl.datasets.data_sources.base import CompactStrings
from mmssl.datasets.data_sources.folder import Folder
from mmssl.datasets.loader import check_broken_policy
from mmssl.datasets.pipelines.crop import CenterCrop, Resize
from mmssl.datasets.single_view import SingleViewDataset
from mmssl.evaluation.features import extract_features
from mmssl.interop.export import image_channels
from mmssl.interop.reference_models import IMAGENET
from mmssl.utils.config import check_sections, load_config
from mmssl.utils.errors import BrokenImageError, ConfigError, printable
from mmssl.utils.misc import atomic_write
from .inference import evaluated_parts, pretrained_model


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


def embed_folder(config,
                 checkpoint,
                 folder,
                 layer='pooled',
                 size=224,
                 broken='skip',
                 batch_size=64,
                 workers=0,
                 cfg_options=None,
                 progress=False,
                 output=None):
    """Features of all images below a folder, resized, cropped at the centre and normalised as the config says.

    Args:
        config (str | mmcv.Config): Of the training.
        checkpoint (str): Of the training, or of the backbone alone.
        folder (str | Path): Any tree of images.
        layer (str): 'pooled', 'cls_token', 'neck', 'head' or 'stageN' (see extract_features).
        size (int | tuple[int]): Side, or height and width, of the crop in pixels; images are resized first,
            so that they just cover 8/7 of it.
        broken (str): 'skip' images that cannot be read and name them, or 'stop' at the first one.
        batch_size (int): Images in a batch.
        workers (int): Processes that load images.
        cfg_options (dict, optional): Settings of the config to override, by dotted keys.
        progress (bool): Show a progress bar.
        output (str | Path, optional): The file that write_embeddings is to make, to see before the work that it can.

    Returns:
        Embeddings: In the order of the sorted file names, on every process.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
        BrokenImageError: An image cannot be read, with broken='stop'.
        ConfigError: A layer that the model lacks; every image is broken.
    """
    broken = check_broken_policy(broken, ('skip', 'stop'))
    cfg = load_config(config, cfg_options)
    check_sections(cfg, ['model.backbone'])
    source = Folder(str(folder))
    source.samples = CompactStrings(sorted(source.samples))  # it has the files of a folder before those below it
    if output is not None:
        check_embeddings_path(output, source.samples)
    model = pretrained_model(cfg, checkpoint, evaluated_parts([layer]))
    channels = image_channels(model)
    source.color_type = 'grayscale' if channels == 1 else 'color'
    height, width = (size, size) if isinstance(size, int) else size
    sides = round(height * 8 / 7), round(width * 8 / 7)
    pipeline = [Resize(sides[0]) if height == width else _Cover(sides), CenterCrop((height, width))]
    dataset = SingleViewDataset(source, pipeline, prefetch=True)
    try:
        found = extract_features(
            model,
            dataset,
            layers=(layer, ),
            batch_size=batch_size,
            workers=workers,
            img_norm_cfg=cfg.get('img_norm_cfg', IMAGENET),
            progress=progress,
            broken=broken)
    except (BrokenImageError, ConfigError):
        raise
    except ValueError as error:
        raise ConfigError(f'layer {layer}: {error}') from error
    reasons = {source.samples[idx]: reason for idx, _, reason in found.broken}
    return Embeddings([source.samples[idx] for idx in found.index], found[layer], reasons)


def write_embeddings(embeddings, path, settings):
    """Write features and file names.

    Args:
        embeddings (Embeddings): The features.
        path (str | Path): NAME.npy, beside which NAME.json gets `files`, `broken` and the settings; or NAME.parquet
            with the columns `file` and `embedding`, and the same in its metadata, without `files`.
        settings (dict): What they were made with, plain values.

    Raises:
        ConfigError: See check_embeddings_path.
    """
    check_embeddings_path(path, embeddings.files)
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


def check_embeddings_path(path, files=()):
    """See whether features can be written into a file of this name.

    Args:
        path (str | Path): The file.
        files (Sequence[str]): The images' names, as far as they are known.

    Raises:
        ConfigError: An unknown format; pyarrow is not installed; a name that is no UTF-8, which .parquet cannot hold.
    """
    suffix = Path(path).suffix
    if suffix not in ('.npy', '.parquet'):
        raise ConfigError(f'{path}: features are written as .npy or .parquet')
    if suffix == '.parquet':
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ConfigError(f'{path} needs pyarrow: pip install pyarrow; or write a .npy') from error
        for name in files:
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise ConfigError(f'{path} holds file names as UTF-8, which {printable(name)} is not: rename the file, '
                                  'or write a .npy, whose .json keeps every name') from error
