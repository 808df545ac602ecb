# Copyright (c) mmssl contributors. All rights reserved.
"""Features of a whole data set while a model trains, for clustering."""
from torch import nn

from mmssl.datasets import build_dataset
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from .features import extract_features


class Extractor:
    """What the neck of a model makes of each sample of a data set; without a neck, its pooled last map.

    Args:
        dataset (dict | Dataset): One image a sample: a config, or the data set.
        samples_per_gpu (int): Samples of one process in a batch.
        workers_per_gpu (int): Loader processes of each process.
        dist_mode (bool): For old configs: the samples are shared out whenever there are several processes.
        persistent_workers (bool): For old configs: workers live as long as one extraction.
        prefetch (bool): For old configs: images that the data set leaves as uint8 are normalised in any case.
        img_norm_cfg (dict, optional): `mean` and `std` of uint8 images, on the scale of 0 to 1.
        imgs_per_gpu (int, optional): Old name of `samples_per_gpu`.

    Raises:
        ConfigError: Neither or both of `samples_per_gpu` and `imgs_per_gpu`.
    """

    def __init__(self,
                 dataset,
                 samples_per_gpu=None,
                 workers_per_gpu=0,
                 dist_mode=False,
                 persistent_workers=True,
                 prefetch=False,
                 img_norm_cfg=None,
                 imgs_per_gpu=None):
        if (samples_per_gpu is None) == (imgs_per_gpu is None):
            raise ConfigError(f'the extractor needs either samples_per_gpu or imgs_per_gpu, its old name, got '
                              f'{samples_per_gpu!r} and {imgs_per_gpu!r}')
        samples_per_gpu = imgs_per_gpu if samples_per_gpu is None else samples_per_gpu
        self.dataset = build_dataset(dataset) if isinstance(dataset, dict) else dataset
        self.samples_per_gpu = samples_per_gpu
        self.workers_per_gpu = workers_per_gpu
        self.img_norm_cfg = img_norm_cfg

    def __call__(self, model):
        """Extract.

        Args:
            model (nn.Module | BaseRunner): An algorithm, wrapped or not, or the runner that trains it. It is left as it
                was, the random generators too.

        Returns:
            ndarray: N x D float32 in the order of the data set, the same on each process.

        Raises:
            ValueError: Features with NaN or infinity; the sample is named. For broken images others stand in, as in
                the training: each sample has its row.
        """
        if not isinstance(model, nn.Module):
            model = model.model
        layer = 'neck' if getattr(unwrap(model), 'neck', None) is not None else 'pooled'
        features = extract_features(
            model,
            self.dataset,
            layers=layer,
            batch_size=self.samples_per_gpu,
            workers=self.workers_per_gpu,
            img_norm_cfg=self.img_norm_cfg,
            broken='replace')
        return features[layer]
