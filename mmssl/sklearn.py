# Copyright (c) mmssl contributors. All rights reserved.
"""Self-supervised features as a step of scikit-learn's pipelines."""
import copy
import tempfile
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmssl.apis.embedding import embed
from mmssl.apis.image_sources import check_images, data_in_files, source_of
from mmssl.apis.inference import evaluated_parts
from mmssl.apis.preprocessing import preprocessing_of
from mmssl.apis.run import load
from mmssl.datasets.single_view import SingleViewDataset
from mmssl.evaluation.descriptor import Descriptor
from mmssl.interop.export import slim
from mmssl.utils.dist import default_device
from mmssl.utils.errors import ConfigError


class ImageEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Images in, features out: by a network that is pre-trained on the images, without labels, or by that of a run.

    Images are an array N x H x W x C or N x H x W of uint8, a list of Pillow images or arrays, a list of files, or a
    folder. A folder is no sequence, so cross-validation needs one of the others. After `fit` all that `transform` needs
    is in the estimator: it can be pickled and used where the run is not.

    Args:
        run (str | Path | Run, optional): A finished run, or a checkpoint; None: `fit` trains on the images.
        method (str): Of a training, such as 'simclr'; see mmssl.train.
        model (str): Its network, such as 'resnet18'.
        time (float | str, optional): Length of a training in seconds, or as text such as '10m'.
        epochs (int, optional): In place of the time.
        settings (dict, optional): Settings of its config by dotted key.
        out (str | Path, optional): Folder of the training; a run that is there is put away. None: nothing of the
            training is kept but the network.
        layer (str, optional): Whose features: 'pooled', 'cls_token', 'neck' or 'stageN'; None: see Run.features.
        size (int | tuple[int], optional): See Run.features.
        batch_size (int): Images in a batch of `transform`.
        workers (int): Processes that load images in `transform`.
        random_state (int | RandomState | None): Seed of a training; None: another one each time.
        verbose (bool): Show the progress of a training.

    Attributes:
        model_ (nn.Module): The network.
        transform_ (Preprocessing): What is done to an image first.
        run_ (Path | None): Folder of the run, None where nothing of it was kept.
        ndim_in_ (int | None): Axes of the array that `fit` saw, None for other forms of images.
    """

    def __init__(self,
                 run=None,
                 method='auto',
                 model='auto',
                 time=None,
                 epochs=None,
                 settings=None,
                 out=None,
                 layer=None,
                 size=None,
                 batch_size=64,
                 workers=0,
                 random_state=0,
                 verbose=False):
        self.run = run
        self.method = method
        self.model = model
        self.time = time
        self.epochs = epochs
        self.settings = settings
        self.out = out
        self.layer = layer
        self.size = size
        self.batch_size = batch_size
        self.workers = workers
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None) -> 'ImageEmbedder':
        """Pre-train on images, or take the network of the run.

        Args:
            X (Sequence | str | Path): The images, see the class.
            y (object): Not used: the training sees no labels.

        Returns:
            ImageEmbedder: Itself.

        Raises:
            ConfigError: X holds no images, the settings do not fit them, or the layer is one of the patches.
        """
        if isinstance(self.layer, str) and self.layer.endswith(('patches', '_map')):
            raise ConfigError(
                f'layer {self.layer} gives no vector for an image: take pooled, cls_token, neck or stageN')
        check_images(X)
        self.ndim_in_ = _axes(X)
        if self.run is not None:
            run = load(self.run)
            self._take(run, run.out)
        elif self.out is not None:
            self._take(self._train(X, Path(self.out)), Path(self.out))
        else:
            with tempfile.TemporaryDirectory(prefix='mmssl-') as folder:
                self._take(self._train(X, Path(folder, 'run')), None)
        self._n_features_out = self._features(X[:1] if isinstance(X, (list, tuple, np.ndarray)) else X, 1).shape[1]
        return self

    def _train(self, X, out):
        from mmssl.apis.pretrain import train
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31)
        return train(
            data_in_files(X, out),
            self.method,
            self.model,
            str(out),
            self.time,
            self.epochs,
            dict(self.settings or {}),
            seed=int(seed),
            overwrite=True,
            quiet=not self.verbose)

    def _take(self, run, folder):
        model = run.model(self.layer)
        self.descriptor_ = Descriptor.by(self.layer, run.cfg)
        self.model_ = copy.deepcopy(slim(model, evaluated_parts(self.descriptor_.layers))).cpu()
        self.whitening_ = run.whitening(self.layer)
        self.transform_ = preprocessing_of(run.cfg, model, self.size)
        self.config_ = copy.deepcopy(run.cfg)
        self.run_ = folder

    def transform(self, X) -> np.ndarray:
        """Features of images.

        Args:
            X (Sequence | str | Path): The images, see the class.

        Returns:
            ndarray: float32, N x D, one row an image.

        Raises:
            BrokenImageError: One cannot be read.
            ConfigError: X holds no images.
        """
        check_is_fitted(self, 'model_')
        axes = _axes(X)
        if None not in (axes, self.ndim_in_) and axes != self.ndim_in_:
            raise ConfigError(f'fit saw an array of {self.ndim_in_} axes, transform gets one of {axes}. Reshape your '
                              'data: an image alone is X[None]')
        return self._features(X)

    def _features(self, X, most=None):
        source = source_of(X, self.config_, self.transform_.channels)
        dataset = SingleViewDataset(source, self.transform_.steps, prefetch=self.transform_.prefetch)
        if most is not None and len(dataset) > most:
            source = source_of([source.get_array(0)], self.config_, self.transform_.channels)
            dataset = SingleViewDataset(source, self.transform_.steps, prefetch=self.transform_.prefetch)
        features = embed(
            self.model_.to(default_device()),
            dataset,
            self.descriptor_,
            self.transform_.img_norm_cfg,
            broken='stop',
            batch_size=self.batch_size,
            workers=self.workers).features
        return features if self.whitening_ is None else self.whitening_.apply(features)

    def __getstate__(self):
        state = super().__getstate__()
        if 'model_' in state:  # it may be loaded where there is no GPU
            state = dict(state, model_=copy.deepcopy(state['model_']).cpu())
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags


def _axes(X):
    """Number of axes of an array of images, None for other forms.

    Raises:
        ConfigError: Its values are complex.
    """
    if not isinstance(X, np.ndarray) or X.dtype.kind in 'OSU':
        return None
    if np.iscomplexobj(X):
        raise ConfigError(f'Complex data not supported: images are of uint8, uint16 or float32, got {X.dtype}')
    return X.ndim
