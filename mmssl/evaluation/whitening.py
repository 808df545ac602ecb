# Copyright (c) mmssl contributors. All rights reserved.
"""PCA whitening of descriptors, learned on images that are not those of the benchmark."""
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write
from .checks import check_features


@dataclass
class Whitening:
    """Centre, rotate to the principal components, scale each to variance 1 (Jegou and Chum, 2012).

    Attributes:
        mean (ndarray): D, float64.
        projection (ndarray): D x dims, float64; the components by descending variance.
    """
    mean: np.ndarray
    projection: np.ndarray

    @classmethod
    def learn(cls, features, dims=None):
        """Learn it.

        Args:
            features (Tensor | ndarray): N x D.
            dims (int, optional): Number of components that are kept; by default all that vary.

        Returns:
            Whitening: The whitening.

        Raises:
            ValueError: NaN, or fewer directions in which the features vary than `dims`.
        """
        features = check_features(features, what='whitening')[0].cpu().numpy().astype(np.float64)
        mean = features.mean(0)
        variances, directions = np.linalg.eigh(np.cov(features - mean, rowvar=False, ddof=0).reshape(2 * mean.shape))
        variances, directions = variances[::-1], directions[:, ::-1]
        # float32 descriptors: what is smaller is rounding, and would be blown up
        rank = int((variances > variances[0] * 1e-7).sum()) if variances[0] > 0 else 0
        rank = min(rank, len(features) - 1)
        dims = rank if dims is None else dims
        if not 1 <= dims <= rank:
            raise ValueError(f'the {len(features)} whitening features of {len(mean)} dimensions vary in {rank} '
                             f'directions: {dims} of them cannot be kept')
        directions = directions[:, :dims]
        # a sign of its own for each direction, so that it depends on the features alone
        largest = np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0)
        return cls(mean, directions * np.sign(largest) / np.sqrt(variances[:dims]))

    @classmethod
    def partial(cls, features, power, ridge=1e-4):
        """Learn to even out how much features vary in different directions, without turning them.

        A direction with the variance v is scaled by v^-power. Few directions, in which backbones differ most, then
        decide less about what is near. Dimensions keep their meaning (ZCA, Bell and Sejnowski, 1997, of which
        power=0.5 is the whole).

        Args:
            features (Tensor | ndarray): N x D.
            power (float): 0 (centre only) to 0.5 (the same variance in all directions).
            ridge (float): Share of the largest variance that is added to each, so that noise is not blown up.

        Returns:
            Whitening: From D to D dimensions.

        Raises:
            ValueError: NaN, or a power outside of this range.
        """
        if not 0 <= power <= 0.5:
            raise ValueError(f'the power of a whitening is 0 to 0.5, got {power!r}')
        features = check_features(features, what='whitening')[0].cpu().numpy().astype(np.float64)
        mean, spread = features.mean(0), features.std(0)
        if not spread.any():
            raise ValueError(f'the {len(features)} whitening features are all alike')
        # what a dimension that hardly varies would hold is rounding: it becomes 0 in all features
        live = np.flatnonzero(spread > 1e-3 * spread.max())
        covariance = np.cov(features[:, live] - mean[live], rowvar=False, ddof=0).reshape(2 * live.shape)
        variances, directions = np.linalg.eigh(covariance)
        variances = variances.clip(0) + ridge * variances[-1]
        # only ratios matter: the largest variance counts as 1
        projection = np.zeros(2 * mean.shape)
        projection[np.ix_(live, live)] = directions / (variances / variances[-1])**power @ directions.T
        return cls(mean, projection)

    def apply(self, features):
        """Whitened features of unit length.

        Args:
            features (Tensor | ndarray): N x D.

        Returns:
            Tensor | ndarray: N x dims, float32, of the kind and on the device of `features`.
        """
        x = check_features(features)[0]
        if x.shape[1] != len(self.mean):
            raise ValueError(f'the whitening is for {len(self.mean)} dimensions, the features have {x.shape[1]}')
        mean, projection = (torch.as_tensor(part, device=x.device) for part in (self.mean, self.projection))
        white = F.normalize((x.double() - mean) @ projection, dim=1).float()
        return white if torch.is_tensor(features) else white.numpy()

    def save(self, path):
        """Write an .npz file."""
        with atomic_write(path, 'wb') as file:
            np.savez(file, mean=self.mean, projection=self.projection)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as found:
                return cls(found['mean'], found['projection'])
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ConfigError(f'{path} is no whitening: {error}') from error
