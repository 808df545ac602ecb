# Copyright (c) mmssl contributors. All rights reserved.
"""One call from a folder of images to their features."""
import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from mmssl.datasets.loader import check_broken_policy
from mmssl.datasets.single_view import SingleViewDataset
from mmssl.evaluation.descriptor import Descriptor
from mmssl.evaluation.stored_features import store_features
from mmssl.interop.export import image_channels
from mmssl.interop.reference_models import IMAGENET
from mmssl.utils import dist
from mmssl.utils.config import check_sections, load_config
from mmssl.utils.errors import BrokenImageError, ConfigError, printable
from mmssl.utils.misc import atomic_write, existing_folder
from .image_sources import name_of, source_of
from .inference import evaluated_parts, pretrained_model, reading_of_folders
from .preprocessing import cover_steps


@dataclass
class Embeddings:
    """Features of a folder.

    Attributes:
        files (list[str]): Paths relative to the folder, sorted.
        features (ndarray): float32, one row a file.
        broken (dict[str, str]): Files that could not be read, and why; they have no row.
        index (list[int] | None): Number of each image in its data source.
    """
    files: list
    features: np.ndarray
    broken: dict = field(default_factory=dict)
    index: list = None

    def __len__(self):
        return len(self.files)

    def __repr__(self):
        shape = ' x '.join(map(str, self.features.shape))
        return f'Embeddings({shape}, of {", ".join(map(printable, self.files[:2]))}, ...; {len(self.broken)} broken)'


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
                 output=None,
                 teacher=False):
    """Features of all images below a folder, resized, cropped at the centre and normalised as the config says.

    Args:
        config (str | mmcv.Config): Of the training.
        checkpoint (str): Of the training, or of the backbone alone.
        folder (str | Path): Any tree of images, or tar shards with their index.
        layer (str): 'pooled', 'cls_token', 'neck', 'head' or 'stageN' (see extract_features).
        size (int | tuple[int]): Side, or height and width, of the crop in pixels; images are resized first,
            so that they just cover 8/7 of it.
        broken (str): 'skip' images that cannot be read and name them, or 'stop' at the first one.
        batch_size (int): Images in a batch.
        workers (int): Processes that load images.
        cfg_options (dict, optional): Settings of the config to override, by dotted keys.
        progress (bool): Show a progress bar.
        output (str | Path, optional): The file that write_embeddings is to make, to see before the work that it can.
        teacher (bool): See pretrained_model.

    Returns:
        Embeddings: In the order of the sorted file names, or of shards, on every process.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
        BrokenImageError: An image cannot be read, with broken='stop'.
        ConfigError: A layer that the model lacks; every image is broken.
    """
    model, dataset, norm = _prepare(config, checkpoint, folder, layer, size, cfg_options, output, teacher)
    return embed(model, dataset, layer, norm, broken, batch_size, workers, progress)


def embed(model, dataset, layer='pooled', img_norm_cfg=None, broken='skip', batch_size=64, workers=0, progress=False):
    """Features of all images of a data set, with their names.

    Args:
        model (nn.Module): An algorithm, or a backbone alone.
        dataset (SingleViewDataset): The images.
        layer (str | Descriptor): See embed_folder; or several, before they are whitened.
        img_norm_cfg (dict, optional): See extract_features.
        broken, batch_size, workers, progress: See embed_folder.

    Returns:
        Embeddings: In the order of the data set, on every process.

    Raises:
        BrokenImageError, ConfigError: See embed_folder.
    """
    by = layer if isinstance(layer, Descriptor) else Descriptor((layer, ))
    with told_of(', '.join(by.layers)):
        found = by.extract(
            model,
            dataset,
            img_norm_cfg=img_norm_cfg,
            broken=check_broken_policy(broken, ('skip', 'stop')),
            batch_size=batch_size,
            workers=workers,
            progress=progress)
    name = partial(name_of, dataset.data_source)
    reasons = {name(idx): reason for idx, _, reason in found.broken}
    index = found.index.tolist()
    return Embeddings([name(idx) for idx in index], found['descriptor'], reasons, index)


def _prepare(config, checkpoint, folder, layer, size, cfg_options, output, teacher):
    """The model, the images in the order of their names, and their normalisation."""
    cfg = load_config(config, cfg_options)
    check_sections(cfg, ['model.backbone'])
    source = source_of(folder, cfg, None)
    if output is not None:
        check_embeddings_path(output, source.samples)
    model = pretrained_model(cfg, checkpoint, evaluated_parts([layer]), teacher=teacher)
    if not reading_of_folders(cfg):
        source.color_type = 'grayscale' if image_channels(model) == 1 else 'color'
    return model, SingleViewDataset(source, cover_steps(size), prefetch=True), cfg.get('img_norm_cfg', IMAGENET)


@contextlib.contextmanager
def told_of(layer):
    """Name the layer in the error of one that is not there."""
    try:
        yield
    except (BrokenImageError, ConfigError):
        raise
    except ValueError as error:
        raise ConfigError(f'layer {layer}: {error}') from error


def embed_patches(config,
                  checkpoint,
                  folder,
                  output,
                  settings,
                  layer='patches',
                  size=224,
                  broken='skip',
                  batch_size=64,
                  workers=0,
                  cfg_options=None,
                  progress=False,
                  part=256,
                  teacher=False):
    """Features of each patch of all images below a folder, in a file that may be larger than the memory.

    Images are done in parts, which wait beside the output (OUTPUT.parts) until all are there; a run that was stopped
    goes on behind those that are done.

    Args:
        config, checkpoint, folder, size, broken, batch_size, workers, cfg_options, progress, teacher: See embed_folder.
        output (str | Path): NAME.npy, beside which NAME.json gets `files`, `broken` and the settings.
        settings (dict): What the features are made with, plain values.
        layer (str): 'patches', 'stageN_patches' or 'stageN_map' (see extract_features).
        part (int): Images of which the features are in memory at once.

    Returns:
        Embeddings: Whose features, N x h x w x D, or N x D x h x w of maps, stay in the file until they are read.

    Raises:
        ConfigError: See embed_folder; the output is no .npy.
    """
    model, dataset, norm = _prepare(config, checkpoint, folder, layer, size, cfg_options, output, teacher)
    return store_patches(
        model,
        dataset,
        output,
        settings,
        layer,
        part,
        img_norm_cfg=norm,
        broken=broken,
        batch_size=batch_size,
        workers=workers,
        progress=progress)


def store_patches(model, dataset, output, settings, layer='patches', part=256, broken='skip', **options):
    """Features of each patch of all images of a data set, in a file; see embed_patches.

    Args:
        model (nn.Module): An algorithm, or a backbone alone.
        dataset (SingleViewDataset): The images.
        output, settings, layer, part, broken: See embed_patches.
        options: `img_norm_cfg`, `batch_size`, `workers` and `progress` of extract_features.

    Returns:
        Embeddings: See embed_patches.
    """
    output = Path(output)
    if output.suffix != '.npy':
        raise ConfigError(f'{output}: features of patches are written as .npy')
    parts = output.with_suffix('.parts')
    with told_of(layer):
        store_features(
            model,
            dataset,
            parts,
            'all',
            dict(settings, pipeline=repr(dataset.pipeline)),
            part,
            overwrite=True,
            layers=(layer, ),
            broken=check_broken_policy(broken, ('skip', 'stop')),
            **options)
    dist.barrier()  # the first process moves away what the others have just looked for
    if dist.get_rank() == 0:
        name = partial(name_of, dataset.data_source)
        index = np.load(parts / 'all_index.npy').tolist()
        reasons = json.loads((parts / 'all_broken.json').read_text()) if (parts / 'all_broken.json').exists() else []
        absent = sorted({*range(len(dataset))} - {*index})
        told = {name(idx): entry['reason'] for idx, entry in zip(absent, reasons, strict=True)}
        files = [name(idx) for idx in index]
        with atomic_write(output.with_suffix('.json')) as file:
            json.dump(dict(settings, broken=told, files=files), file, indent=1)
        os.replace(parts / f'all_{layer}.npy', output)
        shutil.rmtree(parts)
    dist.barrier()
    facts = json.loads(output.with_suffix('.json').read_text())
    return Embeddings(facts['files'], np.load(output, mmap_mode='r'), facts['broken'])


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
        ConfigError: An unknown format; its folder cannot be written; pyarrow is not installed; a name that is no UTF-8,
            which .parquet cannot hold.
    """
    suffix = Path(path).suffix
    if suffix not in ('.npy', '.parquet'):
        raise ConfigError(f'{path}: features are written as .npy or .parquet')
    folder, writable = existing_folder(path)
    if not writable:
        raise ConfigError(f'{path}: nothing can be written into {folder}; name a file in another folder')
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
