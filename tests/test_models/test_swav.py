"""SwAV: the loss from the paper's formula, multi-crop, prototypes, and the queue over processes and checkpoints."""
import copy
import math

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import MultiPrototypes, SwAVHead, SwAVNeck, build_algorithm, swapped_prediction
from mmssl.utils.checkpoint import load_weights
from mmssl.utils.distributed_sinkhorn import distributed_sinkhorn
from mmssl.utils.errors import ConfigError


def naive_loss(scores, codes, crops_for_assign, temperature):
    """Equations 1 and 6 of https://arxiv.org/abs/2006.09882, crop by crop and image by image."""
    total, terms = 0, 0
    for a, crop in enumerate(crops_for_assign):
        for v in range(len(scores)):
            if v == crop:
                continue
            for b in range(scores.shape[1]):
                weights = [math.e**(s / temperature) for s in scores[v, b]]
                whole = sum(weights)
                total = total - sum(q * torch.log(w / whole) for q, w in zip(codes[a, b], weights))
                terms += 1
    return total / terms


@pytest.mark.parametrize('crops_for_assign', [[0, 1], [1], [3, 0, 2]])
def test_loss(crops_for_assign):
    scores = (2 * torch.rand(5, 3, 4).double() - 1).requires_grad_()
    codes = torch.rand(len(crops_for_assign), 3, 4).double().softmax(2).requires_grad_()
    expected = naive_loss(scores, codes.detach(), crops_for_assign, 0.1)
    loss = swapped_prediction(scores, codes, crops_for_assign, temperature=0.1)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert codes.grad is None
    torch.testing.assert_close(scores.grad, torch.autograd.grad(expected, scores)[0])


def project(model, img):
    """Projections of all crops, V x B x D, from the model's own networks: one pass for the crops of a size."""
    parts = []
    for views in (img[:2], img[2:]):
        pooled = model.backbone(torch.cat(views))[0].mean((2, 3))
        parts.append(pooled)
    return F.normalize(model.neck.projection_neck(torch.cat(parts)), dim=1).unflatten(0, (5, -1))


def manual_swav(model, data, queue):
    """Loss, gradients and features to enqueue; `queue` is a list of features a crop, newest first, used when full."""
    model = copy.deepcopy(model)
    weight = model.head.prototypes.weight
    weight.data = torch.stack([row / row.norm() for row in weight.data])
    z = project(model, data['img'])
    scores = torch.stack([row @ weight.T for row in z])
    codes = []
    for i in range(2):
        rows = scores[i].detach()
        if len(queue[i]) == model.head.queue.shape[1]:
            rows = torch.cat([rows, torch.stack(queue[i]) @ weight.detach().T])
        codes.append(distributed_sinkhorn(rows, 3, 1, 0.05)[:z.shape[1]])
    loss = naive_loss(scores, torch.stack(codes), [0, 1], 0.1)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters()}, z.detach()


def sgd(model, data, lr=0.02):
    model.zero_grad()
    out = model.train_step(data)
    out['loss'].backward()
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p -= lr * p.grad
    return out['loss'].detach()


def in_float64(data):
    return dict(data, img=[view.double() for view in data['img']])


def test_step_by_step_with_a_queue_that_no_batch_divides():
    """The queue is filled, used when full, wraps around; prototypes are of unit length in each iteration (pitfall)."""
    model = tiny.build('SwAV').double()
    queue = [[], []]
    for i, size in enumerate((8, 4, 6, 8, 5)):
        data = in_float64(tiny.batch('SwAV', size, seed=i))
        expected, grads, z = manual_swav(model, data, queue)
        loss = sgd(model, data)
        torch.testing.assert_close(loss, expected)
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad, grads[name], rtol=1e-6, atol=1e-9)
        queue = [(list(z[crop]) + queue[crop])[:13] for crop in range(2)]
        assert model.head.filled == len(queue[0]) == min(13, sum((8, 4, 6, 8, 5)[:i + 1]))
        for crop in range(2):
            torch.testing.assert_close(model.head.queue[crop, :len(queue[crop])], torch.stack(queue[crop]))
            assert not model.head.queue[crop, len(queue[crop]):].any()
        sizes = (model.head.prototypes.weight + 0.02 * model.head.prototypes.weight.grad).norm(dim=1)
        torch.testing.assert_close(sizes, torch.ones(10).double())


def manual_momentum_swav(model, data, queue, step):
    """As manual_swav, for SwAVMomentum: codes are of the averages, which take their step first."""
    model = copy.deepcopy(model)
    heads = [p for _, p in sorted(model.head.prototypes.named_parameters())]
    slow_heads = [p for _, p in sorted(model.target_net[2].named_parameters())]
    with torch.no_grad():
        for weight in heads:
            weight.copy_(weight / weight.norm(dim=1, keepdim=True))
        for part, online in zip(model.target_net, (model.backbone, model.neck, model.head.prototypes)):
            for slow, fast in zip(part.parameters(), online.parameters(), strict=True):
                slow.copy_(0.9 * slow + 0.1 * fast)
            for slow, fast in zip(part.buffers(), online.buffers(), strict=True):
                slow.copy_(fast)
        for weight in slow_heads:
            weight.copy_(weight / weight.norm(dim=1, keepdim=True))
        backbone, neck, _ = model.target_net.train(step < 1)
        targets = neck(backbone(torch.cat(data['img'][:2])))[0].unflatten(0, (2, -1))  # the large crops are for codes
    z = model.neck([model.backbone(torch.cat(views)) for views in (data['img'][:2], data['img'][2:])])[0]
    z, losses = z.unflatten(0, (5, -1)), []
    for fast, slow in zip(heads, slow_heads):
        codes = []
        for i in range(2):
            rows = targets[i] if len(queue[i]) < 13 else torch.cat([targets[i], torch.stack(queue[i])])
            code = distributed_sinkhorn(rows @ slow.T, 3, 1, 0.05)[:z.shape[1]]
            codes.append(F.one_hot(code.argmax(1), code.shape[1]).double() if step < 1 else code)
        losses.append(naive_loss(z @ fast.T, torch.stack(codes), [0, 1], 0.1))
    loss = sum(losses) / 2
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters()}, targets, model.target_net.state_dict()


def test_momentum_encoder_step_by_step():
    """Codes from the averages of network and prototypes: hard ones in the first iteration and with statistics of the
    batch, then from running statistics; a queue of their features; two sets of prototypes; three layers of projection.
    """
    model, queue = tiny.build('SwAVMomentum').double(), [[], []]
    for step, size in enumerate((8, 6, 8, 5)):
        data = in_float64(tiny.batch('SwAVMomentum', size, seed=step))
        expected, grads, targets, state = manual_momentum_swav(model, data, queue, step)
        loss = sgd(model, data)
        torch.testing.assert_close(loss, expected)
        for name, p in model.named_parameters():
            if name.startswith('target_net'):
                assert p.grad is None
            else:
                torch.testing.assert_close(p.grad, grads[name], rtol=1e-6, atol=1e-9)
        for key, value in model.target_net.state_dict().items():
            torch.testing.assert_close(value, state[key], msg=key)
        queue = [(list(targets[crop]) + queue[crop])[:13] for crop in range(2)]
        torch.testing.assert_close(model.head.queue[:, :len(queue[0])], torch.stack([torch.stack(q) for q in queue]))
        assert model.counter.done == int(model.counter.number) == model.head.counter.done == step + 1


def test_momentum_encoder_of_one_is_no_average():
    """Momentum 0: the average is the online network, and the loss that of SwAV with the same (batch) statistics."""
    plain = tiny.build('SwAV')
    state = plain.state_dict()
    changes = {key: tiny.CONFIGS['SwAV'][key] for key in ('neck', 'head')}
    model = tiny.build('SwAVMomentum', **changes, momentum=0., eval_mode_iters=9)
    model.load_state_dict({key: value for key, value in state.items() if key != 'head.queue'}, strict=False)
    for i in range(2):
        data = tiny.batch('SwAV', seed=i)
        data['img'] = data['img'][:2]
        for either in (plain, model):
            either.head.set_crops([2])
        torch.testing.assert_close(sgd(model, data), sgd(plain, data))


def test_momentum_encoder_waits_for_the_optimizer():
    """Pitfall: moving averages that run on every iteration although gradients accumulate."""
    model = tiny.build('SwAVMomentum')
    sgd(model, tiny.batch('SwAVMomentum'))
    model.is_update_iter = False
    before = [p.clone() for p in model.target_net.parameters()]
    model(**tiny.batch('SwAVMomentum'))
    assert all(a.equal(b) for a, b in zip(model.target_net.parameters(), before))
    model.is_update_iter = True
    model.eval()
    with torch.no_grad():
        model(**tiny.batch('SwAVMomentum'))
    assert all(a.equal(b) for a, b in zip(model.target_net.parameters(), before)) and model.counter.done == 2
    # compiled in place: the networks themselves, no copies
    parts = [model.backbone, model.neck, *list(model.target_net)[:2]]
    assert {*map(id, model.compile_parts())} == {*map(id, parts)}
    with pytest.raises(ValueError, match='eval_mode_iters cannot be negative, got -1'):
        tiny.build('SwAVMomentum', eval_mode_iters=-1)


def with_head(**changes):
    model = tiny.build('SwAV', head=dict(tiny.CONFIGS['SwAV']['head'], **changes))
    model.head.queue = None
    return model


def test_hard_codes_at_first():
    """The one prototype that Sinkhorn gives most, in as many iterations as asked for; a checkpoint holds how many are
    over."""
    soft, hard = with_head(), with_head(hard_assign_iters=2)
    feats = F.normalize(torch.randn(2, 8, tiny.DIM), dim=2)
    prototypes = F.normalize(soft.head.prototypes.weight, dim=1)
    expected = F.one_hot(soft.head.compute_codes(feats, prototypes).argmax(2), 10).float()
    assert hard.head.compute_codes(feats, prototypes).equal(expected)
    for i in range(3):
        data, resumed = tiny.batch('SwAV', seed=i), with_head(hard_assign_iters=2)
        resumed.load_state_dict(hard.state_dict())
        soft.load_state_dict({k: v for k, v in hard.state_dict().items() if 'counter' not in k})
        loss = sgd(hard, data)
        assert sgd(resumed, data).equal(loss) and sgd(soft, data).equal(loss) == (i >= 2)
    assert 'head.counter.number' not in soft.state_dict()  # checkpoints of earlier versions fit


def test_codes_in_float64():
    """A fault of VISSL: in float64 no maximum was subtracted, so that exp of large scores overflowed."""
    single, double = with_head(epsilon=5e-4), with_head(epsilon=5e-4, double_precision=True)
    feats = F.normalize(torch.randn(2, 8, tiny.DIM), dim=2)
    prototypes = F.normalize(single.head.prototypes.weight.detach(), dim=1)
    scores = feats.double() @ prototypes.double().T
    assert (scores / 5e-4).exp().isinf().any()
    codes = double.head.compute_codes(feats, prototypes)
    # the same scores, which were computed in float32
    expected = torch.stack([distributed_sinkhorn((f @ prototypes.T).double(), 3, 1, 5e-4) for f in feats]).float()
    assert codes.dtype == torch.float32 and codes.equal(expected)
    torch.testing.assert_close(single.head.compute_codes(feats, prototypes), codes, rtol=1e-2, atol=1e-3)


def test_shares_by_a_power_law():
    """Prototype i gets (i + 1) ** -power of the samples: exact once the iterations have converged."""
    head = with_head(power=0.5, sinkhorn_iterations=30).head
    feats = F.normalize(torch.randn(1, 40, tiny.DIM), dim=2)
    used = head.compute_codes(feats, F.normalize(head.prototypes.weight.detach(), dim=1))[0].mean(0)
    expected = torch.arange(1, 11)**-0.5
    torch.testing.assert_close(used, expected / expected.sum(), rtol=1e-3, atol=1e-4)


def test_the_data_tell_what_the_head_leaves_out():
    """Six numbers had to agree by hand: the crops come from the data, the dimension from the neck."""
    head = dict(type='SwAVHead', num_prototypes=10)
    model = tiny.build('SwAV', head=head)  # tiny.build prepares a queue of feat_dim
    assert model.head.feat_dim == tiny.DIM and model.head.num_crops is None
    model.fit_to_data(samples=100, views=[2, 3])
    assert model.head.num_crops == [2, 3]
    given = tiny.build('SwAV')
    data = tiny.batch('SwAV')
    assert model(**data)['loss'].equal(given(**data)['loss'])
    assert tiny.build('SwAV', head=head)(**data)['loss'].equal(model(**data)['loss'])  # without a loader
    with pytest.raises(ConfigError, match=r'model.head: num_crops is \[2, 3\], .* has \[2, 6\] crops .*=\[2, 6\], or'):
        given.fit_to_data(samples=100, views=[2, 6])
    with pytest.raises(ConfigError, match=r'model.head: .* got num_crops=\[1, 1\] and crops_for_assign=\[2\]'):
        tiny.build('SwAV', head=dict(head, crops_for_assign=[2])).fit_to_data(samples=100, views=[1, 1])
    with pytest.raises(ConfigError, match='feat_dim is 8, the neck gives 16 dimensions: set model.head.feat_dim=16'):
        build_algorithm(dict(tiny.CONFIGS['SwAV'], head=dict(head, feat_dim=8)))
    with pytest.raises(ConfigError, match='set num_crops, or train by train_model'):
        SwAVHead(16)(torch.randn(10, 16))


def test_queue_changes_codes_only_once_it_is_full():
    for filled, same in ((0, True), (1, True), (2, False)):
        with_queue, without = tiny.build('SwAV'), tiny.build('SwAV')
        with_queue.head.build_queue(16)
        without.head.queue = None
        for i in range(filled):
            sgd(with_queue, tiny.batch('SwAV', seed=i)), sgd(without, tiny.batch('SwAV', seed=i))
        data = tiny.batch('SwAV', seed=9)
        assert (with_queue.train_step(data)['loss'] == without.train_step(data)['loss']).item() == same


def test_queue_is_left_alone_in_evaluation():
    model = tiny.build('SwAV').eval()
    with torch.no_grad():
        model.val_step(tiny.batch('SwAV'))
    assert model.head.filled == 0 and not model.head.queue.any()


@pytest.mark.parametrize('iterations', [0, 1, 2, 3])
def test_checkpoint_holds_the_queue(iterations):
    """Pitfall: queue kept outside the checkpoint. A fresh model, which has none, goes on with it, full or not."""
    model = tiny.build('SwAV')
    for i in range(iterations):
        sgd(model, tiny.batch('SwAV', 6, seed=i))
    resumed = tiny.build('SwAV', seed=1)
    resumed.head.queue = None
    assert 'head.queue' not in resumed.state_dict()
    report = load_weights(resumed, copy.deepcopy(model.state_dict()), strict=True)
    assert not report.unexpected and resumed.head.filled == model.head.filled == min(6 * iterations, 13)
    for i in range(3, 6):
        assert sgd(model, tiny.batch('SwAV', 6, seed=i)).equal(sgd(resumed, tiny.batch('SwAV', 6, seed=i)))
    assert all(a.equal(b) for a, b in zip(model.state_dict().values(), resumed.state_dict().values(), strict=True))


def test_checkpoint_without_queue():
    model, source = tiny.build('SwAV'), tiny.build('SwAV', seed=1)
    source.head.queue = None
    model.head.queue = None
    load_weights(model, source.state_dict(), strict=True)
    assert model.head.queue is None and 'head.queue' not in model.state_dict()


def test_prototypes_in_several_sets():
    """Pitfall: MultiPrototypes lacks `.weight`. The loss is the mean over sets, each normalised in each iteration."""
    sets = tiny.build('SwAV', head=dict(tiny.CONFIGS['SwAV']['head'], num_prototypes=[10, 7]))
    data, losses = tiny.batch('SwAV'), []
    assert isinstance(sets.head.prototypes, MultiPrototypes)
    assert [k for k in sets.state_dict()
            if 'prototypes' in k] == ['head.prototypes.prototypes0.weight', 'head.prototypes.prototypes1.weight']
    for i, number in enumerate((10, 7)):
        one = tiny.build('SwAV', head=dict(tiny.CONFIGS['SwAV']['head'], num_prototypes=number))
        state = {k: v for k, v in sets.state_dict().items() if 'prototypes' not in k}
        state['head.prototypes.weight'] = sets.state_dict()[f'head.prototypes.prototypes{i}.weight']
        one.load_state_dict(state)
        losses.append(one.train_step(data)['loss'])
    out = sets.train_step(data)
    torch.testing.assert_close(out['loss'], sum(losses) / 2)
    out['loss'].backward()
    for weight in sets.head.prototypes.parameters():
        torch.testing.assert_close(weight.norm(dim=1), torch.ones(len(weight)))
        assert weight.grad.norm() > 0
    x = torch.randn(3, tiny.DIM)
    for scores, weight in zip(sets.head.prototypes(x), sets.head.prototypes.parameters(), strict=True):
        torch.testing.assert_close(scores, x @ weight.T)


def test_crops_of_one_size_go_through_the_backbone_together():
    model, sizes = tiny.build('SwAV'), []
    model.backbone.register_forward_pre_hook(lambda module, args: sizes.append(tuple(args[0].shape)))
    model(**tiny.batch('SwAV'))
    assert sizes == [(16, 3, 32, 32), (24, 3, 24, 24)]


def test_neck():
    """Maps of each resolution, or those of one: checkpoints of MMSelfSup fit."""
    neck = SwAVNeck(8, 6, 4, norm_cfg=dict(type='BN')).eval()
    maps = [(torch.randn(4, 8, 3, 3), ), (torch.randn(6, 8, 2, 2), )]
    layers = neck.projection_neck
    assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    mean = torch.cat([m[0].mean((2, 3)) for m in maps])
    expected = F.normalize(layers[3](layers[1](layers[0](mean)).relu()), dim=1)
    torch.testing.assert_close(neck(maps)[0], expected)
    torch.testing.assert_close(neck(maps[0])[0], expected[:4])
    torch.testing.assert_close(neck(list(maps[1]))[0], expected[4:])
    linear = SwAVNeck(8, 0, 4, with_l2norm=False)
    assert list(linear.state_dict()) == ['projection_neck.weight', 'projection_neck.bias']
    torch.testing.assert_close(linear(maps)[0], linear.projection_neck(mean))
    plain = SwAVNeck(8, 6, 4, norm_cfg=None)
    first, second = plain.projection_neck[0], plain.projection_neck[2]
    assert len(plain.projection_neck) == 3
    torch.testing.assert_close(plain(maps)[0], F.normalize(second(first(mean).relu()), dim=1))
    flat = SwAVNeck(32, 0, 4, with_avg_pool=False, with_l2norm=False)
    torch.testing.assert_close(flat(maps[1])[0], flat.projection_neck(maps[1][0].flatten(1)))


@pytest.mark.parametrize('norm, last', [(True, False), (False, False), (True, True)])
def test_projectors_of_other_depths(norm, last):
    """VISSL's swav_head: dims [64, 32, 32, 16], with or without batch norm, and with norm and ReLU at the end too
    (skip_last_bn=False); then unit length."""
    norm_cfg = dict(type='BN') if norm else None
    model = tiny.build(
        'SwAV',
        neck=dict(
            type='MLPNeck',
            channels=[32, 32, tiny.DIM],
            norm_cfg=norm_cfg,
            with_last_norm=last,
            with_last_act=last,
            with_l2norm=True),
        head=dict(type='SwAVHead', num_prototypes=10))
    layers = []
    for i, width in enumerate((32, 32, tiny.DIM)):
        layers.append(getattr(model.neck, f'fc{i}'))
        if norm and (last or i < 2):
            layers.append(nn.BatchNorm1d(width))
        if last or i < 2:
            layers.append(nn.ReLU())
    img = tiny.batch('SwAV')['img']
    copied = copy.deepcopy(model)
    pooled = torch.cat([copied.backbone(torch.cat(views))[0].mean((2, 3)) for views in (img[:2], img[2:])])
    torch.testing.assert_close(model.project(img), F.normalize(nn.Sequential(*layers)(pooled), dim=1))


def test_errors_show_values():
    model = tiny.build('SwAV')
    with pytest.raises(ValueError, match=r'gives 2 crops .* num_crops=\[2, 3\], 5 together'):
        model(**tiny.batch('MoCo'))
    with pytest.raises(ValueError, match=r'queue of 13 features .* shorter .* 16'):
        model(**tiny.batch('SwAV', 16))
    with pytest.raises(ValueError, match=r'16 dimensions \(feat_dim\) .* \(10, 8\)'):
        model.head(torch.randn(10, 8))
    for kwargs, words in ((dict(crops_for_assign=[0, 2], num_crops=[2]), r'crops_for_assign=\[0, 2\]'),
                          (dict(num_crops=[1]), r'num_crops=\[1\]'), (dict(num_prototypes=0),
                                                                      'num_prototypes .* got 0'),
                          (dict(num_prototypes=[5, 0]), r'got \[5, 0\]'), (dict(num_prototypes=[]), r'got \[\]')):
        with pytest.raises(ValueError, match=words):
            SwAVHead(16, **kwargs)


def test_features_that_are_no_numbers_make_a_loss_that_is_none():
    model, data = tiny.build('SwAV'), tiny.batch('SwAV')
    data['img'][0][2] = math.nan
    assert model(**data)['loss'].isnan()


def test_loss_starts_near_the_logarithm_of_the_number_of_prototypes():
    model = build_algorithm(
        dict(
            tiny.CONFIGS['SwAV'],
            neck=dict(type='SwAVNeck', in_channels=64, hid_channels=32, out_channels=128),
            head=dict(type='SwAVHead', feat_dim=128, num_crops=[2, 3], num_prototypes=3000)))
    loss = model(**tiny.batch('SwAV'))['loss'].item()
    assert loss == pytest.approx(math.log(3000), rel=0.08)
