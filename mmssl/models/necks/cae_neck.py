# Copyright (c) mmssl contributors. All rights reserved.
"""The latent regressor and the decoder of CAE."""
import torch
from mmcv.cnn import build_norm_layer
from mmcv.runner import BaseModule
from torch import nn

from ..builder import NECKS
from ..utils.transformer_blocks import CAETransformerRegressorLayer, TransformerEncoderLayer, init_linears, rising_rates


@NECKS.register_module()
class CAENeck(BaseModule):
    """What the Context Autoencoder <https://arxiv.org/abs/2202.03026> has behind its encoder.

    The regressor predicts the encoder's features of masked patches from those of visible ones, which it leaves as they
    are; the decoder makes scores of visual words from the prediction.

    Args:
        patch_size (int): Accepted for old configs.
        num_classes (int): Number of visual words.
        embed_dims (int): Dimension of the tokens, D.
        regressor_depth (int): Number of layers of the regressor.
        decoder_depth (int): Number of layers of the decoder.
        num_heads (int): Number of heads.
        mlp_ratio (int): Hidden dimension of the MLPs, over D.
        qkv_bias (bool): See MultiheadAttention and CrossMultiheadAttention.
        qk_scale (float, optional): Factor of the regressor's dot products.
        drop_rate (float): Probability that an output of a linear layer is dropped.
        attn_drop_rate (float): Probability that a weight of the attention is dropped.
        drop_path_rate (float): Probability that a sample skips the last layer of each; it rises linearly from 0.
        norm_cfg (dict): Norm.
        init_values (float, optional): See TransformerEncoderLayer.
        mask_tokens_num (int): Number of masked patches, M.
        init_cfg (dict, optional): Initialisation.
    """
    rebuilds = True  # what it gives are no features

    def __init__(self,
                 patch_size=16,
                 num_classes=8192,
                 embed_dims=768,
                 regressor_depth=6,
                 decoder_depth=8,
                 num_heads=12,
                 mlp_ratio=4,
                 qkv_bias=True,
                 qk_scale=None,
                 drop_rate=0.,
                 attn_drop_rate=0.,
                 drop_path_rate=0.,
                 norm_cfg=dict(type='LN', eps=1e-6),
                 init_values=None,
                 mask_tokens_num=75,
                 init_cfg=None):
        super().__init__(init_cfg)
        self.mask_token_num = mask_tokens_num
        args = dict(
            embed_dims=embed_dims,
            num_heads=num_heads,
            feedforward_channels=int(mlp_ratio * embed_dims),
            qkv_bias=qkv_bias,
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            norm_cfg=norm_cfg,
            init_values=init_values)
        self.regressors = nn.ModuleList(
            CAETransformerRegressorLayer(qk_scale=qk_scale, drop_path_rate=rate, **args)
            for rate in rising_rates(drop_path_rate, regressor_depth))
        self.decoders = nn.ModuleList(
            TransformerEncoderLayer(drop_path_rate=rate, **args)
            for rate in rising_rates(drop_path_rate, decoder_depth))
        self.norm_regressor = build_norm_layer(norm_cfg, embed_dims)[1]
        self.norm_decoder = build_norm_layer(norm_cfg, embed_dims)[1]
        self.head = nn.Linear(embed_dims, num_classes)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))

    def init_weights(self):
        super().init_weights()
        init_linears(self, nn.init.xavier_uniform_)
        nn.init.trunc_normal_(self.mask_token, std=.02)
        nn.init.trunc_normal_(self.head.weight, std=.02)

    def forward(self, x_unmasked, pos_embed_masked, pos_embed_unmasked):
        """Predict features and visual words of the masked patches.

        Args:
            x_unmasked (Tensor): The encoder's features of the visible patches, B x K x D.
            pos_embed_masked (Tensor): Positions of the masked patches, B x M x D.
            pos_embed_unmasked (Tensor): Positions of the visible ones, B x K x D.

        Returns:
            tuple[Tensor, Tensor]: Scores, B x M x num_classes, and features, B x M x D.
        """
        x = self.mask_token.expand(len(x_unmasked), self.mask_token_num, -1).to(x_unmasked.dtype)
        positions = torch.cat((pos_embed_unmasked, pos_embed_masked), 1)
        for layer in self.regressors:
            x = layer(x, torch.cat((x_unmasked, x), 1), pos_embed_masked, positions)
        latent = self.norm_regressor(x)
        x = latent + pos_embed_masked
        for layer in self.decoders:
            x = layer(x)
        return self.head(self.norm_decoder(x)), latent
