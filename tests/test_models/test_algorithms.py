"""Algorithms in one process: their losses step by step, what trains, what checkpoints hold."""
import copy
import itertools

import pytest
import tiny
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmssl.core import build_runner
from mmssl.datasets.loader import map_tensors
from mmssl.models import ALGORITHMS, BaseModel, MomentumEncoder, build_algorithm
from mmssl.utils.checkpoint import teacher_weights
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger

ALL = list(tiny.CONFIGS)
WITHOUT_NECK = ('DeepCluster', 'MaskFeat', 'RotationPred', 'RotationPredOne')


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def step(model, data, lr=0.1):
    """A plain SGD step; returns the loss."""
    model.zero_grad()
    out = model.train_step(data, None)
    out['loss'].backward()
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p -= lr * p.grad
    return out['loss'].detach()


def cosine(a, b):
    return sum(x.dot(y) / x.norm() / y.norm() for x, y in zip(a, b)) / len(a)


def project(model, img, encoder=None):
    return (encoder(img) if encoder is not None else model.neck(model.backbone(img)))[0]


def test_simclr_step_by_step():
    model, data = tiny.build('SimCLR'), tiny.batch('SimCLR', 6)
    z = F.normalize(project(copy.deepcopy(model), torch.cat(data['img'])), dim=1).double()
    sim = (z @ z.T / 0.2).exp()
    expected = -sum(torch.log(sim[i, (i + 6) % 12] / (sim[i].sum() - sim[i, i])) for i in range(12)) / 12
    torch.testing.assert_close(model(**data)['loss'].double(), expected, rtol=1e-5, atol=1e-6)


def test_a_short_last_batch_of_several_views():
    """A fault of VISSL: masks were built for a full batch, and the first short one was an error."""
    model = tiny.build('SimCLRMultiCrop')
    for size in (6, 3):
        data = tiny.batch('SimCLRMultiCrop', size)
        maps = [copy.deepcopy(model).backbone(torch.cat(views))[0] for views in (data['img'][:2], data['img'][2:])]
        pooled = torch.cat([m.mean((2, 3)) for m in maps])
        z = F.normalize(copy.deepcopy(model).neck([pooled])[0], dim=1).double().unflatten(0, (4, size))
        expected = 0
        for a, b, i in itertools.product(range(4), range(4), range(size)):
            others = torch.cat([z[:, :i], z[:, i + 1:]], dim=1).flatten(0, 1)
            own, away = (z[a, i].dot(z[b, i]) / 0.2).exp(), (others @ z[a, i] / 0.2).exp().sum()
            expected = expected - (a != b) * torch.log(own / (own + away)) / (12 * size)
        torch.testing.assert_close(model(**data)['loss'].double(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match=r'compares 2 views .* or more, the data gives 1 view; .*num_views'):
        model(data['img'][:1])


def manual_moco(model, data, queue):
    """Loss and keys of MoCo from the model's own networks, after its momentum step."""
    model = copy.deepcopy(model)
    q = F.normalize(project(model, data['img'][0]), dim=1).double()
    online = [*model.backbone.state_dict().values(), *model.neck.state_dict().values()]
    with torch.no_grad():
        for slow, fast in zip(model.encoder_k.state_dict().values(), online, strict=True):
            slow.copy_(0.9 * slow + 0.1 * fast if slow.is_floating_point() else fast)
        k = F.normalize(project(model, data['img'][1], model.encoder_k), dim=1)
    losses = []
    for i in range(len(q)):
        logits = torch.stack([q[i].dot(key.double()) for key in [k[i], *queue]]) / 0.2
        losses.append(-logits.log_softmax(0)[0])
    return sum(losses) / len(losses), k, model.encoder_k


def test_moco_step_by_step():
    """Four iterations, one with a partial batch: losses, key encoder, and a queue (length 20) that wraps around.

    Pitfall: a queue that only takes batches which divide its length.
    """
    model = tiny.build('MoCo')
    queue, position = list(model.queue.T.clone()), 0
    for i, size in enumerate((8, 8, 5, 8)):
        data = tiny.batch('MoCo', size, seed=i)
        expected, keys, encoder = manual_moco(model, data, queue)
        loss = step(model, data)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
        for slow, reference in zip(model.encoder_k.state_dict().values(), encoder.state_dict().values()):
            torch.testing.assert_close(slow, reference, rtol=1e-5, atol=1e-6)
        for key in keys:
            queue[position] = key
            position = (position + 1) % 20
        torch.testing.assert_close(model.queue, torch.stack(queue).T, rtol=1e-4, atol=1e-5)
        assert model.queue_ptr.tolist() == [position]


def test_moco_updates_its_key_encoder_only_after_optimizer_steps():
    """Pitfall: moving averages that run on every iteration although gradients accumulate."""
    model = tiny.build('MoCo')
    step(model, tiny.batch('MoCo'))
    model.is_update_iter = False
    before = [p.clone() for p in model.encoder_k.parameters()]
    model(**tiny.batch('MoCo'))
    assert all(a.equal(b) for a, b in zip(model.encoder_k.parameters(), before))
    model.is_update_iter = True
    model(**tiny.batch('MoCo'))
    assert not all(a.equal(b) for a, b in zip(model.encoder_k.parameters(), before))


def test_byol_step_by_step():
    """Targets are constants: the gradient is that of the predictions alone."""
    model, data = tiny.build('BYOL'), tiny.batch('BYOL')
    model.target_net[0].conv1.weight.data.mul_(1.5)  # away from the online network
    naive = copy.deepcopy(model)
    loss = 0
    online = [project(naive, img) for img in data['img']]
    targets = [project(naive, img, naive.target_net) for img in data['img']]
    for z, target in zip(online, reversed(targets)):
        loss = loss - 2 * cosine(naive.head.predictor([z])[0], target)
    loss.backward()
    out = model.train_step(data, None)
    out['loss'].backward()
    torch.testing.assert_close(out['loss'], loss)
    assert set(gradients(model)) == {n for n, _ in model.named_parameters() if not n.startswith('target_net')}
    for name, grad in gradients(naive).items():
        torch.testing.assert_close(gradients(model)[name], grad, rtol=1e-3, atol=1e-5)


def test_byol_momentum_update():
    model = tiny.build('BYOL')
    step(model, tiny.batch('BYOL'))
    online = [*model.backbone.state_dict().values(), *model.neck.state_dict().values()]
    expected = [
        0.75 * slow + 0.25 * fast if slow.is_floating_point() else fast
        for slow, fast in zip(model.target_net.state_dict().values(), online, strict=True)
    ]
    assert model.momentum == model.base_momentum == 0.9
    model.momentum = 0.75
    model.momentum_update()
    for tensor, reference in zip(model.target_net.state_dict().values(), expected):
        torch.testing.assert_close(tensor, reference)


def test_simsiam_step_by_step():
    """The gradient is that of fixed targets, and differs from that without the stop."""
    model, data = tiny.build('SimSiam'), tiny.batch('SimSiam')

    def naive_gradients(stop):
        naive = copy.deepcopy(model)
        z_1, z_2 = (project(naive, img) for img in data['img'])
        t_1, t_2 = (z_1.detach(), z_2.detach()) if stop else (z_1, z_2)
        loss = -(cosine(naive.head.predictor([z_1])[0], t_2) + cosine(naive.head.predictor([z_2])[0], t_1)) / 2
        loss.backward()
        return loss, gradients(naive)

    loss, expected = naive_gradients(stop=True)
    out = model.train_step(data, None)
    out['loss'].backward()
    torch.testing.assert_close(out['loss'], loss)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-5)
    unstopped = naive_gradients(stop=False)[1]
    assert (unstopped['neck.fc0.weight'] -
            expected['neck.fc0.weight']).norm() > 0.1 * expected['neck.fc0.weight'].norm()


def test_classification_step_by_step():
    model, data = tiny.build('Classification'), tiny.batch('Classification')
    data['label'][1] = -1
    naive = copy.deepcopy(model)
    feats = naive.backbone(data['img'])[0].mean((2, 3))
    scores = naive.head.fc_cls(feats)
    keep = data['label'] >= 0
    out = model.train_step(data, None)
    torch.testing.assert_close(out['loss'], F.cross_entropy(scores[keep], data['label'][keep]))
    assert set(out['log_vars']) == {'loss', 'acc'} and out['num_samples'] == 8
    model.eval(), naive.eval()
    tested = model(data['img'], mode='test')
    torch.testing.assert_close(tested['head4'], naive.head.fc_cls(naive.backbone(data['img'])[0].mean((2, 3))))


def test_classification_of_several_stages_with_sobel_and_frozen_backbone():
    """Pitfall: frozen backbones whose statistics move. The declared losses of all heads are summed."""
    backbone = dict(type='ResNet', depth=18, in_channels=2, out_indices=(0, 4), frozen_stages=4)
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=backbone,
            with_sobel=True,
            head=dict(type='MultiClsHead', in_indices=(0, 4), backbone='resnet18', num_classes=4)))
    model.init_weights()
    model.train()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    data = tiny.batch('Classification')
    out = model.train_step(data, None)
    torch.testing.assert_close(out['loss'], out['log_vars']['loss.1'] + out['log_vars']['loss.2'])
    step(model, data)
    assert all(v.equal(before[k]) for k, v in model.backbone.state_dict().items())
    assert all(name.startswith('head.') for name in gradients(model))
    assert set(model(data['img'], mode='test')) == {'head0', 'head4'}


@pytest.mark.parametrize('indices, head, names', [
    ((0, 1, 2, 3, 4), dict(type='ClsHead', with_avg_pool=True, in_channels=512), ['head4']),
    ((4, 1), dict(type='MultiClsHead', in_indices=(4, 1), backbone='resnet18'), ['head4', 'head1']),
    ((1, 4), dict(type='MultiClsHead', in_indices=(1, 4), backbone='resnet18',
                  with_last_layer_unpool=True), ['head1', 'head4', 'head4_unpool']),
    ((1, 4, 4),
     dict(type='MultiClsHead', pool_type=['grid:6', 'grid:2', 'average'], in_indices=(1, 4, 4),
          backbone='resnet18'), ['head1', 'head4', 'head4_2']),
])
def test_scores_are_named_by_their_stages(indices, head, names):
    """The last of five stages is head4, not head0, and each name has the scores of its stage."""
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=dict(type='ResNet', depth=18, out_indices=indices),
            head=dict(head, num_classes=4))).eval()
    img = torch.randn(2, 3, *(2 * [224 if 'head4_unpool' in names else 64]))
    with torch.no_grad():
        found, scores = model(img, mode='test'), model.head(model.backbone(img))
    assert list(found) == names
    for got, want in zip(found.values(), scores, strict=True):
        torch.testing.assert_close(got, want)


def test_stages_of_the_head_in_another_order_than_those_of_the_backbone():
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=dict(type='ResNet', depth=18, out_indices=(4, 1)),
            head=dict(type='MultiClsHead', in_indices=(1, 4), backbone='resnet18', num_classes=4)))
    with pytest.raises(ValueError, match='MultiPooling takes 64 channels and gets 512: its in_indices must'):
        model(torch.randn(2, 3, 64, 64), mode='test')


def test_classification_with_mixup():
    augments = [dict(type='BatchMixup', alpha=1., num_classes=4, prob=1.)]
    model = tiny.build('Classification', train_cfg=dict(augments=augments))
    out = model.train_step(tiny.batch('Classification'), None)
    assert out['loss'].isfinite() and 0 <= out['log_vars']['acc'] <= 100


@pytest.mark.parametrize('name, slow', [('MoCo', 'encoder_k'), ('DenseCL', 'encoder_k'), ('BYOL', 'target_net')])
def test_momentum_encoder_starts_as_a_copy(name, slow):
    """Pitfall: the online half is initialised again after it was copied, so that the two start different."""
    model = tiny.build(name)
    online = [*model.backbone.state_dict().values(), *model.neck.state_dict().values()]
    copies = getattr(model, slow)
    assert isinstance(copies, MomentumEncoder)
    for a, b in zip(online, copies.state_dict().values(), strict=True):
        assert a.equal(b) and a.data_ptr() != b.data_ptr()
    assert model.backbone.bn1.weight.equal(torch.ones(8)) and not any(p.requires_grad for p in copies.parameters())


@pytest.mark.parametrize('name', ['MoCo', 'DenseCL', 'InterCLRMoCo', 'BYOL', 'MoCoV3', 'CAE'])
def test_load_from_weights_without_a_momentum_encoder(name, tmp_path):
    """It begins as a copy of what was loaded, and not with the random weights of before."""
    model = tiny.build(name)
    for p in model.backbone.parameters():
        torch.nn.init.normal_(p.data)
    torch.save(
        dict(state_dict={
            f'backbone.{k}': v
            for k, v in model.backbone.state_dict().items()
        }), tmp_path / 'a.pth')
    fresh = tiny.build(name)
    runner = build_runner(dict(type='EpochBasedRunner', max_epochs=1), dict(model=fresh, logger=get_root_logger()))
    runner.load_checkpoint(tmp_path / 'a.pth')
    assert fresh.momentum_parts
    for part in fresh.momentum_parts:
        copied = list(getattr(fresh, part).parameters())  # those of the backbone are the first
        assert all(a.equal(b) for a, b in zip(copied, model.backbone.parameters()))


def test_load_from_weights_with_a_part_of_a_momentum_encoder(tmp_path):
    """A teacher's backbone without a head stays what it is: it was replaced by the student's."""
    model = tiny.build('DINO', seed=1)
    torch.nn.init.normal_(model.teacher[0].conv1.weight)
    torch.save({k: v for k, v in model.state_dict().items() if 'backbone.' in k or 'teacher.0.' in k}, tmp_path / 'a')
    fresh = tiny.build('DINO')
    runner = build_runner(dict(type='EpochBasedRunner', max_epochs=1), dict(model=fresh, logger=get_root_logger()))
    runner.load_checkpoint(tmp_path / 'a')
    assert fresh.backbone.conv1.weight.equal(model.backbone.conv1.weight)
    assert fresh.teacher[0].conv1.weight.equal(model.teacher[0].conv1.weight)
    for own, copied in zip(fresh.neck.parameters(), fresh.teacher[1].parameters()):
        assert copied.equal(own) and own.data_ptr() != copied.data_ptr()


@pytest.mark.parametrize('name', ALL)
def test_no_key_twice(name):
    """Pitfall: a module registered under two names doubles its keys."""
    state = tiny.build(name).state_dict()
    tensors = [t.data_ptr() for t in state.values() if t.numel()]
    assert len(set(tensors)) == len(tensors)
    assert {f'backbone.{key}' for key in tiny.build(name).backbone.state_dict()} <= set(state)


@pytest.mark.parametrize('name, old', [('MoCo', 'encoder_q'), ('DenseCL', 'encoder_q'), ('BYOL', 'online_net'),
                                       ('SimSiam', 'encoder'), ('MoCoV3', 'base_encoder')])
@pytest.mark.parametrize('both', [True, False])
def test_names_of_mmselfsup(name, old, both):
    """Its checkpoints hold the online networks as items of a sequence, mostly besides `backbone` and `neck`.

    The sequence is an attribute, in no key of ours.
    """
    source, model = tiny.build(name, seed=1), tiny.build(name, seed=2)
    backbone, neck = getattr(model, old)
    assert getattr(model, 'queue_len', 20) == 20 and not model.with_sobel and model.with_neck and model.with_head
    assert backbone is model.backbone and neck is model.neck and old not in dict(model.named_children())
    img = tiny.batch(name)['img'][0]
    torch.testing.assert_close(getattr(model, old)(img)[0], model.neck(model.backbone(img))[0])
    state = {}
    for key, value in source.state_dict().items():
        renamed = key.replace('backbone.', f'{old}.0.').replace('neck.', f'{old}.1.')
        state[renamed] = value
        if both:
            state[key] = value
    model.load_state_dict(state)
    for a, b in zip(model.state_dict().values(), source.state_dict().values()):
        assert a.equal(b)


@pytest.mark.parametrize('name', ALL)
def test_bfloat16_autocast(name):
    """Losses in float32, near those without autocast; every parameter that trains gets a gradient."""
    data = tiny.batch(name)
    expected = tiny.build(name).train_step(data, None)['loss']
    model = tiny.build(name)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = model.train_step(data, None)
    out['loss'].backward()
    assert out['loss'].dtype == torch.float32
    if name != 'NNCLR':  # whose neighbours in a random queue change with the rounding
        torch.testing.assert_close(out['loss'], expected, rtol=0.1, atol=0.05)
    assert set(gradients(model)) == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(g.isfinite().all() for g in gradients(model).values())


@pytest.mark.parametrize('name', ALL)
def test_channels_last_gives_the_same_loss(name):
    plain, model, data = tiny.build(name), tiny.build(name).to(memory_format=torch.channels_last), tiny.batch(name)
    last = dict(data)
    last['img'] = map_tensors(data['img'], lambda v: v.contiguous(memory_format=torch.channels_last)
                              if v.dim() == 4 else v)  # not masks
    for seed in range(2):
        losses = []
        for m, d in ((model, last), (plain, data)):
            torch.manual_seed(seed)  # MAE draws masks
            losses.append(step(m, d, 0.01))
        torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ALL)
def test_train_step_contract(name):
    model, data = tiny.build(name), tiny.batch(name)
    out = model.train_step(data, None)
    assert set(out) == {'loss', 'log_vars', 'num_samples'} and out['num_samples'] == 8
    assert out['loss'].requires_grad and out['loss'].dim() == 0
    assert out['log_vars']['loss'].equal(out['loss'].detach())
    assert all(v.dim() == 0 and not v.requires_grad for v in out['log_vars'].values())
    wrapped = model.train_step(data, None, forward=lambda **batch: dict.fromkeys(model.loss_names, torch.tensor(3.)))
    assert wrapped['loss'] == 3 * len(model.loss_names)
    feats = model(tiny.plain_images(data['img']), mode='extract')
    assert isinstance(feats, tuple)
    # of a vision transformer, the map and the class token
    shapes = [tuple(f.shape) for f in (feats[-1] if isinstance(feats[-1], tuple) else feats[-1:])]
    assert shapes[0][:2] == (8, 16 if name in tiny.TRANSFORMERS else 64)
    assert shapes[1:] == ([(8, 16)] if name in tiny.VITS else [])
    parts = model.compile_parts()
    assert model.backbone in parts and len({id(p) for p in parts}) == len(parts)


class HostReads(TorchDispatchMode):
    """Counts what makes the host wait for the device: reading a number, and shapes that depend on values."""
    waiting = ('_local_scalar_dense', 'nonzero', 'masked_select', 'unique', 'is_nonzero', 'equal')

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if any(name.startswith(w) for w in self.waiting):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


class ListIndices(TorchFunctionMode):
    """Counts indices that are lists: they are copied to the device, and the host waits for that."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            parts = args[1] if isinstance(args[1], tuple) else (args[1], )
            self.seen += [part for part in parts if isinstance(part, list)]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('name', ALL)
def test_no_host_sync_in_an_iteration(name):
    """Pitfall: per-tensor .item() calls; losses, queues and moving averages stay on the device."""
    model, data = tiny.build(name), tiny.batch(name)
    model.train_step(data, None)  # the first batch may be looked at, whether it is what the algorithm takes
    with HostReads() as reads, ListIndices() as lists:
        model.train_step(data, None)['loss'].backward()
        if hasattr(model, 'momentum_update'):
            model.momentum_update()
    assert reads.seen == [] and lists.seen == []
    with HostReads() as reads, ListIndices() as lists:
        torch.ones(1)[[0]].item()
    assert reads.seen == ['_local_scalar_dense'] and lists.seen == [[0]]


@pytest.mark.parametrize('name', ALL)
def test_validation_changes_nothing(name):
    """Queues, banks and key encoders stay as training left them: samples of a validation set are none of theirs."""
    model, data = tiny.build(name), tiny.batch(name)
    model.train_step(data)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.01
    model.eval()
    before = copy.deepcopy(model.state_dict())
    losses = []
    for _ in range(2):
        torch.manual_seed(0)  # MAE draws masks
        losses.append(model.val_step(data)['loss'])
        model(tiny.plain_images(data['img']), mode='extract')
        if type(model).forward_test is not BaseModel.forward_test:
            model(data['img'][0] if name == 'DenseCL' else data['img'], mode='test')
    after = model.state_dict()
    assert torch.allclose(*losses) and list(after) == list(before)
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, msg=lambda text: f'{key}: {text}')


def test_losses_are_those_declared():
    """Pitfall: summing every key that merely contains "loss"."""

    class Model(BaseModel):
        loss_names = ('loss_a', 'b')

    loss, logged = Model().parse_losses(
        dict(loss_a=torch.tensor([1., 3.]), b=torch.tensor(4.), loss_scale=torch.tensor(100.), ratio=0.5))
    assert loss == 6
    assert {k: v.item() for k, v in logged.items()} == dict(loss_a=2, b=4, loss_scale=100, ratio=0.5, loss=6)
    one = torch.tensor(1.)
    with pytest.raises(
            ConfigError, match=r"Model sums loss_names = \('loss_a', 'b'\), and forward_train gives \['loss_a'\]"):
        Model().parse_losses(dict(loss_a=one))

    class Undeclared(BaseModel):
        pass

    assert Undeclared().parse_losses(dict(loss=one, ratio=0.5))[0] == 1
    for losses in (dict(loss_a=one, loss_b=one), dict(loss=one, loss_b=one), dict(a=one, b=one)):
        with pytest.raises(ConfigError, match=rf'such as loss_names = \({", ".join(map(repr, losses))}\); the others'):
            Undeclared().parse_losses(losses)


def test_errors_say_what_is_right():
    model = tiny.build('BYOL')
    with pytest.raises(ValueError, match="mode must be one of .*got 'trian'"):
        model([], mode='trian')
    with pytest.raises(ValueError, match='compares 2 views .* gives 3 views'):
        model([torch.zeros(2, 3, 32, 32)] * 3)
    with pytest.raises(ValueError, match='gives one tensor'):
        model(torch.zeros(2, 3, 32, 32))
    with pytest.raises(NotImplementedError, match='BYOL predicts nothing'):
        model(torch.zeros(2, 3, 32, 32), mode='test')


@pytest.mark.parametrize('name', [name for name in ALL if name != 'MultiTask'])  # which has several, by name
def test_models_without_a_part(name):
    """Where a neck is optional the model trains without it, elsewhere one line says that it is needed."""
    optional = ('neck', 'head') if 'Classif' in name else ('neck', ) if name in WITHOUT_NECK else ()
    for part in ('neck', 'head'):
        if part in optional:
            if part in tiny.CONFIGS[name]:
                model = tiny.build(name, **{part: None})
                assert getattr(model, part) is None
                if part == 'head':
                    with pytest.raises(ConfigError, match=rf'{name} without a head .* gives features only'):
                        model(**tiny.batch(name))
        else:
            with pytest.raises(ConfigError, match=f'{tiny.CONFIGS[name]["type"]}.* {part}.* None'):
                tiny.build(name, **{part: None})
    if name == 'DeepCluster':
        model = tiny.build(name, neck=None, head=dict(tiny.CONFIGS[name]['head'], with_avg_pool=True))
        same = tiny.build(name)
        data = tiny.batch(name)
        assert model.train_step(data)['loss'].equal(same.train_step(data)['loss'])


@pytest.mark.parametrize('name', [name for name in ALL if name != 'DeepCluster'])
def test_images_of_other_channels(name):
    """One line in the first iteration, also where patches are multiplied without a convolution (MAE, CAE)."""
    model, data = tiny.build(name), tiny.batch(name)
    data['img'] = map_tensors(data['img'], lambda v: v.narrow(-3, 0, 1) if v.dim() >= 4 else v)
    message = 'images of 3 channels and gets images of 1: set model.backbone.in_channels=1, or let the data give 3'
    if 'mmcls' in model.backbone.__module__:
        message = 'a convolution takes 3 channels and gets 1: in_channels of the backbone'
    with pytest.raises(ConfigError, match=message):
        model(**data)
    with pytest.raises(ConfigError, match=message):
        model(torch.zeros(2, 1, 32, 32), mode='extract')


def test_edges_have_two_channels():
    model = tiny.build('DeepCluster', backbone=tiny.BACKBONE)
    with pytest.raises(ConfigError, match='3 channels and gets images of 2: .* with_sobel=True makes 2 of any number'):
        model(**tiny.batch('DeepCluster'))


ONE_IMAGE = dict(
    SimCLR='compares the images', SimCLRMultiCrop='compares the images', MoCoV3='compares the images',
    DCLW='compares the images', SupCon='compares the images',
    BarlowTwins='compares the images', VICReg='compares the images', LeJEPA='compares the images',
    MSN='compares the images', DINOv2='compares the images',
    NNCLR='compares the images', SwAV='compares the images', SwAVMomentum='compares the images',
    BYOL='neck.bn0 is a batch norm', SimSiam='neck.bn0 is a batch norm', SimReg='neck.bn0 is a batch norm',
    ODC='neck.bn0 is a batch norm', MultiTask='necks.large.bn0 is a batch norm')  # yapf: disable


@pytest.mark.parametrize('name', ALL)
def test_a_batch_of_one_image(name):
    """What is refused before the training is what fails in it, and nothing else."""
    # maps of several positions: the norms of backbones have something to normalise
    model = tiny.build(name) if name in tiny.TRANSFORMERS else tiny.build(
        name, backbone=dict(tiny.CONFIGS[name]['backbone'], strides=(1, 1, 1, 1)))
    reason = model.refuses_one_image(1)
    assert reason is None if name not in ONE_IMAGE else ONE_IMAGE[name] in reason
    # two processes have two images together, which SyncBN and losses see
    assert model.refuses_one_image(2) is None
    if reason:
        with pytest.raises(ValueError, match='compares the images|more than 1 value per channel'):
            model(**tiny.batch(name, 1))
    else:
        assert model(**tiny.batch(name, 1))
    if name == 'BYOL':
        alone = tiny.build(name, neck=dict(tiny.NECK, norm_cfg=dict(type='BN')))
        assert 'neck.bn0' in alone.refuses_one_image(2)


@pytest.mark.parametrize('name', ['DeepCluster', 'NPID', 'ODC'])
def test_views_for_an_algorithm_of_single_images(name):
    model, data = tiny.build(name), tiny.batch(name)
    with pytest.raises(ValueError, match='takes one view of each image, the data gives a list of 2; .*SingleView'):
        model(**dict(data, img=[data['img']] * 2))


def test_pretrained_initialisation(tmp_path, caplog):
    """Pitfall: a conversion that silently loads nothing."""
    source = tiny.build('SimCLR', seed=5)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'a.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='backbone.')
    model = tiny.build('MoCo', backbone=dict(tiny.BACKBONE, init_cfg=init_cfg))
    assert all(a.equal(b) for a, b in zip(model.backbone.state_dict().values(), source.backbone.state_dict().values()))
    assert model.encoder_k[0].conv1.weight.equal(source.backbone.conv1.weight)
    assert f'{len(source.backbone.state_dict())} matched' in caplog.text
    init_cfg['prefix'] = 'bakbone.'
    with pytest.raises(ValueError):
        tiny.build('MoCo', backbone=dict(tiny.BACKBONE, init_cfg=init_cfg))


@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_compiled_parts_give_the_same_loss(name):
    from torch._inductor import config as inductor
    plain, model, data = tiny.build(name), tiny.build(name), tiny.batch(name)
    keys = list(model.state_dict())
    for part in model.compile_parts():
        part.compile()
    assert list(model.state_dict()) == keys
    with inductor.patch(fallback_random=True):  # its own random numbers are others
        for seed in range(2):
            losses = []
            for m in (model, plain):
                torch.manual_seed(seed)  # MAE draws masks
                losses.append(step(m, data))
            torch.testing.assert_close(*losses, rtol=5e-4, atol=1e-4)


@pytest.mark.parametrize('name', [n for n in ALL if ALGORITHMS.get(tiny.CONFIGS[n]['type']).momentum_parts])
def test_every_moving_average_is_found(name):
    """In the weights, and in the model while it is trained."""
    model = tiny.build(name)
    part = getattr(model, model.momentum_parts[0])
    with torch.no_grad():
        for i, parameter in enumerate(part.parameters()):
            parameter.fill_(i)
    weights = teacher_weights(model.state_dict())
    backbone = model.teacher_backbone().state_dict()
    own = {key for key in model.state_dict() if key.startswith('backbone.')}
    assert own == {key for key in weights if key.startswith('backbone.')} == {f'backbone.{key}' for key in backbone}
    assert all(torch.equal(weights[f'backbone.{key}'], value) for key, value in backbone.items())
    neck = part[1].state_dict() if isinstance(part, MomentumEncoder) and len(part) > 1 else {}
    assert {key for key in weights if key.startswith('neck.')} == {f'neck.{key}' for key in neck}
    assert all(torch.equal(weights[f'neck.{key}'], value) for key, value in neck.items())


def test_no_moving_average():
    with pytest.raises(ConfigError, match='SimCLR has no moving average of its backbone'):
        tiny.build('SimCLR').teacher_backbone()
