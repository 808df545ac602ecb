"""MLPs of any depth, chains of necks, towers, and losses by the names of torch."""
import pytest
import torch
from torch import nn

from mmssl.models import LOSSES, ChainNeck, ConcatTowers, MLPNeck, NonLinearNeck, build_head, build_loss, build_neck
from mmssl.utils.errors import ConfigError


def plain(neck, options, width=8):
    """The layers of an MLPNeck as torch's own, with its weights."""
    layers, norm, dropout = [], options.get('norm_cfg'), options.get('dropout', 0)
    channels = options['channels']
    for i, out in enumerate(channels):
        last = i == len(channels) - 1
        layers.append(nn.Linear(width, out, bias=options.get('with_bias', True)))
        layers[-1].load_state_dict(getattr(neck, f'fc{i}').state_dict())
        if norm and (not last or options.get('with_last_norm')):
            layers.append(nn.LayerNorm(out) if norm['type'] == 'LN' else nn.BatchNorm1d(out, norm.get('eps', 1e-5)))
        if not last or options.get('with_last_act'):
            layers += [nn.GELU() if options.get('act') == 'GELU' else nn.ReLU(), nn.Dropout(dropout)]
        width = out
    return nn.Sequential(*layers)


@pytest.mark.parametrize('options', [
    dict(channels=[5]),
    dict(channels=[6, 4]),
    dict(channels=[6, 7, 4], norm_cfg=dict(type='BN', eps=1e-3)),
    dict(channels=[6, 4], norm_cfg=dict(type='BN'), with_bias=False, with_last_norm=True, with_last_act=True),
    dict(channels=[6, 4], norm_cfg=dict(type='LN'), act='GELU', dropout=0.3),
    dict(channels=[6, 4], with_last_act=True, dropout=0.5),
])
@pytest.mark.parametrize('shape', [(12, 8), (12, 8, 1, 1), (12, 8, 3, 2)])
def test_mlp_is_the_plain_sequence(options, shape):
    neck = MLPNeck(8, **options).double()
    reference = plain(neck, options).double()
    x = torch.randn(shape, dtype=torch.double, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    for mode in (True, False):
        neck.train(mode), reference.train(mode)
        torch.manual_seed(1)
        out, = neck((x, ))
        torch.manual_seed(1)
        expected = reference(y.flatten(1) if y.dim() == 2 else y.mean((2, 3)))
        torch.testing.assert_close(out, expected)
        weights = torch.randn_like(out)
        torch.testing.assert_close(
            torch.autograd.grad((out * weights).sum(), [x, *neck.parameters()]),
            torch.autograd.grad((expected * weights).sum(), [y, *reference.parameters()]))


def test_mlp_takes_weights_of_the_known_projector():
    """NonLinearNeck and MLPNeck have the same names, so that one takes the other's checkpoints."""
    known = NonLinearNeck(8, 6, 4, num_layers=3, with_last_bn=False, norm_cfg=dict(type='BN'))
    neck = MLPNeck(8, [6, 6, 4], norm_cfg=dict(type='BN'), with_bias=False)
    neck.load_state_dict(known.state_dict())
    maps = torch.randn(5, 8, 2, 2)
    torch.testing.assert_close(neck([maps]), known([maps]))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mlp_under_autocast(dtype):
    """Lengths are taken in float32: a sum of squares above 65504 is infinite in float16."""
    neck = MLPNeck(8, [16, 16], with_l2norm=True)
    with torch.no_grad():
        neck.fc1.weight.mul_(1000)
    maps = 20 * torch.randn(6, 8, 2, 2)
    expected, = neck((maps, ))
    with torch.autocast('cpu', dtype):
        out, = neck((maps, ))
    out.sum().backward()
    torch.testing.assert_close(out.norm(dim=1), torch.ones(6), rtol=1e-3, atol=0)
    torch.testing.assert_close(out, expected, rtol=0, atol=0.05)
    assert all(p.grad.isfinite().all() for p in neck.parameters())


def test_projectors_take_several_resolutions():
    neck = MLPNeck(8, [6, 4])
    large, small = torch.randn(4, 8, 3, 3), torch.randn(6, 8, 2, 2)
    torch.testing.assert_close(neck([(large, ), (small, )])[0], torch.cat([neck([large])[0], neck([small])[0]]))
    vit = MLPNeck(8, [4], vit_backbone=True)
    tokens = torch.randn(2, 3, 8)
    for maps in [((large[:3], tokens[0]), ), ((large, ), (large[:3], tokens[0]))]:  # of one stage, and of two
        torch.testing.assert_close(vit(maps)[0], vit.fc0(tokens[0]))
    torch.testing.assert_close(
        vit([((large[:3], tokens[0]), ), ((small[:3], tokens[1]), )])[0], vit.fc0(tokens.flatten(0, 1)))


def test_towers_keep_their_order():
    """The rows of Jigsaw: all patches of image 0, then those of image 1."""
    patches = torch.arange(24.).view(2, 3, 4)  # image, tower, channel
    joined, = ConcatTowers(3)((patches.flatten(0, 1), ))
    torch.testing.assert_close(joined, patches.flatten(1))
    with pytest.raises(ConfigError, match='num_towers=4 vectors of each image and gets 6'):
        ConcatTowers(4)((patches.flatten(0, 1), ))
    with pytest.raises(ConfigError, match='num_towers is an integer of at least 1, got 0'):
        build_neck(dict(type='ConcatTowers', num_towers=0))


def test_chain_of_pirl_and_jigsaw():
    """mlp > concatenation of nine towers > mlp: widths follow from the first."""
    chain = build_neck(
        dict(
            type='ChainNeck',
            in_channels=8,
            necks=[
                dict(type='MLPNeck', channels=[5], norm_cfg=dict(type='BN'), with_last_norm=True, with_last_act=True),
                dict(type='ConcatTowers', num_towers=9),
                dict(type='MLPNeck', channels=[4])
            ]))
    assert isinstance(chain, ChainNeck) and chain.out_channels == 4
    maps = torch.randn(18, 8, 2, 2)
    first, _, last = chain.necks
    per_patch = nn.functional.batch_norm(first.fc0(maps.mean((2, 3))), None, None, training=True).relu()
    torch.testing.assert_close(chain((maps, ))[0], last.fc0(per_patch.view(2, 45)))


def test_chain_knows_widths_of_other_necks():
    chain = ChainNeck([
        dict(type='NonLinearNeck', in_channels=8, hid_channels=6, out_channels=5),
        dict(type='LinearNeck', out_channels=3)
    ])
    assert chain.necks[1].fc.in_features == 5 and chain.out_channels == 3
    assert chain((torch.randn(4, 8, 2, 2), ))[0].shape == (4, 3)


def test_functions_in_a_chain():
    chain = build_neck(
        dict(
            type='ChainNeck',
            in_channels=8,
            necks=[
                dict(type='MLPNeck', channels=[5]),
                dict(type='Wrap', function='softmax', options=dict(dim=1)),
                dict(type='Wrap', function=torch.log),
                dict(type='MLPNeck', channels=[3])
            ]))
    x = torch.randn(4, 8)
    torch.testing.assert_close(chain([x])[0], chain.necks[3].fc0(chain.necks[0].fc0(x).log_softmax(1)))
    with pytest.raises(ConfigError, match="no 'softmacs'; did you mean 'softmax'"):
        build_neck(dict(type='Wrap', function='softmacs'))


def test_a_loss_of_a_user_goes_before_that_of_torch():
    """A class that somebody registered under a name of torch is the one that a config means."""

    class MSELoss(nn.Module):

        def forward(self, scores, labels):
            return scores.sum() * 0 + 7

    LOSSES.register_module(module=MSELoss)
    try:
        head = build_head(dict(type='ClsHead', in_channels=4, num_classes=3, loss=dict(type='MSELoss')))
        assert head.loss(head((torch.zeros(2, 4), )), torch.tensor([0, 1]))['loss'] == 7
    finally:
        LOSSES.module_dict.pop('MSELoss')
    assert isinstance(build_loss(dict(type='MSELoss')), nn.MSELoss)


@pytest.mark.parametrize('cfg, message', [
    (dict(type='MLPNeck', channels=[4]), 'nothing before it tells the width of its input; set in_channels'),
    (dict(type='MLPNeck', in_channels=8, channels=[]), r'widths of its layers, such as \[2048, 128\], got \[\]'),
    (dict(type='MLPNeck', in_channels=8, channels=[0, 4]), r'got \[0, 4\]'),
    (dict(type='MLPNeck', in_channels=8, channels=4), r'channels must be list\[int\], got 4'),
    (dict(type='MLPNeck', in_channels=8, with_last_norm=True), 'with_last_norm=True needs a norm_cfg'),
    (dict(type='MLPNeck', in_channels=8, dropout=1.), 'at least 0 and below 1, got 1.0'),
    (dict(type='MLPNeck', in_channels=8, act='Relu'), "unknown activation 'Relu'; did you mean 'ReLU'"),
    (dict(type='ChainNeck', necks=[]), 'one or more necks, got none'),
    (dict(
        type='ChainNeck',
        necks=[dict(type='MLPNeck', in_channels=8, channels=[4]),
               dict(type='MLPNeck', in_channels=5, channels=[3])
               ]), r'MLPNeck has in_channels=5, the part before it gives 4: .* set in_channels=4 \(at necks.1'),
])
def test_faulty_configs_are_named(cfg, message):
    with pytest.raises(ConfigError, match=message):
        build_neck(cfg)


def test_another_width_than_that_of_the_mlp():
    with pytest.raises(ConfigError, match='MLPNeck takes 8 channels and gets 6'):
        MLPNeck(8, [4])((torch.zeros(2, 6, 2, 2), ))


@pytest.mark.parametrize('cfg, target', [
    (dict(type='CrossEntropyLoss', ignore_index=-1, label_smoothing=0.1, weight=[1, 2, 0.5, 1]), [0, 3, -1, 1]),
    (dict(type='MultiMarginLoss', margin=0.5), [0, 3, 2, 1]),
    (dict(type='MSELoss'), None),
    (dict(type='BCEWithLogitsLoss', pos_weight=[1, 2, 3, 4], reduction='sum'), None),
])
def test_losses_of_torch_by_name(cfg, target):
    scores = torch.randn(4, 4)
    target = torch.rand(4, 4) if target is None else torch.tensor(target)
    arguments = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in cfg.items() if k != 'type'}
    expected = getattr(nn, cfg['type'])(**arguments)(scores, target)
    torch.testing.assert_close(build_loss(cfg)(scores, target), expected)


@pytest.mark.parametrize('cfg, message', [
    (dict(type='CrossEntropyLos'), "did you mean 'CrossEntropyLoss'"),
    (dict(type='CrossEntropyLoss', ignor_index=1), "takes no argument 'ignor_index'.*did you mean 'ignore_index'"),
    (dict(type='CrossEntropyLoss', weight=['1', '2'
                                           ]), r"weight of a loss is a number for each class, got \['1', '2'\]"),
    (dict(type='CrossEntropyLoss', weight=[1.], smoothing=.1), "takes no argument 'smoothing'"),
    (dict(type='Linear', in_features=2, out_features=2), "'Linear' is not a registered"),
])
def test_faulty_losses_are_named(cfg, message):
    with pytest.raises(ConfigError, match=message):
        build_loss(cfg)
