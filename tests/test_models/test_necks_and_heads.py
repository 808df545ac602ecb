"""Necks, classification heads, pooling, Sobel, the queue and the moving average."""
import pytest
import torch
from torch import nn

from mmssl.models import (AvgPool2dNeck, LinearNeck, MoCoV2Neck, MomentumEncoder, MultiClsHead, MultiPooling,
                          NonLinearNeck, Sobel, build_head, build_neck, ema_update, enqueue, new_queue)
from mmssl.utils.errors import ConfigError


def test_neck_layouts_are_the_known_ones():
    """Checkpoints of MMSelfSup load: fc, mlp.0/2, fc<i> and bn<i>."""
    bn = ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    assert list(LinearNeck(8, 4).state_dict()) == ['fc.weight', 'fc.bias']
    assert list(MoCoV2Neck(8, 6, 4).state_dict()) == ['mlp.0.weight', 'mlp.0.bias', 'mlp.2.weight', 'mlp.2.bias']
    assert list(NonLinearNeck(
        8, 6, 4).state_dict()) == ['fc0.weight', *(f'bn0.{k}' for k in bn), 'fc1.weight', *(f'bn1.{k}' for k in bn)]
    neck = NonLinearNeck(8, 6, 4, num_layers=3, with_bias=True, with_last_bn=False, with_last_bias=True)
    assert [k for k in neck.state_dict() if 'bn' not in k or k.endswith('weight')] == [
        'fc0.weight', 'fc0.bias', 'bn0.weight', 'fc1.weight', 'fc1.bias', 'bn1.weight', 'fc2.weight', 'fc2.bias'
    ]
    assert NonLinearNeck(8, 6, 4, with_last_bn_affine=False).bn1.weight is None


def test_nonlinear_neck():
    maps = torch.randn(6, 8, 3, 3)
    neck = NonLinearNeck(8, 10, 4, num_layers=3, norm_cfg=dict(type='BN'))
    reference = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), neck.fc0, nn.BatchNorm1d(10), nn.ReLU(), neck.fc1, nn.BatchNorm1d(10),
        nn.ReLU(), neck.fc2, nn.BatchNorm1d(4))
    torch.testing.assert_close(neck((maps, ))[0], reference(maps))
    assert all(fc.bias is None for fc in (neck.fc0, neck.fc1, neck.fc2))


def test_other_necks():
    maps = torch.randn(5, 8, 4, 4)
    linear, mlp = LinearNeck(8, 3), MoCoV2Neck(8, 6, 3)
    mean = maps.mean((2, 3))
    torch.testing.assert_close(linear([maps])[0], linear.fc(mean))
    torch.testing.assert_close(linear([mean])[0], linear.fc(mean))
    torch.testing.assert_close(mlp([maps])[0], mlp.mlp[2](mlp.mlp[0](mean).relu()))
    flat = LinearNeck(128, 3, with_avg_pool=False)
    torch.testing.assert_close(flat([maps])[0], flat.fc(maps.flatten(1)))
    torch.testing.assert_close(AvgPool2dNeck()([maps])[0], mean)
    torch.testing.assert_close(
        AvgPool2dNeck(2)([maps])[0][:, :4].reshape(5, 2, 2)[:, 0, 0], maps[:, 0, :2, :2].mean((1, 2)))
    token = torch.randn(5, 8)
    vit = NonLinearNeck(8, 6, 3, vit_backbone=True, with_avg_pool=False, norm_cfg=dict(type='LN'))
    torch.testing.assert_close(vit([(maps, token)])[0], vit.bn1(vit.fc1(vit.bn0(vit.fc0(token)).relu())))


def test_neck_errors():
    with pytest.raises(ValueError, match='num_layers must be at least 2, got 1'):
        NonLinearNeck(8, 6, 4, num_layers=1)
    with pytest.raises(TypeError, match='got Tensor'):
        LinearNeck(8, 4)(torch.zeros(2, 8))


@pytest.mark.parametrize('kind, options, channels', [
    ('LinearNeck', dict(out_channels=4), 8),
    ('MoCoV2Neck', dict(hid_channels=4, out_channels=4), 8),
    ('NonLinearNeck', dict(hid_channels=4, out_channels=4), 8),
    ('ODCNeck', dict(hid_channels=4, out_channels=4), 8),
    ('RelativeLocNeck', dict(out_channels=4), 16),
    ('DenseCLNeck', dict(hid_channels=4, out_channels=4), 8),
    ('SwAVNeck', dict(hid_channels=4, out_channels=4), 8),
])
def test_another_backbone_than_the_neck_is_made_for_is_named(kind, options, channels):
    with pytest.raises(ConfigError, match=f'{kind} takes {channels} channels and gets 6: its in_channels must be'):
        build_neck(dict(type=kind, in_channels=8, **options))((torch.zeros(2, 6, 2, 2), ))


def test_other_features_than_a_head_is_made_for_are_named():
    with pytest.raises(ConfigError, match='ClsHead takes 8 channels and gets 6'):
        build_head(dict(type='ClsHead', with_avg_pool=True, in_channels=8))((torch.zeros(2, 6, 2, 2), ))
    for head in (dict(type='LatentCrossCorrelationHead'), dict(type='LatentClsHead', num_classes=3)):
        with pytest.raises(ConfigError, match=f'{head["type"]} takes 8 channels and gets 6'):
            build_head(dict(head, in_channels=8))(torch.zeros(2, 6), torch.zeros(2, 6))


def test_cls_head():
    head = build_head(dict(type='ClsHead', with_avg_pool=True, in_channels=8, num_classes=3))
    maps, labels = torch.randn(6, 8, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    scores = head((maps, ))
    torch.testing.assert_close(scores[0], maps.mean((2, 3)) @ head.fc_cls.weight.T + head.fc_cls.bias)
    losses = head.loss(scores, labels)
    torch.testing.assert_close(losses['loss'], nn.functional.cross_entropy(scores[0], labels))
    assert losses['acc'] == 100 * (scores[0].argmax(1) == labels).float().mean()
    assert list(head.state_dict()) == ['fc_cls.weight', 'fc_cls.bias']


@pytest.mark.parametrize('x', [torch.randn(6, 8, 2, 2) * 9 + 4, torch.randn(6, 8) * 9 + 4], ids=['maps', 'vectors'])
def test_cls_head_with_a_norm(x):
    """VISSL's eval_mlp on the pooled trunk: batch norm of each channel, then the classifier."""
    head = build_head(
        dict(
            type='ClsHead', with_avg_pool=True, in_channels=8, num_classes=3, norm_cfg=dict(type='SyncBN',
                                                                                            momentum=1.)))
    pooled = x.mean((2, 3)) if x.dim() == 4 else x
    mean, var = pooled.mean(0), pooled.var(0, correction=0)
    expected = ((pooled - mean) / (var + 1e-5).sqrt()) @ head.fc_cls.weight.T + head.fc_cls.bias
    torch.testing.assert_close(head((x, ))[0], expected)
    head.eval()
    expected = ((pooled[:1] - mean) / (pooled.var(0) + 1e-5).sqrt()) @ head.fc_cls.weight.T + head.fc_cls.bias
    torch.testing.assert_close(head((x[:1], ))[0], expected)
    assert 'norm.running_mean' in head.state_dict()


@pytest.mark.parametrize('pool_type', ['adaptive', 'specified'])
def test_multi_pooling(pool_type):
    """Both kinds give the known dimensions on the maps of a ResNet-50 at 224 px."""
    shapes = [(64, 112), (256, 56), (512, 28), (1024, 14), (2048, 7)]
    pool = MultiPooling(pool_type, (0, 1, 2, 3, 4), 'resnet50')
    outs = pool([torch.randn(1, channels, size, size) for channels, size in shapes])
    assert [out.numel() for out in outs] == pool.dims == [9216, 9216, 8192, 9216, 8192]
    assert MultiPooling(pool_type, (0, 4), 'resnet18').dims == [9216, 2048]


def test_pooling_of_any_stages():
    """The windows of VISSL for the maps of its AlexNet, on a trunk that is no ResNet: about 9,000 numbers each."""
    channels, sizes = [96, 256, 384, 384, 256], [55, 27, 13, 13, 13]
    windows = ['19s4', '12s3', '9s1', '9x9s1', '8s1p0']
    pool = MultiPooling(windows, range(5), map_channels=channels, map_sizes=sizes)
    maps = [torch.randn(2, c, s, s) for c, s in zip(channels, sizes)]
    outs = pool(maps)
    assert [out[0].numel() for out in outs] == pool.dims == [9600, 9216, 9600, 9600, 9216]
    torch.testing.assert_close(outs[1], nn.functional.avg_pool2d(maps[1], 12, 3))
    pool = MultiPooling(['average', 'grid:3', '4x2s4x3p1x0'], (1, 2, 7),
                        map_channels=[4, 5, 6],
                        map_sizes=[9, 9, (8, 6)])
    outs = pool([torch.randn(2, 4, 9, 9), torch.randn(2, 5, 12, 10), torch.randn(2, 6, 8, 6)])
    assert [tuple(out.shape[1:]) for out in outs] == [(4, 1, 1), (5, 3, 3), (6, 2, 2)] and pool.dims == [4, 45, 24]
    head = MultiClsHead(['2s1', 'grid:2'], (3, 5), map_channels=[4, 6], map_sizes=[3, 7], num_classes=5)
    scores = head([torch.randn(2, 4, 3, 3), torch.randn(2, 6, 7, 7)])
    assert [fc.in_features for fc in head.fcs] == [16, 24] and [tuple(s.shape) for s in scores] == [(2, 5)] * 2


@pytest.mark.parametrize('arguments, message', [
    (dict(pool_type='max'), "'adaptive', 'specified' or a list of poolings, got 'max'"),
    (dict(pool_type=['grid:2', 'grid:3']), 'pool_type is for 2 maps, in_indices names 1'),
    (dict(pool_type=['6s1']), "the window '6s1' needs the size of the map: give map_sizes"),
    (dict(pool_type=['6s1'], map_sizes=[5]), "the window '6s1' is larger than the map of 5 x 5"),
    (dict(pool_type=['gem']), "'gem' is no window: .* besides there are average and grid:N"),
    (dict(in_indices=[7]), 'in_indices has 7, a ResNet has the stages 0 to 4: .* give map_channels'),
])
def test_poolings_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiPooling(**arguments)


def test_maps_of_another_size_than_the_classifiers_take():
    with pytest.raises(ConfigError, match='a map of 8 x 8 is pooled to 3 x 3 positions, the classifier takes 2 x 2'):
        MultiPooling('specified', (4, ))([torch.randn(1, 2048, 8, 8)])


def test_multi_cls_head():
    head = MultiClsHead(in_indices=(1, 4), with_last_layer_unpool=True, backbone='resnet18', num_classes=3)
    maps = [torch.randn(4, 64, 12, 12), torch.randn(4, 512, 7, 7)]
    labels = torch.tensor([0, 1, 2, -1])
    scores = head(maps)
    pooled = nn.functional.adaptive_avg_pool2d(maps[0], 6)
    normed = (pooled - pooled.mean((0, 2, 3), keepdim=True)) / (pooled.var(
        (0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(scores[0], head.fcs[0](normed.flatten(1)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores[2], head.fcs[2](maps[1].flatten(1)))
    losses = head.loss(scores, labels)
    assert head.loss_names == ('loss.1', 'loss.2', 'loss.3')
    assert list(losses) == ['loss.1', 'acc.1', 'loss.2', 'acc.2', 'loss.3', 'acc.3']
    torch.testing.assert_close(losses['loss.2'], nn.functional.cross_entropy(scores[1][:3], labels[:3]))
    with pytest.raises(ValueError, match='2 maps are pooled'):
        head(maps[:1])
    with pytest.raises(ValueError, match="backbone must be one of .*got 'vgg16'"):
        MultiClsHead(backbone='vgg16')


def test_sobel():
    image = torch.arange(25.).reshape(1, 1, 5, 5).expand(1, 3, 5, 5)  # +1 a column, +5 a row
    edges = Sobel()(image)
    assert edges.shape == (1, 2, 5, 5)
    assert (edges[0, 0, 1:-1, 1:-1] == -8).all() and (edges[0, 1, 1:-1, 1:-1] == -40).all()
    assert not Sobel().state_dict()
    image = 2 + torch.rand(1, 3, 8, 8) / 100  # weak edges
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.allclose(Sobel()(image), Sobel().double()(image.double()).float(), atol=1e-5)
    assert Sobel()(image.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize('sizes', [(4, 4, 4, 4), (3, 5, 2, 7), (10, ), (4, 25, 3)])
def test_queue_is_first_in_first_out(sizes):
    """Pitfall: batches that do not divide the queue, the last partial one, and batches larger than the queue."""
    queue, ptr = new_queue(3, 10)
    torch.testing.assert_close(queue.norm(dim=0), torch.ones(10))
    slots, position = list(queue.T.clone()), 0
    for size in sizes:
        keys = torch.randn(size, 3)
        enqueue(queue, ptr, keys)
        for key in keys:
            slots[position] = key
            position = (position + 1) % 10
        assert queue.T.equal(torch.stack(slots)) and ptr.tolist() == [position]


def test_queue_errors_show_values():
    with pytest.raises(ValueError, match='length=0'):
        new_queue(3, 0)
    queue, ptr = new_queue(3, 10)
    with pytest.raises(ValueError, match=r'dimension 3 .*\(2, 4\)'):
        enqueue(queue, ptr, torch.zeros(2, 4))


def test_queue_starts_the_same_in_every_process():
    torch.manual_seed(1)
    first = new_queue(3, 10)[0]
    torch.manual_seed(2)
    assert new_queue(3, 10)[0].equal(first)


def some_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_moving_average_against_a_loop():
    """Pitfall: moving averages that skip buffers or biases."""
    online, encoder = some_network(), None
    encoder = MomentumEncoder(online)
    expected = {k: v.double() for k, v in encoder[0].state_dict().items()}
    for step in range(4):
        for tensor in online.state_dict().values():
            tensor.add_(1 if not tensor.is_floating_point() else torch.randn_like(tensor))
        momentum = 0.5 + step / 10
        encoder.follow(online, momentum=momentum)
        for key, source in online.state_dict().items():
            counts = not source.is_floating_point()
            expected[key] = source if counts else expected[key] * momentum + source.double() * (1 - momentum)
    for key, tensor in encoder[0].state_dict().items():
        torch.testing.assert_close(tensor, expected[key].to(tensor.dtype), rtol=1e-6, atol=1e-6)
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not encoder[0][2](torch.zeros(1, 4)).requires_grad
    encoder.copy_from(online)
    assert all(a.equal(b) for a, b in zip(encoder[0].state_dict().values(), online.state_dict().values()))


def test_ema_update_needs_as_many_sources_as_targets():
    with pytest.raises(ValueError):
        ema_update([torch.zeros(1), torch.zeros(1)], [torch.zeros(1)], 0.9)
    target = [torch.zeros(2)]
    ema_update(target, [torch.ones(2)], 0.75)
    assert target[0].tolist() == [0.25, 0.25]
    for momentum in (1.5, -0.1, float('nan')):
        with pytest.raises(ValueError, match='share of the old value, 0 to 1'):
            ema_update(target, [torch.ones(2)], momentum)
