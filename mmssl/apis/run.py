# Copyright (c) mmssl contributors. All rights reserved.
"""A training and what came of it, for notebooks and programs: `mmssl.load(FOLDER)`."""
from __future__ import annotations
import copy
import html
import io
import logging
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmcv import Config

from mmssl.datasets.single_view import SingleViewDataset
from mmssl.evaluation.descriptor import Descriptor
from mmssl.evaluation.whitening import Whitening
from mmssl.interop.export import FeatureNetwork, export_features, image_channels
from mmssl.interop.reference_models import photographs
from mmssl.utils.checkpoint import (find_latest_checkpoint, is_folder_checkpoint, training_checkpoint,
                                    training_checkpoints)
from mmssl.utils.config import check_sections, load_config
from mmssl.utils.config_file import import_modules
from mmssl.utils.config_text import parse_config_text
from mmssl.utils.errors import AbsentFileError, ConfigError, nearest
from mmssl.utils.run_dir import checkpoint_folder
from mmssl.utils.training_log import TrainingLog
from .embedding import embed
from .image_sources import source_of
from .inference import evaluated_parts, pretrained_model, training_source
from .preprocessing import preprocessing_of
from .run_dir import last_start

if TYPE_CHECKING:
    from torch import nn

    from .embedding import Embeddings
    from .preprocessing import Preprocessing
    from .run_evaluation import Evaluation
    from .search import Hits

# what one asks for -> the end of the file's name
EXPORTS = dict(onnx='.onnx', torchscript='.ts', pt2='.pt2')

_LOADED = 'checkpoint', 'transform', '_whitening'  # attributes that are found when they are asked for


class Run:
    """A training: its config, its checkpoint, and what the network that it trained is good for.

    Args:
        path (str | Path): Folder of the run (its work_dir), or a checkpoint.
        which (str): Of a folder, the 'latest' checkpoint, or the 'best' that an evaluation has kept.
        config (str | Path | mmcv.Config, optional): Of the training. By default that in the folder of the run, else
            that in the checkpoint.
        teacher (bool): Take the moving average of the network, such as DINO's teacher, where there is one.

    Attributes:
        out (Path): Folder of the run.
        cfg (mmcv.Config): Its config.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ConfigError: It is no run: there is neither a config nor a checkpoint that holds one.
    """

    out: Path
    cfg: Config

    def __init__(self,
                 path: str | Path,
                 which: str = 'latest',
                 config: str | Path | Config | None = None,
                 teacher: bool = False) -> None:
        path = Path(path).expanduser()
        if which not in ('latest', 'best'):
            raise ConfigError(f"which is 'latest' or 'best', got {which!r}")
        if not path.exists():
            raise AbsentFileError(f'no such run or checkpoint: {path.absolute()}; a run is the folder that a training '
                                  'writes to, such as work_dirs/NAME')
        is_file = path.is_file() or is_folder_checkpoint(path)
        self.out = path.parent if is_file else path
        self.teacher = teacher
        self._which, self._given = which, path if is_file else None
        self._models = {}
        self.cfg = load_config(config) if config is not None else self._find_config()
        check_sections(self.cfg, ['model.backbone'])

    def _find_config(self):
        saved = last_start(self.out)
        if saved is None:  # a run of MMSelfSup has NAME.py and a log
            configs = sorted(self.out.glob('*.py'))
            saved = configs[0] if len(configs) == 1 and any(self.out.glob('*.log.json')) else None
        if saved is not None:
            return load_config(saved)
        found = training_checkpoint(self._given) if self._given else next(iter(training_checkpoints(self.out)), None)
        text = found and found.meta.get('config')
        if not text:
            raise ConfigError(f'{self._given or self.out} is no run: ' +
                              ('it holds weights, but not the config of a training, and there is none beside it; '
                               'give config=' if self._given else 'it has neither the config of a training nor a '
                               'checkpoint; a run is the folder that a training writes to, such as work_dirs/NAME'))
        values = parse_config_text(text)
        if values.get('custom_imports'):
            import_modules(values['custom_imports'], [])
        return load_config(Config(values))

    @cached_property
    def checkpoint(self) -> Path:
        """Path: The checkpoint, see `which`.

        Raises:
            FileNotFoundError: There is none (yet).
        """
        if self._given:
            return self._given
        folder = checkpoint_folder(self.out, (self.cfg.get('checkpoint_config') or {}).get('out_dir'))
        folders = list(dict.fromkeys([self.out, folder]))
        if self._which == 'best':
            found = [path for f in folders for path in f.glob('best_*.pth')]
            if not found:
                raise AbsentFileError(f'{self.out} has no best_*.pth: save_best of the hook that evaluates keeps one; '
                                      "which='latest' takes the last checkpoint")
            return max(found, key=lambda path: path.stat().st_mtime_ns)
        found = next(filter(None, (find_latest_checkpoint(f, None) for f in folders)), None)
        # of a training without the state of the optimizer
        found = found or next((c.path for f in folders for c in training_checkpoints(f)), None)
        if found is None:
            raise AbsentFileError(f'{self.out} has no checkpoint yet: checkpoint_config.interval says how often one is '
                                  'written')
        return Path(found)

    def model(self, layer: str | None = None) -> nn.Module:
        """The whole algorithm with the weights of the checkpoint.

        Args:
            layer (str, optional): What it is wanted for: parts that it needs must be in the checkpoint.

        Returns:
            nn.Module: In evaluation mode, on the GPU where there is one; the same one each time.
        """
        parts = evaluated_parts([layer] if layer else Descriptor.of(self.cfg).layers)
        if parts not in self._models:
            # what was loaded is of no interest unless it is wrong
            quiet = logging.getLogger('mmssl.run')
            quiet.setLevel(logging.WARNING)
            self._models[parts] = pretrained_model(
                self.cfg, str(self.checkpoint), parts, logger=quiet, teacher=self.teacher).eval()
        return self._models[parts]

    @cached_property
    def transform(self) -> Preprocessing:
        """Preprocessing: An image (Pillow, array or file) -> the tensor that the network takes, C x H x W.

        The same steps as in the evaluation of the training. It is a transform for torchvision's data sets.
        """
        return self.preprocessing()

    def preprocessing(self, size: int | tuple[int, int] | None = None) -> Preprocessing:
        """Preprocessing: `transform`, or another one for images of a size; see preprocessing_of."""
        return preprocessing_of(self.cfg, self.model(), size)

    def backbone(self) -> FeatureNetwork:
        """The network alone: images in, features out.

        Returns:
            nn.Module: Float images N x C x H x W, as `transform` makes them, to pooled features N x D. Evaluation mode,
            on the CPU, all weights trainable, independent of this run; its attribute `num_features` is D. It can be
            pickled and saved by torch.save.
        """
        network = FeatureNetwork(copy.deepcopy(self.model()).cpu()).requires_grad_(True)
        with torch.no_grad():
            network.num_features = network(torch.zeros(1, *self._image_shape())).shape[1]
        return network

    def _image_shape(self, size=None):
        """Channels, height and width of an image as the network takes it."""
        transform = self.transform if size is None else self.preprocessing(size)
        return tuple(transform(np.zeros((256, 256, transform.channels), np.uint8)).shape)

    def dataset(self, data=None, size=None):
        """A data set of images, prepared as the network takes them.

        Args:
            data (str | Path | dict | Sequence, optional): The images, see image_sources.source_of; None: those of the
                training.
            size (int | tuple[int], optional): See preprocessing_of.

        Returns:
            tuple[SingleViewDataset, dict | None]: The data set, and the normalisation of its images, None where they
            are normalised already.
        """
        transform = self.transform if size is None else self.preprocessing(size)
        source = source_of(self.training_data() if data is None else data, self.cfg, transform.channels)
        return SingleViewDataset(source, transform.steps, prefetch=transform.prefetch), transform.img_norm_cfg

    def training_data(self):
        """dict: Config of the data source of the training's images.

        Raises:
            ConfigError: There is no such.
        """
        source = training_source(self.cfg)
        if source is None:
            raise ConfigError(f'the config of {self.out} names no images of a training; give a folder')
        return dict(source)

    def features(self,
                 data: Any = None,
                 layer: str | None = None,
                 size: int | tuple[int, int] | None = None,
                 broken: str = 'skip',
                 batch_size: int = 64,
                 workers: int = 0,
                 progress: bool = False) -> Embeddings:
        """Features of images.

        Args:
            data (str | Path | dict | Sequence, optional): A folder, with all images below it; names of files; an array
                N x H x W x C; a list of Pillow images; a list of images, shards or a name of the catalog as in
                mmssl.train. None: the images of the training.
            layer (str, optional): 'pooled', 'cls_token', 'neck', 'stageN', 'patches', ... (see extract_features). None:
                those that the section `features` of the config asks for, as the recipes of mmssl.train for small images
                do: several stages, partly whitened by images of the training. 'pooled' where there is no such section.
            size (int | tuple[int], optional): Side, or height and width, of the images in pixels, which cover 8/7 of
                it. By default they are prepared as by `transform`.
            broken (str): 'skip' images that cannot be read and name them, or 'stop' at the first one.
            batch_size (int): Images in a batch.
            workers (int): Processes that load images.
            progress (bool): Show a progress bar.

        Returns:
            Embeddings: `files`, `features` (float32, one row an image) and `broken`.

        Raises:
            FileNotFoundError: There is no such folder, or no image in it.
            BrokenImageError: An image cannot be read, with broken='stop'.
            ConfigError: A layer that the network lacks; every image is broken.
        """
        dataset, norm = self.dataset(data, size)
        options = dict(broken=broken, batch_size=batch_size, workers=workers, progress=progress)
        found = embed(self.model(layer), dataset, Descriptor.by(layer, self.cfg), norm, **options)
        whitening = self.whitening(layer)
        if whitening is not None:
            found.features = whitening.apply(found.features)
        return found

    def whitening(self, layer=None):
        """Whitening | None: What is done to features of a layer at last, which is nothing unless it is None."""
        return self._whitening if layer is None else None

    @cached_property
    def _whitening(self):
        """That of the section `features`; it is learned once for a checkpoint and kept beside it."""
        path = self.out / f'whitening_{self._checkpoint_name()}.npz'
        if path.exists() and path.stat().st_mtime_ns >= Path(self.checkpoint).stat().st_mtime_ns:
            return Whitening.load(path)
        descriptor = Descriptor.of(self.cfg)
        whitening = None
        if descriptor.power:
            dataset, norm = self.dataset()
            whitening = descriptor.learn_from(self.model(), dataset, img_norm_cfg=norm)
            try:
                whitening.save(path)
            except OSError:  # a folder that others own: it is learned anew by the next process
                pass
        return whitening

    def search(self,
               image: Any,
               folder: Any = None,
               k: int = 9,
               layer: str | None = None,
               size: int | tuple[int, int] | None = None,
               workers: int = 0) -> Hits:
        """The images that the network finds most similar to one.

        Features of the files that are searched are kept in the folder of the run, so that a second search is fast.

        Args:
            image (str | Path | PIL.Image.Image | ndarray): The query; a file that is itself searched is not found.
            folder (str | Path | dict | Sequence, optional): Where to search, in any form that `features` takes. None:
                the images of the training.
            k (int): How many to find.
            layer, size, workers: See `features`.

        Returns:
            Hits: What was found, the most similar first, each with `file`, `similarity` and `path`. A notebook shows
            the pictures, `save` writes them.

        Raises:
            BrokenImageError: The query cannot be read.
        """
        from .search import search
        return search(self, [image], folder, k, layer, size, workers)[0]

    def evaluate(self,
                 train: Any,
                 val: Any = None,
                 layer: str | None = None,
                 size: int | tuple[int, int] | None = None,
                 workers: int = 0,
                 seed: int = 0,
                 random_weights: bool = True) -> Evaluation:
        """Measure the features by labels: nearest neighbours, 10 labels a class, a linear classifier.

        Args:
            train (str | Path | dict | tuple): Labelled images: a folder of class folders, a list with labels, a name of
                the catalog, or a pair (images, labels).
            val (str | Path | dict | tuple, optional): Those that are scored. None: what stands beside `train`, else
                every fifth image of each of its classes.
            layer, size, workers: See `features`.
            seed (int): Of all draws.
            random_weights (bool): Measure the network before it was trained as well.

        Returns:
            Evaluation: Accuracies `knn`, `few_label` and `linear`, as fractions, and `random_weights` with the same.

        Raises:
            ConfigError: There are no labels.
        """
        from .run_evaluation import evaluate
        return evaluate(self, train, val, layer, size, workers, seed, random_weights)

    def curves(self) -> Curves:
        """What the log of the training holds.

        Returns:
            Curves: By name, such as 'loss', 'lr' or 'knn_top1': epochs done and values, arrays of one length.

        Raises:
            FileNotFoundError: There is no log.
        """
        log = TrainingLog(self.out)
        return Curves({key: tuple(map(np.array, log.curve(key))) for key in log.keys()}, log.name)

    def export(self,
               kind: str,
               path: str | Path | None = None,
               size: int | tuple[int, int] | None = None,
               normalize: bool = False,
               maps: bool = False,
               tolerance: float = 1e-5) -> Path:
        """Write the network as a program that runs without this package: images N x C x H x W -> features N x D.

        The file is run before it is written, and must give what the network gives.

        Args:
            kind (str): 'onnx', 'torchscript' or 'pt2' (torch.export).
            path (str | Path, optional): File to write; by default NAME.onnx, .ts or .pt2 in the folder of the run.
            size (int | tuple[int], optional): Of the images in pixels; by default that of `transform`.
            normalize (bool): The program takes images from 0 to 1 and normalises them itself.
            maps (bool): Give the last map, N x D x h x w, as a second output.
            tolerance (float): Largest difference of the outputs, over the largest output.

        Returns:
            Path: The file.

        Raises:
            ConfigError: An unknown kind, or packages that are not installed; see export_features.
        """
        if kind not in EXPORTS:
            raise ConfigError(f'there is no export {kind!r}; {nearest(kind, EXPORTS, "there are")}')
        path = Path(path) if path is not None else self.out / f'{self.out.resolve().name}{EXPORTS[kind]}'
        if path.suffix != EXPORTS[kind]:
            raise ConfigError(f'{path}: the name of an export as {kind} ends with {EXPORTS[kind]}')
        norm = self.cfg.get('img_norm_cfg')
        if normalize and norm is None:
            raise ConfigError(f'normalize: the config of {self.out} has no img_norm_cfg with mean and std')
        model = copy.deepcopy(self.model()).cpu()
        images = photographs(self._image_shape(size)[1:], image_channels(model), normalised=not normalize)
        export_features(model, path, images, maps, tolerance, norm if normalize else None)
        return path

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report of the run: one file, which any browser shows.

        Args:
            path (str | Path, optional): By default report.html in the folder of the run.

        Returns:
            Path: The file.
        """
        from .report import write_report
        return Path(write_report(self.out, path))

    def figures(self) -> dict[str, float]:
        """The main figures of the training.

        Returns:
            dict[str, object]: What is known: 'epochs', 'loss' (at last), 'knn' (at last) and 'best knn',
            'effective rank', 'images/s'.
        """
        try:
            curves = self.curves()
        except (FileNotFoundError, ConfigError):
            return {}
        found = {}
        if 'loss' in curves:
            found['epochs'] = round(float(curves['loss'][0][-1]), 2)
        for words, key in (('loss', 'loss'), ('knn', 'knn_top1'), ('best knn', 'knn_best'),
                           ('effective rank', 'effective_rank'), ('images/s', 'img_per_sec')):
            if key in curves:
                found[words] = float(curves[key][1][-1])
        return found

    def __getstate__(self):
        # what is loaded is loaded again where it is needed
        state = {key: value for key, value in vars(self).items() if key not in _LOADED}
        return dict(state, _models={})

    def __repr__(self):
        figures = ', '.join(f'{name} {value:.4g}' for name, value in self.figures().items())
        return f'Run({str(self._given or self.out)!r}{": " if figures else ""}{figures})'

    def _repr_html_(self):
        model = self.cfg.model
        rows = dict(
            folder=os.fspath(self.out),
            checkpoint=self._checkpoint_name(),
            method=f'{model.type}, {model.backbone.type}',
            **{
                name: f'{value:.4g}'
                for name, value in self.figures().items()
            })
        return '<table>' + ''.join(f'<tr><th style="text-align:left">{html.escape(name)}</th>'
                                   f'<td style="text-align:left">{html.escape(value)}</td></tr>'
                                   for name, value in rows.items()) + '</table>'

    def _checkpoint_name(self):
        try:
            return self.checkpoint.name
        except FileNotFoundError:
            return 'none yet'


class Curves(dict):
    """Curves of a training by name, each the pair of epochs and values.

    Args:
        curves (dict[str, tuple[ndarray, ndarray]]): The curves.
        name (str): Of the run.
    """

    def __init__(self, curves, name):
        super().__init__(curves)
        self.name = name

    def plot(self, *names: str) -> Any:
        """A picture of some curves, below each other.

        Args:
            names (str): Of curves; by default the loss and the accuracy of nearest neighbours, or what else there is
                of an evaluation.

        Returns:
            PIL.Image.Image: It shows itself in a notebook, and `.save(PATH)` writes it.

        Raises:
            ConfigError: There is no such curve.
        """
        from PIL import Image

        from mmssl.evaluation.plots import plot_curves
        names = names or [name for name in ('loss', 'knn_top1', 'rankme', 'effective_rank') if name in self][:2]
        for name in names:
            if name not in self:
                raise ConfigError(f'there is no curve {name!r}; {nearest(name, self, "there are")}')
        file = io.BytesIO()
        plot_curves({name: [(self.name, *self[name])] for name in names}, file, self.name)
        return Image.open(io.BytesIO(file.getvalue()))


def load(run: str | Path | Run, **options: Any) -> Run:
    """A run, or what a checkpoint holds of it.

    Args:
        run (str | Path | Run): Folder of a run, or a checkpoint; a Run stays as it is.
        options: `which`, `config` and `teacher` of Run.

    Returns:
        Run: The run.
    """
    return run if isinstance(run, Run) and not options else Run(
        run._given or run.out if isinstance(run, Run) else run, **options)
