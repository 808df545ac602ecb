# Copyright (c) mmssl contributors. All rights reserved.
"""Blocks of vision transformers <https://arxiv.org/abs/2010.11929>, with the names of mmcls's parameters."""
import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmcv.runner import BaseModule
from torch import nn
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError
from .recompute import recompute
from .rope import turn

# whether products of matrices in half precision are fast on this CPU
FAST_PRODUCTS = torch.backends.cpu.get_cpu_capability() == 'AVX512'
MANY_TOKENS = 1024  # up to which attention keeps its weights for the backward pass in half precision on CPUs
SMALL_RATE = 0.1  # up to which drop_path_subset would save too little


def run_layers(layers, x, with_cp=False, waves=None):
    """Layers one after another; with `with_cp`, their insides are computed again in the backward pass. For `waves` see
    MultiheadAttention."""
    args = () if waves is None else (waves, )
    for layer in layers:
        x = recompute(layer, layer, x, *args) if with_cp else layer(x, *args)
    return x


def rising_rates(last, count):
    """One rate for each of `count` layers, linearly from 0 to `last`; for dropped paths.

    Raises:
        ConfigError: `last` is not from 0 to below 1.
    """
    if not 0 <= last < 1:
        raise ConfigError(f'drop_path_rate is a probability from 0 to below 1, got {last!r}')
    return [last * i / max(1, count - 1) for i in range(count)]


def one_each(cfgs, count, name):
    """Arguments of each of `count` layers, of one dict for all or one for each.

    Raises:
        ConfigError: They are for another number of layers.
    """
    cfgs = [cfgs] * count if isinstance(cfgs, dict) else list(cfgs)
    if len(cfgs) != count:
        raise ConfigError(f'{name} is one dict for all {count}, or a list of {count}, got {len(cfgs)}')
    return cfgs


def init_linears(module, init):
    """Initialise the weights of all linear layers in a module by `init(weight)`, and their biases with zeros."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            init(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_by_depth(layers, init):
    """As init_linears, with what ends a branch of the n-th layer divided by the root of 2n.

    So the sum of all branches, of which a network of n layers has 2n, begins no larger than one of them (BEiT,
    https://arxiv.org/abs/2106.08254, section 2.5).

    Args:
        layers (Sequence[TransformerEncoderLayer]): From the first on.
        init (callable): Initialises a weight.
    """
    init_linears(layers, init)
    with torch.no_grad():
        for number, layer in enumerate(layers, 1):
            last = [module for module in layer.ffn.modules() if isinstance(module, nn.Linear)][-1]
            for weight in (layer.attn.proj.weight, last.weight):
                weight.div_((2 * number)**0.5)


def split_heads(x, num_heads):
    """B x N x D to B x heads x N x D/heads."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def head_dim(embed_dims, num_heads):
    """Dimension of a head.

    Raises:
        ConfigError: The heads do not share the dimensions evenly.
    """
    if embed_dims % num_heads:
        raise ConfigError(f'embed_dims={embed_dims} is no multiple of num_heads={num_heads}')
    return embed_dims // num_heads


def attend(q, k, v, bias=None, drop=0., scale=None):
    """Attention, by torch's scaled_dot_product_attention where that is the fastest way.

    Its backward pass on CPUs takes, in half precision, twice (500 tokens) to five times (50 tokens) as long as products
    of matrices do, where the CPU has AVX-512; without, it is the faster one. The products keep the weights in memory,
    so they are for moderate numbers of tokens.

    Args:
        q (Tensor): Queries, B x heads x N x d.
        k (Tensor): Keys, B x heads x M x d.
        v (Tensor): Values, B x heads x M x d.
        bias (Tensor, optional): Added to the dot products, heads x N x M.
        drop (float): Probability that a weight is dropped.
        scale (float, optional): Factor of the dot products; by default the root of 1 / d.

    Returns:
        Tensor: B x heads x N x d.
    """
    half = q.device.type == 'cpu' and q.dtype in (torch.float16, torch.bfloat16)
    if not (half and FAST_PRODUCTS and k.shape[2] <= MANY_TOKENS and q.requires_grad and bias is None and not drop):
        return F.scaled_dot_product_attention(q, k, v, bias, drop, scale=scale)
    return (q * (scale or q.shape[3]**-0.5) @ k.transpose(2, 3)).softmax(3).to(v.dtype) @ v


def relative_position_index(rows, columns):
    """Index of the offset between two positions of a grid into a table of (2 rows - 1) * (2 columns - 1) offsets.

    Returns:
        Tensor: rows * columns x rows * columns, int64.
    """
    row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij'))
    down, right = row[:, None] - row + rows - 1, column[:, None] - column + columns - 1  # from 0
    return down * (2 * columns - 1) + right


class MultiheadAttention(BaseModule):
    """Self-attention; see attend.

    Args:
        embed_dims (int): Dimension of the tokens that leave, D.
        num_heads (int): Number of heads.
        input_dims (int, optional): Dimension of the tokens that come in; by default D.
        attn_drop (float): Probability that a weight of the attention is dropped.
        proj_drop (float): Probability that an output is dropped.
        qkv_bias (bool): Bias of queries, keys and values in one, `qkv.bias`; without it only queries and values have
            one, `q_bias` and `v_bias`, as in BEiT and CAE. (A bias of keys changes no softmax.)
        qk_scale (float, optional): Factor of the dot products; by default the root of 1 / dimension of a head.
        proj_bias (bool): Bias of the output.
        init_cfg (dict, optional): Initialisation.
    """

    def __init__(self,
                 embed_dims,
                 num_heads,
                 input_dims=None,
                 attn_drop=0.,
                 proj_drop=0.,
                 qkv_bias=True,
                 qk_scale=None,
                 proj_bias=True,
                 init_cfg=None):
        super().__init__(init_cfg)
        head_dim(embed_dims, num_heads)
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        self.scale = qk_scale
        self.qkv = nn.Linear(input_dims or embed_dims, 3 * embed_dims, bias=qkv_bias)
        if not qkv_bias:
            self.q_bias = nn.Parameter(torch.zeros(embed_dims))
            self.v_bias = nn.Parameter(torch.zeros(embed_dims))
        self.proj = nn.Linear(embed_dims, embed_dims, bias=proj_bias)
        self.proj_drop = nn.Dropout(proj_drop)

    def project(self, x, waves=None):
        """Tokens, B x N x D, to queries, keys and values, each B x heads x N x D/heads."""
        bias = self.qkv.bias
        if bias is None:
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        return (q, k, v) if waves is None else (turn(q, waves), turn(k, waves), v)

    def bias(self):
        """What is added to the dot products before the softmax, heads x N x N; None for nothing."""
        return None

    def forward(self, x, waves=None):
        """Tokens, B x N x D, to tokens of the same shape.

        Args:
            x (Tensor): The tokens.
            waves (tuple[Tensor], optional): Rotary positions of the tokens; see RotaryPositions.
        """
        q, k, v = self.project(x, waves)
        drop = self.attn_drop if self.training else 0.
        x = attend(q, k, v, self.bias(), drop, self.scale)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))

    def attention_maps(self, x, waves=None):
        """The softmax weights for tokens B x N x D, B x heads x N x N; to be looked at, not used in training."""
        q, k, _ = self.project(x, waves)
        scores = q @ k.transpose(2, 3) * (self.scale or q.shape[-1]**-0.5)
        bias = self.bias()
        return (scores if bias is None else scores + bias).softmax(-1)


class MultiheadAttentionWithRPE(MultiheadAttention):
    """Self-attention with a learned bias for each offset between two patches, as in BEiT and CAE.

    The class token has three entries of its own in the table: from it, to it, and to itself. There is no bias of keys,
    whatever `qkv_bias` says, so that the weights of a CAE load (MMSelfSup left all biases out with `qkv_bias=False`).

    Args:
        window_size (tuple[int]): Rows and columns of patches.
        others: See MultiheadAttention.
    """

    def __init__(self,
                 embed_dims,
                 num_heads,
                 window_size,
                 input_dims=None,
                 attn_drop=0,
                 proj_drop=0,
                 qkv_bias=True,
                 qk_scale=None,
                 proj_bias=True,
                 init_cfg=None):
        super().__init__(embed_dims, num_heads, input_dims, attn_drop, proj_drop, False, qk_scale, proj_bias, init_cfg)
        rows, columns = self.window_size = tuple(window_size)
        offsets = (2 * rows - 1) * (2 * columns - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets + 3, num_heads))
        index = F.pad(relative_position_index(rows, columns), (1, 0, 1, 0))
        index[0, :], index[:, 0], index[0, 0] = offsets, offsets + 1, offsets + 2
        self.register_buffer('relative_position_index', index)

    def bias(self):
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)


class FFN(nn.Module):
    """Linear layers with an activation between them.

    Args:
        embed_dims (int): Dimension of the tokens.
        feedforward_channels (int): Hidden dimension.
        num_fcs (int): Number of linear layers, at least 2.
        act_cfg (dict): Activation.
        ffn_drop (float): Probability that an output of a layer is dropped.
    """

    def __init__(self, embed_dims, feedforward_channels, num_fcs=2, act_cfg=dict(type='GELU'), ffn_drop=0.):
        super().__init__()
        layers, channels = [], embed_dims
        for _ in range(num_fcs - 1):
            layers.append(
                nn.Sequential(
                    nn.Linear(channels, feedforward_channels), build_activation_layer(act_cfg), nn.Dropout(ffn_drop)))
            channels = feedforward_channels
        self.layers = nn.Sequential(*layers, nn.Linear(channels, embed_dims), nn.Dropout(ffn_drop))

    def forward(self, x):
        return self.layers(x)


class SwiGLUFFN(nn.Module):
    """Two linear maps, one of which is the gate of the other, and one back <https://arxiv.org/abs/2002.05202>.

    As in DINOv2's largest network, the hidden dimension is two thirds of that of an MLP, rounded up to a multiple of 8,
    so that both have about as many parameters. The two maps are one layer, `w12`, whose first half is the gate.

    Args:
        embed_dims (int): Dimension of the tokens.
        feedforward_channels (int): Hidden dimension of the MLP in whose place this stands.
        ffn_drop (float): Probability that an output of a layer is dropped.
    """

    def __init__(self, embed_dims, feedforward_channels, ffn_drop=0.):
        super().__init__()
        hidden = -(-(feedforward_channels * 2 // 3) // 8) * 8
        self.w12 = nn.Linear(embed_dims, 2 * hidden)
        self.w3 = nn.Linear(hidden, embed_dims)
        self.drop = nn.Dropout(ffn_drop)

    def forward(self, x):
        gate, value = self.w12(x).chunk(2, -1)
        return self.drop(self.w3(self.drop(F.silu(gate) * value)))


class TransformerEncoderLayer(BaseModule):
    """Attention and MLP, each behind a norm and beside a shortcut.

    Args:
        embed_dims (int): Dimension of the tokens.
        num_heads (int): Number of heads.
        feedforward_channels (int): Hidden dimension of the MLP.
        window_size (tuple[int], optional): Rows and columns of patches; gives the attention a relative position bias.
        drop_rate (float): Probability that an output of a linear layer is dropped.
        attn_drop_rate (float): Probability that a weight of the attention is dropped.
        drop_path_rate (float): Probability that a sample takes the shortcut alone.
        drop_path_subset (bool): Compute the branches for those samples alone that do not take the shortcut alone, which
            saves their time and memory (DINOv2, https://arxiv.org/abs/2304.07193, section 5). The number of these is
            then no random one. Rates up to 0.1 would save little and are dropped as without it.
        num_fcs (int): Number of linear layers of the MLP.
        qkv_bias (bool): See MultiheadAttention.
        act_cfg (dict): Activation of the MLP.
        norm_cfg (dict): Norm.
        init_values (float, optional): Initial factors of both branches, learned a channel (LayerScale); 0 or None for
            no such factors.
        ffn (str): 'mlp', or 'swiglu' for a SwiGLUFFN in its place.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: Another `ffn`, or arguments that a SwiGLUFFN does not have.
    """

    def __init__(self,
                 embed_dims,
                 num_heads,
                 feedforward_channels,
                 window_size=None,
                 drop_rate=0.,
                 attn_drop_rate=0.,
                 drop_path_rate=0.,
                 num_fcs=2,
                 qkv_bias=True,
                 act_cfg=dict(type='GELU'),
                 norm_cfg=dict(type='LN'),
                 init_values=0.,
                 init_cfg=None,
                 ffn='mlp',
                 drop_path_subset=False):
        super().__init__(init_cfg)
        if ffn not in ('mlp', 'swiglu'):
            raise ConfigError(f"ffn is 'mlp' or 'swiglu', got {ffn!r}")
        if ffn == 'swiglu' and (num_fcs != 2 or act_cfg != dict(type='GELU')):
            raise ConfigError("ffn='swiglu' has two layers and an activation of its own: leave num_fcs and act_cfg out")
        self.ln1 = build_norm_layer(norm_cfg, embed_dims)[1]
        args = dict(attn_drop=attn_drop_rate, proj_drop=drop_rate, qkv_bias=qkv_bias)
        if window_size is None:
            self.attn = MultiheadAttention(embed_dims, num_heads, **args)
        else:
            self.attn = MultiheadAttentionWithRPE(embed_dims, num_heads, window_size, **args)
        self.ln2 = build_norm_layer(norm_cfg, embed_dims)[1]
        if ffn == 'mlp':
            self.ffn = FFN(embed_dims, feedforward_channels, num_fcs, act_cfg, drop_rate)
        else:
            self.ffn = SwiGLUFFN(embed_dims, feedforward_channels, drop_rate)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()
        self.drop_path_subset = drop_path_subset
        self.gamma_1 = self.gamma_2 = None
        if init_values:
            self.gamma_1 = nn.Parameter(torch.full((embed_dims, ), float(init_values)))
            self.gamma_2 = nn.Parameter(torch.full((embed_dims, ), float(init_values)))

    def forward(self, x, waves=None):
        """Tokens, B x N x D, to tokens of the same shape; for `waves` see MultiheadAttention."""
        args = () if waves is None else waves
        x = self.add_branch(x, lambda x, *waves: _scaled(self.attn(self.ln1(x), waves or None), self.gamma_1), *args)
        return self.add_branch(x, lambda x: _scaled(self.ffn(self.ln2(x)), self.gamma_2))

    def add_branch(self, x, branch, *args):
        """x + branch(x, *args), in training without the branch for some samples; `args` are one for each or for all."""
        rate = getattr(self.drop_path, 'drop_prob', 0.) if self.training and self.drop_path_subset else 0.
        if rate <= SMALL_RATE:
            return x + self.drop_path(branch(x, *args))
        kept = max(1, int(len(x) * (1 - rate)))
        rows = torch.randperm(len(x), device=x.device)[:kept]
        args = [arg if len(arg) == 1 else arg[rows] for arg in args]
        return x.index_add(0, rows, branch(x[rows], *args).to(x.dtype), alpha=len(x) / kept)


def _scaled(x, gamma):
    return x if gamma is None else x * gamma


class CrossMultiheadAttention(BaseModule):
    """Attention of queries to other tokens.

    Args:
        embed_dims (int): Dimension of the tokens, D.
        num_heads (int): Number of heads.
        qkv_bias (bool): Bias of queries and values.
        qk_scale (float, optional): Factor of the dot products; by default the root of 1 / dimension of a head.
        attn_drop (float): Probability that a weight of the attention is dropped.
        proj_drop (float): Probability that an output is dropped.
    """

    def __init__(self, embed_dims, num_heads=8, qkv_bias=False, qk_scale=None, attn_drop=0., proj_drop=0.):
        super().__init__()
        head_dim(embed_dims, num_heads)
        self.num_heads = num_heads
        self.scale = qk_scale
        self.attn_drop = attn_drop
        self.q, self.k, self.v = (nn.Linear(embed_dims, embed_dims, bias=False) for _ in range(3))
        self.q_bias = nn.Parameter(torch.zeros(embed_dims)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(embed_dims)) if qkv_bias else None
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x, k, v):
        """Queries (B x N x D), keys and values (B x M x D each), all before their projection, to B x N x D."""
        q = F.linear(x, self.q.weight, self.q_bias)
        v = F.linear(v, self.v.weight, self.v_bias)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, self.k(k), v))
        drop = self.attn_drop if self.training else 0.
        x = attend(q, k, v, None, drop, self.scale)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))


class CAETransformerRegressorLayer(BaseModule):
    """A layer of CAE's regressor <https://arxiv.org/abs/2202.03026>: masked tokens ask all tokens.

    As in the published code, the second norm is on the trunk itself and not on a branch of it.

    Args: see TransformerEncoderLayer. Without `init_values` both branches have the factor 1.
    """

    def __init__(self,
                 embed_dims,
                 num_heads,
                 feedforward_channels,
                 num_fcs=2,
                 qkv_bias=False,
                 qk_scale=None,
                 drop_rate=0.,
                 attn_drop_rate=0.,
                 drop_path_rate=0.,
                 init_values=0.,
                 act_cfg=dict(type='GELU'),
                 norm_cfg=dict(type='LN', eps=1e-6)):
        super().__init__()
        for name in ('norm1_q_cross', 'norm1_k_cross', 'norm1_v_cross', 'norm2_cross'):
            self.add_module(name, build_norm_layer(norm_cfg, embed_dims)[1])
        self.cross_attn = CrossMultiheadAttention(embed_dims, num_heads, qkv_bias, qk_scale, attn_drop_rate, drop_rate)
        self.ffn = FFN(embed_dims, feedforward_channels, num_fcs, act_cfg, drop_rate)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()
        learned = bool(init_values)
        gammas = torch.full((2, embed_dims), float(init_values) if learned else 1.)
        self.gamma_1_cross, self.gamma_2_cross = (nn.Parameter(g.clone(), requires_grad=learned) for g in gammas)

    def forward(self, x_q, x_kv, pos_q, pos_k):
        """Masked tokens (B x N x D), all tokens (B x M x D) and the positions of both to B x N x D."""
        asked = self.cross_attn(
            self.norm1_q_cross(x_q + pos_q), self.norm1_k_cross(x_kv + pos_k), self.norm1_v_cross(x_kv))
        x = self.norm2_cross(x_q + self.drop_path(self.gamma_1_cross * asked))
        return x + self.drop_path(self.gamma_2_cross * self.ffn(x))
