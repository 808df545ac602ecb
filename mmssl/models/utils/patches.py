# Copyright (c) mmssl contributors. All rights reserved.
"""Images as rows of patches, and back."""
import torch

from mmssl.utils.errors import ConfigError


def patch_grid(height, width, patch_size):
    """Rows and columns of patches in an image of so many pixels.

    Raises:
        ConfigError: The image has no whole number of patches.
    """
    if height % patch_size or width % patch_size:
        raise ConfigError(f'images of {height} x {width} pixels have no whole number of patches of {patch_size} x '
                          f'{patch_size}')
    return height // patch_size, width // patch_size


def check_mask(mask, grid):
    """See that a mask is one of the patches of the images.

    Args:
        mask (Tensor): B x h x w, or B x L.
        grid (tuple[int]): Rows and columns of patches.

    Raises:
        ConfigError: It is one of other patches.
    """
    if tuple(mask.shape[1:]) not in (tuple(grid), (grid[0] * grid[1], )):
        raise ConfigError(f'the mask is one of {" x ".join(map(str, mask.shape[1:]))} patches, the images have '
                          f'{grid[0]} x {grid[1]}: fit the mask generator to img_size and patch_size of the backbone')


def replace_masked(tokens, mask, mask_token, grid):
    """Put a learned token in the place of masked patches.

    Args:
        tokens (Tensor): B x L x D.
        mask (Tensor): B x h x w, 1 or True where masked.
        mask_token (Tensor): 1 x 1 x D.
        grid (tuple[int]): Rows and columns of patches.

    Returns:
        Tensor: B x L x D.
    """
    check_mask(mask, grid)
    return torch.where(mask.flatten(1)[..., None].bool(), mask_token.to(tokens.dtype), tokens)


def take_patches(tokens, numbers):
    """Some tokens of each image.

    Args:
        tokens (Tensor): B x L x D.
        numbers (Tensor): Which ones, B x K integers.

    Returns:
        Tensor: B x K x D.
    """
    return tokens.gather(1, numbers[..., None].expand(-1, -1, tokens.shape[2]))


def check_leaves_out_patches(backbone, algorithm):
    """See that a backbone can be given some patches of an image alone.

    Args:
        backbone (nn.Module): The backbone.
        algorithm (nn.Module): Who needs that, named in the error.

    Raises:
        ConfigError: It cannot.
    """
    if not hasattr(backbone, 'tokens'):
        raise ConfigError(f'{type(algorithm).__name__} needs a backbone that leaves out patches, one of our vision '
                          f'transformers such as IJEPAViT or DINOViT; {type(backbone).__name__} cannot')


def patchify(img, patch_size):
    """Images to patches, in row order; in a patch, pixels in row order with channels last, as in MAE's published code.

    Args:
        img (Tensor): B x C x H x W.
        patch_size (int): Length p of a patch's side, in pixels.

    Returns:
        Tensor: B x L x p*p*C, L = H/p * W/p.

    Raises:
        ConfigError: The image has no whole number of patches.
    """
    patch_grid(*img.shape[-2:], patch_size)
    img = img.unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size))  # B x C x h x p x w x p
    return img.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches, patch_size, grid=None):
    """Patches, as patchify makes them, to images.

    Args:
        patches (Tensor): B x L x p*p*C.
        patch_size (int): Length p of a patch's side, in pixels.
        grid (tuple[int], optional): Rows and columns of patches; by default a square.

    Returns:
        Tensor: B x C x H x W.

    Raises:
        ConfigError: The numbers do not fit.
    """
    count, values = patches.shape[1:]
    rows, columns = grid or (int(count**0.5), ) * 2
    if rows * columns != count:
        raise ConfigError(f'{count} patches are no grid of {rows} x {columns}; give rows and columns')
    if values % patch_size**2:
        raise ConfigError(f'{values} values are no patch of {patch_size} x {patch_size} pixels of whole channels')
    patches = patches.unflatten(2, (patch_size, patch_size, -1)).unflatten(1, (rows, columns))  # B x h x w x p x p x C
    return patches.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
