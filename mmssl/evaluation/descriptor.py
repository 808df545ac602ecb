# Copyright (c) mmssl contributors. All rights reserved.
"""The features of an image that stand for it where images are compared: several stages, their places, evened out."""
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Subset

from mmssl.utils.errors import ConfigError
from .features import check_layers, extract_features
from .whitening import Whitening

_MOST = 10_000  # images that a whitening is learned on


@dataclass
class Descriptor:
    """What the section `features` of a config says.

    The maps of some stages, each averaged in the cells of a grid and brought to unit length, side by side; then
    partly whitened (see Whitening.partial), which needs features of images without labels.

    Attributes:
        layers (Sequence[str]): Such as ('stage3', 'stage4'), see extract_features.
        pool_type (str): How maps are pooled: 'average', or 'grid:2' in 2 x 2 cells, which keeps what is where.
        power (float): Of the whitening, 0 to 0.5; 0 leaves features as they are.
    """
    layers: tuple = ('pooled', )
    pool_type: str = 'average'
    power: float = 0.

    @classmethod
    def of(cls, cfg):
        """That of a config; 'pooled' features as they are where it has no section `features`.

        Raises:
            ConfigError: A setting, a layer or a pooling that there is not.
        """
        section = dict(cfg.get('features') or {})
        unknown = sorted(set(section) - {'layers', 'pool_type', 'power'})
        if unknown:
            raise ConfigError(f'features has layers, pool_type and power, and no {unknown[0]}')
        found = cls(**section)
        try:
            check_layers(found.layers, found.pool_type)
        except ValueError as error:
            raise ConfigError(f'features: {error}') from error
        if not 0 <= found.power <= 0.5:
            raise ConfigError(f'features.power is 0 to 0.5, got {found.power!r}')
        return found

    @classmethod
    def by(cls, layer, cfg):
        """That of a layer alone, or with None that of a config.

        Raises:
            ConfigError: The layer is no name of one.
        """
        if layer is not None and not isinstance(layer, str):
            raise ConfigError(f"layer is the name of one, such as 'pooled' or 'stage3', got {layer!r}")
        return cls.of(cfg) if layer is None else cls((layer, ))

    def extract(self, model, dataset, **options):
        """Features of all images of a data set before they are whitened.

        Args:
            model (nn.Module): An algorithm, or a backbone.
            dataset (Dataset): See extract_features.
            options: Of extract_features: img_norm_cfg, batch_size, ...

        Returns:
            Features: With the one layer 'descriptor', N x D.
        """
        return self.join(
            extract_features(model, dataset, layers=tuple(self.layers), pool_type=self.pool_type, **options))

    def join(self, found):
        """Features whose layers become the one layer 'descriptor'; without an image they stay without a layer.

        Args:
            found (Features): With the layers, of extract_features. It is changed.

        Returns:
            Features: The same.
        """
        parts = [found[layer] for layer in self.layers if layer in found.layers]
        if len(parts) > 1:
            parts = [part / np.linalg.norm(part, axis=1, keepdims=True).clip(1e-12) for part in parts]
        found.layers = dict(descriptor=np.concatenate(parts, 1)) if parts else {}
        return found

    def learn(self, features):
        """The whitening that some features ask for.

        Args:
            features (ndarray): N x D, of `extract`.

        Returns:
            Whitening | None: None where the power is 0.
        """
        return Whitening.partial(features, self.power) if self.power else None

    def learn_from(self, model, dataset, seed=0, **options):
        """The whitening, by at most 10,000 of the images of the training.

        Args:
            model, dataset, options: See extract.
            seed (int): Which images are taken.

        Returns:
            Whitening | None: See learn.
        """
        if len(dataset) > _MOST:
            chosen = np.random.default_rng(seed).choice(len(dataset), _MOST, replace=False)
            dataset = Subset(dataset, np.sort(chosen).tolist())
        return self.learn(self.extract(model, dataset, **options)['descriptor'])
