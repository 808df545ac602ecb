# Copyright (c) mmssl contributors. All rights reserved.
"""A training step of DINO with many crops, against the same step written plainly on timm's blocks, and against one pass
of the backbone a crop."""
import contextlib
import copy
import time
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from mmssl.core import build_optimizer
from mmssl.core.hooks.optimizer_hook import clip_gradients
from mmssl.models import DINO, build_algorithm
from mmssl.utils.dist import default_device
from .mae import SIZES
from .step import interleaved

HEAD = dict(hidden=2048, bottleneck=256, prototypes=65536)
MOMENTUM, CLIP, TEACHER_TEMP, STUDENT_TEMP = 0.996, 3., 0.04, 0.1


class PlainViT(nn.Module):
    """A vision transformer with learned positions, of timm's patch embedding and blocks as they are; class tokens."""

    def __init__(self, dims, layers, heads, img_size, drop_path):
        from timm.layers import PatchEmbed
        from timm.models.vision_transformer import Block
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.patch_embed = PatchEmbed(img_size, 16, 3, dims, strict_img_size=False)
        self.side = img_size // 16
        self.cls_token = nn.Parameter(torch.randn(1, 1, dims) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, self.side**2 + 1, dims) * 0.02)
        self.blocks = nn.Sequential(
            *(Block(dims, heads, qkv_bias=True, norm_layer=norm, drop_path=drop_path * i / max(1, layers - 1))
              for i in range(layers)))
        self.norm = norm(dims)

    def forward(self, img):
        patches, side = self.patch_embed(img), img.shape[2] // 16
        positions = self.pos_embed[:, 1:].reshape(1, self.side, self.side, -1).permute(0, 3, 1, 2)
        if side != self.side:
            positions = F.interpolate(positions, (side, side), mode='bicubic')
        x = patches + positions.flatten(2).transpose(1, 2)
        first = self.cls_token + self.pos_embed[:, :1]
        x = torch.cat((first.expand(len(x), -1, -1), x), 1)
        return self.norm(self.blocks(x))[:, 0]


class PlainHead(nn.Module):
    """The head of DINO with torch's weight norm, whose lengths are trained."""

    def __init__(self, dims, hidden, bottleneck, prototypes):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dims, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck))
        for layer in self.mlp[::2]:
            nn.init.trunc_normal_(layer.weight, std=.02)
            nn.init.zeros_(layer.bias)
        last = nn.Linear(bottleneck, prototypes, bias=False)
        self.last_layer = nn.utils.parametrizations.weight_norm(last)
        nn.init.ones_(self.last_layer.parametrizations.weight.original0)

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1))


class PlainDINO(nn.Module):
    """DINO as its paper writes it, pair by pair in the loss; the backbone has a pass a resolution, as published."""

    def __init__(self, dims, layers, heads, img_size, drop_path, head):
        super().__init__()
        self.student = nn.Sequential(PlainViT(dims, layers, heads, img_size, drop_path), PlainHead(dims, **head))
        self.teacher = nn.Sequential(PlainViT(dims, layers, heads, img_size, 0.), PlainHead(dims, **head))
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.register_buffer('center', torch.zeros(1, head['prototypes']))

    def forward(self, crops):
        large = [crop for crop in crops if crop.shape == crops[0].shape]
        small = crops[len(large):]
        features = [self.student[0](torch.cat(group)) for group in (large, small) if group]
        student = self.student[1](torch.cat(features)).float().chunk(len(crops))
        with torch.no_grad():
            scores = self.teacher(torch.cat(large)).float()
            targets = ((scores - self.center) / TEACHER_TEMP).softmax(-1).chunk(len(large))
        total = pairs = 0
        for i, target in enumerate(targets):
            for j, score in enumerate(student):
                if i != j:
                    total = total - (target * (score / STUDENT_TEMP).log_softmax(-1)).sum(-1).mean()
                    pairs += 1
        self.center.mul_(0.9).add_(0.1 * scores.mean(0, keepdim=True))
        return total / pairs

    @torch.no_grad()
    def momentum_update(self):
        for own, other in zip(self.teacher.parameters(), self.student.parameters()):
            own.mul_(MOMENTUM).add_((1 - MOMENTUM) * other)


class PassACrop(DINO):
    """DINO whose backbone sees each crop on its own."""

    def forward_train(self, img, **kwargs):
        student = self.neck([self.backbone(crop) for crop in img])[0].unflatten(0, (len(img), -1))
        large = sum(crop.shape == img[0].shape for crop in img)
        teacher = torch.stack([self.teacher(crop)[0] for crop in img[:large]])
        return self.head(student, teacher)


def dino_config(dims, layers, heads, img_size, drop_path, head):
    """Config of the same network of ours; arguments as of PlainDINO."""
    arch = dict(embed_dims=dims, num_layers=layers, num_heads=heads, feedforward_channels=4 * dims)
    return dict(
        type='DINO',
        backbone=dict(type='DINOViT', arch=arch, img_size=img_size, patch_size=16, drop_path_rate=drop_path),
        neck=dict(
            type='DINONeck',
            in_channels=dims,
            channels=[head['hidden'], head['hidden'], head['bottleneck']],
            out_channels=head['prototypes'],
            norm_last_layer=False,
            with_avg_pool=False,
            vit_backbone=True),
        head=dict(type='DINOHead', teacher_temp=TEACHER_TEMP, student_temp=STUDENT_TEMP),
        base_momentum=MOMENTUM)


def plain_step(model, crops, autocast):
    """A function that does one step as one writes it down: torch's AdamW as it comes, loops over parameters."""
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.04)

    def step():
        with autocast():
            loss = model(crops)
        optimizer.zero_grad()
        loss.backward()
        for p in params:
            torch.nn.utils.clip_grad_norm_([p], CLIP)
        optimizer.step()
        model.momentum_update()

    return step


def our_step(model, crops, autocast):
    """The same of our algorithm, as a training does it."""
    optimizer = build_optimizer(model, dict(type='AdamW', lr=1e-4, weight_decay=0.04))

    def step():
        with autocast():
            loss = model(crops)['loss']
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model, CLIP, per='tensor')
        optimizer.step()
        model.momentum_update()

    return step


def run(size='small',
        batch_size=4,
        large=(2, 224),
        small=(8, 96),
        bfloat16=False,
        rounds=5,
        drop_path=0.1,
        head=HEAD,
        variants=('plain', 'mmssl', 'pass a crop'),
        clock=time.perf_counter):
    """Time training steps by turns.

    Args:
        size (str): 'tiny', 'small' or 'base'.
        batch_size (int): Images in a step.
        large (tuple[int]): Number of large crops, and their height and width in pixels.
        small (tuple[int]): The same of small crops.
        bfloat16 (bool): Autocast.
        rounds (int): Timed steps of each.
        drop_path (float): Of the student's last layer.
        head (dict): `hidden`, `bottleneck` and `prototypes`.
        variants (Sequence[str]): 'plain', 'mmssl' and 'pass a crop'.
        clock (callable): See Stopwatch.

    Returns:
        dict[str, float]: Median seconds of a step, by variant.
    """
    device = default_device()
    torch.manual_seed(0)
    crops = [torch.randn(batch_size, 3, side, side, device=device) for number, side in (large, small)
             for _ in range(number)]  # yapf: disable
    autocast = partial(torch.autocast, device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext
    shape = (*SIZES[size], large[1], drop_path, head)
    steps = {}
    ours = build_algorithm(dino_config(*shape)).to(device)
    for name in variants:
        if name == 'plain':
            model = PlainDINO(*shape).to(device)
            counts = [sum(p.numel() for p in m.parameters()) for m in (ours, model)]
            assert counts[0] == counts[1], counts  # the same network, indeed
            steps[name] = plain_step(model, crops, autocast)
        else:
            model = copy.deepcopy(ours)
            if name == 'pass a crop':
                model.__class__ = PassACrop
            steps[name] = our_step(model, crops, autocast)
    del ours
    return interleaved(steps, rounds, device, clock)
