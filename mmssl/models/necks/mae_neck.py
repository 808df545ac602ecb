# Copyright (c) mmssl contributors. All rights reserved.
"""The decoder of MAE."""
import torch
from mmcv.cnn import build_norm_layer
from mmcv.runner import BaseModule
from torch import nn

from ..builder import NECKS
from ..utils.channels import check_channels
from ..utils.position_embedding import build_2d_sincos_position_embedding, resize_pos_embed
from ..utils.transformer_blocks import TransformerEncoderLayer, init_linears


@NECKS.register_module()
class MAEPretrainDecoder(BaseModule):
    """The decoder of Masked Autoencoders <https://arxiv.org/abs/2111.06377>: a light transformer on all patches.

    Args:
        num_patches (int | tuple[int]): Number of patches of a square image, or their rows and columns. Positions are
            interpolated for other grids.
        patch_size (int): Length of a patch's side in pixels.
        in_chans (int): Channels of the images.
        embed_dim (int): Dimension of the encoder's tokens.
        decoder_embed_dim (int): Dimension of the decoder's tokens.
        decoder_depth (int): Number of layers.
        decoder_num_heads (int): Number of heads.
        mlp_ratio (float): Hidden dimension of the MLPs, over decoder_embed_dim.
        norm_cfg (dict): Norm.
    """
    rebuilds = True  # what it gives are no features

    def __init__(self,
                 num_patches=196,
                 patch_size=16,
                 in_chans=3,
                 embed_dim=1024,
                 decoder_embed_dim=512,
                 decoder_depth=8,
                 decoder_num_heads=16,
                 mlp_ratio=4.,
                 norm_cfg=dict(type='LN', eps=1e-6)):
        super().__init__()
        self.grid = (int(num_patches**0.5), ) * 2 if isinstance(num_patches, int) else tuple(num_patches)
        self.decoder_embed = nn.Linear(embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_pos_embed = nn.Parameter(
            build_2d_sincos_position_embedding(self.grid, decoder_embed_dim, cls_token=True), requires_grad=False)
        self.decoder_blocks = nn.Sequential(*(TransformerEncoderLayer(
            decoder_embed_dim, decoder_num_heads, int(mlp_ratio * decoder_embed_dim), norm_cfg=norm_cfg)
                                              for _ in range(decoder_depth)))
        self.ln1 = build_norm_layer(norm_cfg, decoder_embed_dim)[1]
        self.decoder_pred = nn.Linear(decoder_embed_dim, patch_size**2 * in_chans)

    @property
    def decoder_norm(self):
        """The norm behind the last layer."""
        return self.ln1

    def init_weights(self):
        super().init_weights()
        init_linears(self, nn.init.xavier_uniform_)
        nn.init.normal_(self.mask_token, std=.02)

    def forward(self, x, ids_restore, grid=None):
        """Reconstruct all patches.

        Args:
            x (Tensor): Tokens of the visible patches behind the class token, B x (K + 1) x D.
            ids_restore (Tensor): For each patch, its place among the visible ones (below K) or the masked ones, B x L.
            grid (tuple[int], optional): Rows and columns of patches; by default those of `num_patches`.

        Returns:
            Tensor: Pixels of each patch, B x L x p*p*C.
        """
        check_channels(x.flatten(0, 1), self.decoder_embed.in_features, self)
        x = self.decoder_embed(x)
        batch, length = ids_restore.shape
        masked = self.mask_token.to(x.dtype).expand(batch, length + 1 - x.shape[1], -1)
        patches = torch.cat((x[:, 1:], masked), 1)  # in the order of the masking
        patches = patches.gather(1, ids_restore[..., None].expand(-1, -1, x.shape[2]))
        positions = resize_pos_embed(self.decoder_pos_embed, self.grid, grid or self.grid)
        x = torch.cat((x[:, :1], patches), 1) + positions
        x = self.ln1(self.decoder_blocks(x))
        return self.decoder_pred(x[:, 1:])
