# Copyright (c) mmssl contributors. All rights reserved.
"""Pooled features of a backbone over a loader, under the names that MMSelfSup users know.

mmssl.evaluation.extract_features does the same for data sets, keeps the model as it was and checks what it finds.
"""
from mmssl.utils.collect import dist_forward_collect, nondist_forward_collect
from mmssl.utils.dist import get_rank
from .multi_pooling import MultiPooling


class ExtractProcess:
    """The last map, averaged over its positions, as `feat`."""

    def __call__(self, model, img):
        return dict(feat=model(img=img, mode='extract')[-1].mean((2, 3)).cpu())

    def extract(self, model, data_loader, distributed=False):
        """Features of all samples of a loader.

        Args:
            model (nn.Module): An algorithm, wrapped or not; put into evaluation mode.
            data_loader (DataLoader): Batches of `img` and `idx`, not shuffled.
            distributed (bool): Whether each process has a share of the samples.

        Returns:
            dict[str, ndarray]: N x D by name, in the order of the data set, on every process.
        """
        model.eval()
        device = next(model.parameters()).device

        def func(img, **kwargs):
            return self(model, img.to(device))

        if distributed:
            return dist_forward_collect(func, data_loader, get_rank(), len(data_loader.dataset))
        return nondist_forward_collect(func, data_loader, len(data_loader.dataset))


class MultiExtractProcess(ExtractProcess):
    """The maps of several stages, each pooled to about 9,000 numbers, as `feat1` (stem) to `feat5`.

    Args:
        pool_type (str): See MultiPooling.
        backbone (str): See MultiPooling.
        layer_indices (Sequence[int]): Stages, which must be the backbone's `out_indices`.
    """

    def __init__(self, pool_type='specified', backbone='resnet50', layer_indices=(0, 1, 2, 3, 4)):
        self.layer_indices = layer_indices
        self.pooling = MultiPooling(pool_type, layer_indices, backbone)

    def __call__(self, model, img):
        pooled = self.pooling(model(img=img, mode='extract'))
        return {f'feat{i + 1}': feat.flatten(1).cpu() for i, feat in zip(self.layer_indices, pooled)}
