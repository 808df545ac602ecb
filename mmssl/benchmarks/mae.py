# Copyright (c) mmssl contributors. All rights reserved.
"""A training step of MAE against the same network made of timm's blocks, and against mask ratios."""
import contextlib
import time
from functools import partial

import torch
from torch import nn

from mmssl.core import build_optimizer
from mmssl.models import build_algorithm
from mmssl.models.utils.patches import patchify
from mmssl.utils.dist import default_device
from .step import interleaved

# embed_dims, layers, heads
SIZES = dict(tiny=(192, 12, 3), small=(384, 12, 6), base=(768, 12, 12))


class TimmMAE(nn.Module):
    """MAE in the order of its published code, on timm's patch embedding and blocks as they are.

    Args:
        dims, layers, heads (int): Of the encoder.
        img_size (int): Height and width of the images in pixels.
        mask_ratio (float): Share of the patches that are masked.
        decoder (tuple[int]): Dimension, layers and heads of the decoder.
    """

    def __init__(self, dims, layers, heads, img_size, mask_ratio, decoder):
        from timm.layers import PatchEmbed
        from timm.models.vision_transformer import Block
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.patch_embed = PatchEmbed(img_size, 16, 3, dims)
        length = self.patch_embed.num_patches
        self.visible = int(length * (1 - mask_ratio))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.pos_embed = nn.Parameter(torch.zeros(1, length + 1, dims), requires_grad=False)
        self.blocks = nn.Sequential(*(Block(dims, heads, qkv_bias=True, norm_layer=norm) for _ in range(layers)))
        self.norm = norm(dims)
        width, depth, decoder_heads = decoder
        self.decoder_embed = nn.Linear(dims, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, length + 1, width), requires_grad=False)
        self.decoder_blocks = nn.Sequential(*(Block(width, decoder_heads, qkv_bias=True, norm_layer=norm)
                                              for _ in range(depth)))
        self.decoder_norm = norm(width)
        self.decoder_pred = nn.Linear(width, 16**2 * 3)

    def forward(self, img):
        x = self.patch_embed(img) + self.pos_embed[:, 1:]
        batch, length, dims = x.shape
        shuffle = torch.rand(batch, length, device=x.device).argsort(1)
        restore = shuffle.argsort(1)
        x = torch.gather(x, 1, shuffle[:, :self.visible, None].repeat(1, 1, dims))
        mask = torch.ones(batch, length, device=x.device)
        mask[:, :self.visible] = 0
        mask = torch.gather(mask, 1, restore)
        x = torch.cat(((self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1), x), 1)
        x = self.decoder_embed(self.norm(self.blocks(x)))
        masked = self.mask_token.repeat(batch, length - self.visible, 1)
        patches = torch.cat((x[:, 1:], masked), 1)
        patches = torch.gather(patches, 1, restore[..., None].repeat(1, 1, x.shape[2]))
        x = torch.cat((x[:, :1], patches), 1) + self.decoder_pos_embed
        pred = self.decoder_pred(self.decoder_norm(self.decoder_blocks(x)))[:, 1:]
        target = patchify(img, 16)
        mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        loss = ((pred - (target - mean) / (var + 1e-6)**.5)**2).mean(-1)
        return (loss * mask).sum() / mask.sum()


def mae_config(dims, layers, heads, img_size, mask_ratio, decoder):
    """Config of the same network of ours; arguments as of TimmMAE."""
    width, depth, decoder_heads = decoder
    return dict(
        type='MAE',
        backbone=dict(
            type='MAEViT',
            arch=dict(embed_dims=dims, num_layers=layers, num_heads=heads, feedforward_channels=4 * dims),
            img_size=img_size,
            mask_ratio=mask_ratio),
        neck=dict(
            type='MAEPretrainDecoder',
            num_patches=(img_size // 16)**2,
            embed_dim=dims,
            decoder_embed_dim=width,
            decoder_depth=depth,
            decoder_num_heads=decoder_heads),
        head=dict(type='MAEPretrainHead', norm_pix=True))


def training_step(model, img, loss_of, dtype):
    """A function that does one step: forward, backward, AdamW."""
    optimizer = build_optimizer(model, dict(type='AdamW', lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05))

    def step():
        with contextlib.nullcontext() if dtype is None else torch.autocast(img.device.type, dtype):
            loss = loss_of(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def run(size='small',
        batch_size=16,
        img_size=224,
        mask_ratios=(0.75, ),
        bfloat16=False,
        rounds=5,
        decoder=(512, 8, 16),
        clock=time.perf_counter):
    """Time training steps by turns.

    Args:
        size (str): 'tiny', 'small' or 'base'.
        batch_size (int): Images in a step.
        img_size (int): Their height and width in pixels.
        mask_ratios (Sequence[float]): Of our MAE; timm's has the first.
        bfloat16 (bool): Autocast.
        rounds (int): Timed steps of each.
        decoder (tuple[int]): Dimension, layers and heads of the decoder.
        clock (callable): See Stopwatch.

    Returns:
        dict[str, float]: Median seconds of a step, of 'timm <ratio>' and of 'mmssl <ratio>' for each ratio.
    """
    device = default_device()
    torch.manual_seed(0)
    img = torch.randn(batch_size, 3, img_size, img_size, device=device)
    dtype = torch.bfloat16 if bfloat16 else None
    shape = (*SIZES[size], img_size)
    theirs = TimmMAE(*shape, mask_ratios[0], decoder).to(device)
    steps = {f'timm {mask_ratios[0]}': training_step(theirs, img, lambda model: model(img), dtype)}
    for ratio in mask_ratios:
        ours = build_algorithm(mae_config(*shape, ratio, decoder)).to(device)
        if ratio == mask_ratios[0]:  # the same network, indeed
            counts = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
            assert counts[0] == counts[1], counts
        steps[f'mmssl {ratio}'] = training_step(ours, img, lambda model: model(img)['loss'], dtype)
    return interleaved(steps, rounds, device, clock)
