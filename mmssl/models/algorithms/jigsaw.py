# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw puzzles."""
import torch

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from .base import BackboneNeckHead


def patch_maps(backbone, patches):
    """Features of patches as those of images, the patches of an image in a row.

    Args:
        backbone (nn.Module): The network.
        patches (Tensor): B x P x C x h x w.

    Returns:
        tuple[Tensor]: What the backbone gives of B * P images.

    Raises:
        ConfigError: No such patches.
    """
    if not torch.is_tensor(patches) or patches.dim() != 5:
        found = f'the shape {tuple(patches.shape)}' if torch.is_tensor(patches) else type(patches).__name__
        raise ConfigError('this algorithm takes patches of each image, batch x patches x channels x height x width, as '
                          f'SampleDataset gives them with the step ImageToPatches or ImageAndPatches; got {found}')
    return backbone(patches.flatten(0, 1))


@ALGORITHMS.register_module()
class Jigsaw(BackboneNeckHead):
    """Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles <https://arxiv.org/abs/1603.09246>.

    Each patch goes through the network on its own; one classifier on all of them tells in which order they lie.

    Args:
        backbone (dict): Config of the backbone, which encodes each patch.
        neck (dict): Config of the layers on each patch and of ConcatTowers, which joins them, in a ChainNeck.
        head (dict): Config of the classifier of the permutations.
        init_cfg (dict, optional): Initialisation.
    """

    label_step = 'PermutePatches'

    def refuses_one_image(self, processes):
        """None: the norm of the neck gets all patches of an image."""

    def classify(self, img):
        """Patches in their new order (B x P x C x h x w) to [scores of the permutations, B x K]."""
        maps = patch_maps(self.backbone, img)  # BP x D x h' x w'
        return self.head(self.neck(maps))  # the neck gives B x PE

    def forward_train(self, img, label, **kwargs):
        """Patches (see classify) and the permutations in which they lie (B) to loss and accuracy."""
        scores = self.classify(img)
        if len(scores[0]) != len(label):
            raise ConfigError(f'each of {len(label)} images has a label and the scores are of {len(scores[0])}: '
                              f'num_towers of the neck must be the number of patches, {img.shape[1]}')
        return self.head.loss(scores, label)

    def forward_test(self, img, **kwargs):
        """Patches (see classify) to dict(head0=scores of the permutations, B x K, on the CPU)."""
        return dict(head0=self.classify(img)[0].cpu())
