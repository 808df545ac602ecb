# Copyright (c) mmssl contributors. All rights reserved.
"""Nine patches of each image, to tell where the outer ones lie."""
import numpy as np

from mmssl.utils.errors import ConfigError
from .pipelines.compose import Compose
from .pipelines.patches import image_to_patches
from .pipelines.rng import seed_view
from .pretext import PretextDataset
from .registry import DATASETS


@DATASETS.register_module()
class RelativeLocDataset(PretextDataset):
    """Nine patches of each image: the middle one and its eight neighbours, which are the classes.

    As in Doersch et al. <https://arxiv.org/abs/1505.05192>, in the sizes that OpenSelfSup settled on.

    Args:
        data_source (dict | BaseDataSource): Where images come from.
        pipeline (list[dict | Callable]): Steps from the stored image to the one that is cut up.
        format_pipeline (list[dict | Callable]): Steps for each patch: ToTensor and Normalize. With `prefetch` steps
            that leave uint8 arrays, or none.
        prefetch (bool): See BaseDataset.
    """
    num_classes = 8

    def __init__(self, data_source, pipeline, format_pipeline, prefetch=False):
        super().__init__(data_source, pipeline, prefetch)
        self.format_pipeline = Compose(format_pipeline)

    def with_pipelines(self, change):
        other = super().with_pipelines(lambda pipeline: pipeline)  # what it makes is cut up here
        other.format_pipeline = change(self.format_pipeline)
        return other

    def __getitem__(self, idx):
        img = self.stored_for([self.pipeline], idx)
        seed_view(0)
        img = self.pipeline(img)
        try:
            patches = image_to_patches(img)
        except (TypeError, ValueError) as error:
            raise ConfigError(f'{type(self).__name__}.pipeline: {error}') from error
        patches = [self.finish(self.format_pipeline(patch)) for patch in patches]
        return dict(img=patches, patch_label=np.arange(8), idx=idx)
