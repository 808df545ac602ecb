# Copyright (c) mmssl contributors. All rights reserved.
"""RegNet <https://arxiv.org/abs/2003.13678> of any parameters, as SEER <https://arxiv.org/abs/2103.01988> trains it."""
import math
from functools import partial

from torch import nn

from mmssl.utils.errors import ConfigError, nearest
from ..builder import BACKBONES
from ..utils.norm import convert_batch_norms
from ..utils.recompute import recompute
from .wrappers import TIMMNetwork


def _arch(depth, w_0, w_a, w_m, group_width):
    return dict(depth=depth, w_0=w_0, w_a=w_a, w_m=w_m, group_width=group_width)


def _why_not(arch):
    """Which of a RegNet's parameters are impossible, or how many stages they make (str, '' where it is neither)."""
    first, slope, factor = arch['w_0'], arch['w_a'], arch['w_m']
    if first <= 0 or first % 8 or slope < 0 or factor <= 1:
        return '; w_0 must be a multiple of 8, w_a 0 or more, and w_m above 1'
    exponents = [round(math.log(1 + slope * block / first) / math.log(factor)) for block in range(arch['depth'])]
    widths = sorted({round(first * factor**exponent / 8) * 8 for exponent in exponents})
    return f'; they make {len(widths)}, of widths {widths}' if len(widths) != 4 else ''


@BACKBONES.register_module()
class RegNet(TIMMNetwork):
    """RegNetX and RegNetY. The network is timm's, and so are the names of its weights.

    Block j of `depth` would like to be w_0 + w_a * j channels wide; widths are rounded to w_0 * w_m^k for a whole k and
    to multiples of 8, blocks of one width are a stage, and its width is rounded to a multiple of the group width.

    Args:
        arch (str | dict): 'y-400mf', 'y-800mf', 'y-1.6gf', 'y-3.2gf', 'y-8gf', 'y-16gf', 'y-32gf', 'y-64gf', 'y-128gf',
            'y-256gf' (of VISSL), 'y-256gf-classy' (ClassyVision's network of this name) or 'y-10b'; or a dict with
            depth, w_0, w_a, w_m and group_width, that has four stages.
        se_ratio (float): Channels inside of squeeze-and-excitation, as a share of those that enter the block; 0 leaves
            it out, which is a RegNetX.
        in_channels (int): Channels of the image.
        stem_channels (int): Channels after the stem.
        out_indices (Sequence[int | str]): Maps to return, in this order: 0 is the stem, 1 to 4 the stages ('stem', 's1'
            to 's4'). Those behind the last of them are not run.
        norm_cfg (dict, optional): Kind of batch norm: dict(type='SyncBN') or SplitBN; by default PyTorch's.
        drop_path_rate (float): Probability that a sample skips the last block; it rises linearly from 0.
        zero_init_residual (bool): Start with blocks that pass their input on: the last norm of each begins at 0.
        with_cp (bool): Save memory by recomputing the blocks in the backward pass.
        init_cfg (dict, optional): Initialisation after that of the paper's code, which is normal weights of variance
            2 / (kernel area * output channels).

    Raises:
        ConfigError: An unknown architecture, one that has not four stages, or a share out of range.
    """
    arch_zoo = {
        'y-400mf': _arch(16, 48, 27.89, 2.09, 8),
        'y-800mf': _arch(14, 56, 38.84, 2.4, 16),
        'y-1.6gf': _arch(27, 48, 20.71, 2.65, 24),
        'y-3.2gf': _arch(21, 80, 42.63, 2.66, 24),
        'y-8gf': _arch(17, 192, 76.82, 2.19, 56),
        'y-16gf': _arch(18, 200, 106.23, 2.48, 112),
        'y-32gf': _arch(20, 232, 115.89, 2.53, 232),
        'y-64gf': _arch(20, 352, 147.48, 2.4, 328),
        'y-128gf': _arch(27, 456, 160.83, 2.52, 264),
        'y-256gf': _arch(27, 640, 230.83, 2.53, 373),
        'y-256gf-classy': _arch(27, 640, 124.47, 2.04, 848),
        'y-10b': _arch(27, 1744, 620.83, 2.52, 1010),
    }

    def __init__(self,
                 arch='y-400mf',
                 se_ratio=0.25,
                 in_channels=3,
                 stem_channels=32,
                 out_indices=(4, ),
                 norm_cfg=None,
                 drop_path_rate=0.,
                 zero_init_residual=False,
                 with_cp=False,
                 init_cfg=None):
        from timm.models.regnet import RegNet as Network
        from timm.models.regnet import RegNetCfg
        super().__init__()
        self.init_cfg = init_cfg
        if not (se_ratio >= 0 and 0 <= drop_path_rate < 1):
            raise ConfigError('se_ratio must be 0 or more and drop_path_rate at least 0 and below 1, got '
                              f'{se_ratio!r} and {drop_path_rate!r}')
        arch = self.arch_of(arch)
        cfg = RegNetCfg(
            depth=arch['depth'],
            w0=arch['w_0'],
            wa=arch['w_a'],
            wm=arch['w_m'],
            group_size=arch['group_width'],
            se_ratio=se_ratio,
            stem_width=stem_channels)
        try:
            model = Network(
                cfg, in_channels, num_classes=0, global_pool='', drop_path_rate=drop_path_rate, zero_init_last=False)
        except (AssertionError, ValueError, ZeroDivisionError) as error:
            raise ConfigError(f'these parameters make no RegNet of four stages: {arch}{_why_not(arch)}') from error
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                outputs = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                nn.init.normal_(module.weight, std=(2 / outputs)**0.5)
            elif zero_init_residual and hasattr(module, 'zero_init_last'):
                module.zero_init_last()
        if norm_cfg is not None:
            model = convert_batch_norms(model, norm_cfg)
        self.with_cp = with_cp
        for block in [b for stage in (model.s1, model.s2, model.s3, model.s4) for b in stage.children()] * with_cp:
            block.forward = partial(recompute, block, block.forward)  # timm's switch counts batches twice in norms
        self.wrap(model, in_channels, out_indices)

    @classmethod
    def arch_of(cls, arch):
        """An architecture, a name or a dict, as a dict of its parameters."""
        if isinstance(arch, str):
            if arch.lower() not in cls.arch_zoo:
                raise ConfigError(f'RegNet has no architecture {arch!r}; {nearest(arch, cls.arch_zoo)}')
            return cls.arch_zoo[arch.lower()]
        if set(arch) != set(cls.arch_zoo['y-400mf']):
            raise ConfigError(
                f'an architecture is a name or a dict with {", ".join(cls.arch_zoo["y-400mf"])}, got {arch}')
        return dict(arch)

    @staticmethod
    def stages_of(depth, w_0, w_a, w_m, group_width):
        """Width, group width and number of blocks of each stage, as a list of tuples."""
        widths = []
        for j in range(depth):
            power = round(math.log((w_0 + w_a * j) / w_0) / math.log(w_m))
            widths.append(8 * round(w_0 * w_m**power / 8))
        found = []
        for width in dict.fromkeys(widths):
            group = min(group_width, width)
            found.append((round(width / group) * group, group, widths.count(width)))
        return found
