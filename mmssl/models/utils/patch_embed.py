# Copyright (c) mmssl contributors. All rights reserved.
"""Patches of an image as tokens."""
from mmcv.cnn import build_norm_layer
from torch import nn
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError, check_integer
from .channels import check_image_channels
from .patches import patch_grid


class PatchEmbed(nn.Module):
    """A linear map of each patch, held as a convolution whose stride is its kernel.

    Args:
        in_channels (int): Channels of the image.
        embed_dims (int): Dimension of the tokens.
        input_size (int | tuple[int]): Height and width of the images, in pixels; others work as well where they are
            multiples of the patch.
        patch_size (int): Length of a patch's side, in pixels.
        bias (bool): Add a bias.
        norm_cfg (dict, optional): Norm of the tokens.

    Attributes:
        init_out_size (tuple[int]): Rows and columns of patches in an image of `input_size`.

    Raises:
        ConfigError: `input_size` is no multiple of the patch.
    """

    def __init__(self, in_channels=3, embed_dims=768, input_size=224, patch_size=16, bias=True, norm_cfg=None):
        super().__init__()
        for name, value in dict(in_channels=in_channels, patch_size=patch_size).items():
            check_integer(value, name, 1)
        size = (input_size, ) * 2 if isinstance(input_size, int) else input_size
        if len(size) != 2 or min(size) < 1:
            raise ConfigError(
                f'img_size is the side of the images or their height and width, in pixels, got {input_size!r}')
        self.in_channels = in_channels
        self.patch_size = patch_size
        self.projection = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size, bias=bias)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1] if norm_cfg else None
        self.init_out_size = patch_grid(*size, patch_size)

    def forward(self, img):
        """Images, B x C x H x W, to tokens in row order, B x L x embed_dims, and the grid (rows, columns)."""
        check_image_channels(img.shape[1], self.in_channels)
        grid = patch_grid(*img.shape[-2:], self.patch_size)
        tokens = self.projection(img).flatten(2).transpose(1, 2)
        return tokens if self.norm is None else self.norm(tokens), grid

    def project(self, patches):
        """Patches as patchify makes them, B x K x p*p*C, to tokens, B x K x embed_dims.

        Of images of which only some patches are wanted, the others need not be computed.
        """
        check_image_channels(patches.shape[2] // self.patch_size**2, self.in_channels)
        weight = self.projection.weight.permute(0, 2, 3, 1).flatten(1)  # in the order of patchify
        tokens = F.linear(patches, weight, self.projection.bias)
        return tokens if self.norm is None else self.norm(tokens)
