# Copyright (c) mmssl contributors. All rights reserved.
"""Vision transformer <https://arxiv.org/abs/2010.11929>, with the names of mmcls's parameters."""
import functools
import math

import torch
from mmcv.cnn import build_norm_layer
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.registry import check_arguments
from ..builder import BACKBONES
from ..utils.patch_embed import PatchEmbed
from ..utils.patches import patch_grid, patchify, replace_masked
from ..utils.position_embedding import build_2d_sincos_position_embedding, resize_pos_embed
from ..utils.rope import RotaryPositions
from ..utils.stages import check_frozen_stages, check_stages
from ..utils.transformer_blocks import (TransformerEncoderLayer, head_dim, init_linears, one_each, rising_rates,
                                        run_layers)


def _arch(embed_dims, num_layers, num_heads, feedforward_channels):
    return dict(
        embed_dims=embed_dims, num_layers=num_layers, num_heads=num_heads, feedforward_channels=feedforward_channels)


def init_truncated(vit):
    """Normal weights of standard deviation 0.02, cut at two of it, as in the paper and BEiT; learned positions too."""
    init = functools.partial(nn.init.trunc_normal_, std=.02)
    for weight in (vit.cls_token, vit.pos_embed, vit.patch_embed.projection.weight):
        if weight is not None:
            init(weight)
    init_linears(vit.layers, init)


@BACKBONES.register_module()
class VisionTransformer(BaseModule):
    """Vision transformer, by default with the fixed positions and the initialisation of MoCo v3.

    Args:
        stop_grad_conv1 (bool): Keep the patch embedding at its random values, against the instability that MoCo v3
            <https://arxiv.org/abs/2104.02057> describes.
        frozen_stages (int): Layers without gradient; from 0 on the embeddings too, with the last layer the final norm.
        norm_eval (bool): Accepted for old configs: there is no batch norm.
        init_cfg (dict, optional): Initialisation.
        arch (str | dict): 'deit-tiny', 'deit-small', 'mocov3-small', 'small', 'base', 'large', 'huge', 'giant' (see
            arch_zoo), or a dict with embed_dims, num_layers, num_heads and feedforward_channels. DINOv2's giant one
            has ffn='swiglu'.
        img_size (int | tuple[int]): Height and width of the images in pixels. Position embeddings are interpolated for
            images of other sizes, and for checkpoints of other sizes.
        patch_size (int): Length of a patch's side in pixels.
        in_channels (int): Channels of the images.
        out_indices (int | Sequence[int]): Layers, from 0, whose output is returned; negative ones count from the end.
        drop_rate (float): Probability that an output of a linear layer, or of the embedding, is dropped.
        drop_path_rate (float): Probability that a sample skips the last layer; it rises linearly from 0.
        drop_path_subset (bool): See TransformerEncoderLayer.
        qkv_bias (bool): See MultiheadAttention.
        norm_cfg (dict): Norm.
        final_norm (bool): Norm behind the last layer.
        output_cls_token (bool): Return the class token beside each map.
        with_cls_token (bool): Have a class token; without it, as in I-JEPA <https://arxiv.org/abs/2301.08243>, there
            are maps only. Networks that mask patches have one.
        num_registers (int): Number of learned tokens without a position between class token and patches, which no
            output holds <https://arxiv.org/abs/2309.16588>.
        with_mask_token (bool): Have a learned token that stands in for masked patches.
        interpolate_mode (str): How position embeddings are interpolated.
        patch_cfg (dict): More arguments of PatchEmbed.
        layer_cfgs (dict | Sequence[dict]): More arguments of TransformerEncoderLayer, for all layers or for each.
        with_cp (bool): Compute the insides of layers again in the backward pass instead of keeping them.
        init_values (float, optional): See TransformerEncoderLayer.
        use_window (bool): Relative position bias in the attention, for images of `img_size` only.
        ffn (str): 'mlp' or 'swiglu'; see TransformerEncoderLayer.
        rope (dict, optional): Rotary positions in the attention of every layer, and none that are added to the tokens:
            arguments of RotaryPositions, `base` and `rescale`; dict() for its defaults.

    Raises:
        ConfigError: An unknown architecture, layers that are not there, or registers that cannot be.
    """
    arch_zoo = {
        **dict.fromkeys(['s', 'small'], _arch(768, 8, 8, 2304)),
        **dict.fromkeys(['b', 'base', 'deit-b', 'deit-base'], _arch(768, 12, 12, 3072)),
        **dict.fromkeys(['l', 'large'], _arch(1024, 24, 16, 4096)),
        **dict.fromkeys(['h', 'huge'], _arch(1280, 32, 16, 5120)),
        **dict.fromkeys(['g', 'giant'], _arch(1536, 40, 24, 6144)),
        **dict.fromkeys(['deit-t', 'deit-tiny'], _arch(192, 12, 3, 768)),
        **dict.fromkeys(['deit-s', 'deit-small'], _arch(384, 12, 6, 1536)),
        'mocov3-small': _arch(384, 12, 12, 1536),
    }
    needs_cls_token = False
    fixed_positions = True  # sines and cosines; else learned

    def __init__(self,
                 stop_grad_conv1=False,
                 frozen_stages=-1,
                 norm_eval=False,
                 init_cfg=None,
                 arch='base',
                 img_size=224,
                 patch_size=16,
                 in_channels=3,
                 out_indices=-1,
                 drop_rate=0.,
                 drop_path_rate=0.,
                 qkv_bias=True,
                 norm_cfg=dict(type='LN', eps=1e-6),
                 final_norm=True,
                 output_cls_token=True,
                 interpolate_mode='bicubic',
                 patch_cfg=dict(),
                 layer_cfgs=dict(),
                 with_cp=False,
                 init_values=None,
                 use_window=False,
                 with_cls_token=True,
                 ffn='mlp',
                 drop_path_subset=False,
                 num_registers=0,
                 with_mask_token=False,
                 rope=None):
        super().__init__(init_cfg)
        if self.needs_cls_token and not with_cls_token:
            raise ConfigError(f'{type(self).__name__} needs its class token: with_cls_token must be True')
        if use_window and not with_cls_token:
            raise ConfigError('a relative position bias is one of the class token too: set use_window=False, or '
                              'with_cls_token=True')
        if num_registers < 0 or num_registers and use_window:
            raise ConfigError(f'num_registers is 0 or more, and 0 with use_window=True, got {num_registers}')
        self.arch_settings = self._settings(arch)
        self.embed_dims, self.num_layers = self.arch_settings['embed_dims'], self.arch_settings['num_layers']
        patch_cfg = dict(
            dict(in_channels=in_channels, embed_dims=self.embed_dims, input_size=img_size, patch_size=patch_size),
            **patch_cfg)
        check_arguments(PatchEmbed, patch_cfg)
        self.patch_embed = PatchEmbed(**patch_cfg)
        self.patch_resolution = self.patch_embed.init_out_size
        self.num_extra_positions = int(with_cls_token)
        self.num_extra_tokens = self.num_extra_positions + num_registers  # in front of the patches
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims)) if with_cls_token else None
        self.rope = self.pos_embed = None
        if rope is None:
            self.pos_embed = nn.Parameter(
                build_2d_sincos_position_embedding(self.patch_resolution, self.embed_dims, cls_token=with_cls_token),
                requires_grad=not self.fixed_positions)
        elif use_window:
            raise ConfigError('positions are rotary (rope) or a bias of the attention (use_window=True), not both')
        else:
            if 'head_dim' in rope:
                raise ConfigError(f"rope takes no head_dim, which arch gives; got {rope['head_dim']!r}")
            rope = dict(rope, head_dim=head_dim(self.embed_dims, self.arch_settings['num_heads']))
            check_arguments(RotaryPositions, rope)
            self.rope = RotaryPositions(**rope)
        self.register_tokens = nn.Parameter(torch.zeros(1, num_registers, self.embed_dims)) if num_registers else None
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims)) if with_mask_token else None
        self.drop_after_pos = nn.Dropout(drop_rate)
        self.interpolate_mode = interpolate_mode
        self.output_cls_token = output_cls_token and with_cls_token
        self.out_indices = self._checked_indices(out_indices)
        check_frozen_stages(frozen_stages, self.num_layers)

        layer_cfgs = one_each(layer_cfgs, self.num_layers, 'layer_cfgs')
        self.layers = nn.ModuleList()
        for rate, cfg in zip(rising_rates(drop_path_rate, self.num_layers), layer_cfgs):
            cfg = dict(
                dict(
                    embed_dims=self.embed_dims,
                    num_heads=self.arch_settings['num_heads'],
                    feedforward_channels=self.arch_settings['feedforward_channels'],
                    drop_rate=drop_rate,
                    drop_path_rate=rate,
                    window_size=self.patch_resolution if use_window else None,
                    qkv_bias=qkv_bias,
                    norm_cfg=norm_cfg,
                    init_values=init_values,
                    ffn=ffn,
                    drop_path_subset=drop_path_subset), **cfg)
            check_arguments(TransformerEncoderLayer, cfg)
            self.layers.append(TransformerEncoderLayer(**cfg))
        self.final_norm = final_norm
        if final_norm:
            self.ln1 = build_norm_layer(norm_cfg, self.embed_dims)[1]
        self.with_cp = with_cp
        self.use_window = use_window
        self.frozen_stages = frozen_stages
        if stop_grad_conv1:
            self.patch_embed.requires_grad_(False)
        self._freeze_stages()

    def _settings(self, arch):
        if isinstance(arch, str):
            if arch.lower() not in self.arch_zoo:
                raise ConfigError(f'{type(self).__name__} has no architecture {arch!r}; {nearest(arch, self.arch_zoo)}')
            return self.arch_zoo[arch.lower()]
        if set(arch) != set(self.arch_zoo['base']):
            raise ConfigError(
                f'an architecture is a name or a dict with {", ".join(self.arch_zoo["base"])}, got {arch}')
        return arch

    def _checked_indices(self, indices, name='out_indices'):
        indices = [indices] if isinstance(indices, int) else indices
        check_stages(indices, -self.num_layers, self.num_layers - 1, name, ' (-1 is the last layer)')
        return [i % self.num_layers for i in indices]

    @property
    def out_channels(self):
        """list[int]: Channels of the maps that are returned."""
        return [self.embed_dims] * len(self.out_indices)

    def init_weights(self):
        super().init_weights()
        if not (isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'):
            self.init_own_weights()
            if self.register_tokens is not None:
                nn.init.normal_(self.register_tokens, std=1e-6)

    def init_own_weights(self):
        """The initialisation of MoCo v3's published code; other transformers have their own."""
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.flatten(1))
        if self.patch_embed.projection.bias is not None:
            nn.init.zeros_(self.patch_embed.projection.bias)
        init_linears(self.layers, nn.init.xavier_uniform_)
        for layer in self.layers:
            for part in layer.attn.qkv.weight.chunk(3):  # queries, keys and values are three maps
                nn.init.xavier_uniform_(part)

    def positions(self, grid):
        """Position embeddings for a grid (rows, columns) of patches, the class token's first; 1 x (L + 1) x D.

        They are zeros where the positions are rotary.
        """
        if self.pos_embed is None:
            return self.patch_embed.projection.weight.new_zeros(1,
                                                                math.prod(grid) + self.num_extra_positions,
                                                                self.embed_dims)
        if self.use_window and grid != self.patch_resolution:
            raise ConfigError(f'the relative position bias is one of {self.patch_resolution} patches, the images have '
                              f'{grid}: set img_size to the size of the images')
        return resize_pos_embed(self.pos_embed, self.patch_resolution, grid, self.interpolate_mode,
                                self.num_extra_positions)

    def waves(self, grid, tokens, visible=None):
        """Rotary positions of tokens, B x N x D, for a grid of patches; None where there are none. See embed."""
        if self.rope is None:
            return None
        return self.rope(grid, tokens.device, self.num_extra_tokens, visible)

    def encode(self, tokens, waves=None):
        """All layers and the final norm; B x N x D. For `waves` see there."""
        tokens = run_layers(self.layers, tokens, self.with_cp, waves)
        return self.ln1(tokens) if self.final_norm else tokens

    def embed(self, img, mask=None, visible=None):
        """Images to tokens with their positions.

        Args:
            img (Tensor): B x C x H x W.
            mask (Tensor, optional): B x h x w or B x L, true where the mask token takes the place of a patch.
            visible (Tensor, optional): The patches of each image that the network sees, int64, B x K in any order; the
                others are not even embedded.

        Returns:
            tuple: Class token and registers, E of them, in front of the patches, B x (E + L) x D, or B x (E + K) x D;
            and the grid of patches.

        Raises:
            ConfigError: A mask of other patches, a mask without a mask token, or a mask and visible patches; or visible
                patches with use_window=True.
        """
        if mask is not None and (self.mask_token is None or visible is not None):
            raise ConfigError('a mask needs with_mask_token=True of the backbone' if visible is
                              None else 'patches are masked or left out, give one of mask and visible')
        if visible is not None and self.use_window:
            raise ConfigError('the relative position bias (use_window=True) is one of all patches, and here some are '
                              'left out: set use_window=False')
        if visible is None:
            tokens, grid = self.patch_embed(img)
        else:
            size = self.patch_embed.patch_size
            grid, patches = patch_grid(*img.shape[-2:], size), patchify(img, size)
            tokens = self.patch_embed.project(patches.gather(1, visible[..., None].expand(-1, -1, patches.shape[2])))
        if mask is not None:
            tokens = replace_masked(tokens, mask, self.mask_token, grid)
        positions = self.positions(grid)
        of_patches = positions[:, self.num_extra_positions:]
        tokens = tokens + (of_patches if visible is None else of_patches[0][visible])
        first = () if self.cls_token is None else (self.cls_token + positions[:, :1], )
        if self.register_tokens is not None:
            first += (self.register_tokens, )
        # not len(), which an exported network would take for a constant
        tokens = torch.cat((*(token.expand(tokens.shape[0], -1, -1) for token in first), tokens), 1)
        return self.drop_after_pos(tokens), grid

    def tokens(self, img, mask=None, visible=None):
        """All tokens behind the last layer and the final norm, B x (E + L) x D or B x (E + K) x D; see embed."""
        tokens, grid = self.embed(img, mask, visible)
        return self.encode(tokens, self.waves(grid, tokens, visible))

    def extract_feat(self, img, mask=None):
        """Images, and maybe a mask, to a tuple of (map B x D x h x w, class token B x D), or maps, by out_indices.

        See embed for the arguments.
        """
        x, grid = self.embed(img, mask)
        outs, waves = {}, self.waves(grid, x)
        for i, layer in enumerate(self.layers[:max(self.out_indices) + 1]):
            x = run_layers((layer, ), x, self.with_cp, waves)
            if i in self.out_indices:
                out = self.ln1(x) if self.final_norm and i == self.num_layers - 1 else x
                maps = out[:, self.num_extra_tokens:].transpose(1, 2).unflatten(2, grid)
                outs[i] = (maps, out[:, 0]) if self.output_cls_token else maps
        return tuple(outs[i] for i in self.out_indices)

    def forward(self, x, mask=None):
        """See extract_feat."""
        return self.extract_feat(x, mask)

    def attention_maps(self, img, layer=-1):
        """The attention in a layer, to be looked at.

        Args:
            img (Tensor): Images, B x C x H x W.
            layer (int): The layer, from 0, or from -1 backwards.

        Returns:
            tuple: Softmax weights, B x heads x (E + L) x (E + L), the class token first if there is one, then the
            registers (E is `num_extra_tokens`); and the grid of patches.
        """
        layer, = self._checked_indices(layer, 'layer')
        x, grid = self.embed(img)
        waves = self.waves(grid, x)
        x = run_layers(self.layers[:layer], x, waves=waves)
        return self.layers[layer].attn.attention_maps(self.layers[layer].ln1(x), waves), grid

    def _freeze_stages(self):
        if self.frozen_stages < 0:
            return
        parts = [self.patch_embed, self.drop_after_pos, *self.layers[:self.frozen_stages]]
        if self.frozen_stages >= self.num_layers and self.final_norm:
            parts.append(self.ln1)
        for part in parts:
            part.eval().requires_grad_(False)
        for token in (self.cls_token, self.register_tokens, self.mask_token, self.pos_embed):
            if token is not None:
                token.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()
        return self

    def _load_from_state_dict(self, state_dict, prefix, *args):
        key = prefix + 'pos_embed'
        found = state_dict.get(key)
        if self.pos_embed is not None and found is not None and found.dim() == 3 and \
                found.shape[1] != self.pos_embed.shape[1]:
            side = math.isqrt(found.shape[1] - self.num_extra_positions)
            if side**2 == found.shape[1] - self.num_extra_positions and found.shape[2] == self.embed_dims:
                state_dict[key] = resize_pos_embed(found, (side, side), self.patch_resolution, self.interpolate_mode,
                                                   self.num_extra_positions)
        super()._load_from_state_dict(state_dict, prefix, *args)
