"""DenseCL: correspondence and losses from the paper's formula, its two queues, the grid."""
import copy

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import DenseCL, DenseCLNeck, build_algorithm
from mmssl.models.algorithms.densecl import nearest_positions


def cosine(a, b):
    return a.dot(b) / a.norm() / b.norm()


def naive_match(queries, keys):
    """Equation 3 of https://arxiv.org/abs/2011.09157, position by position."""
    return torch.tensor(
        [[max(range(key.shape[1]), key=lambda j: cosine(query[:, i], key[:, j]).item()) for i in range(query.shape[1])]
         for query, key in zip(queries, keys)])


def naive_info_nce(query, positive, queue):
    logits = torch.stack([query.dot(key) for key in [positive, *queue]]) / 0.2
    return -logits.log_softmax(0)[0]


def test_correspondence():
    queries, keys = torch.randn(3, 8, 6).double(), torch.randn(3, 8, 4).double()
    keys *= torch.rand(3, 1, 4) * 10  # lengths make no difference
    match = nearest_positions(queries.requires_grad_(), keys)
    assert match.equal(naive_match(queries, keys)) and not match.requires_grad
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert nearest_positions(queries, keys).equal(match)


def manual_densecl(model, data, queue, queue2):
    """Losses, gradients and the keys for both queues, with loops over images and positions."""
    model = copy.deepcopy(model)
    online = [*model.backbone.state_dict().values(), *model.neck.state_dict().values()]
    maps_q = model.backbone(data['img'][0])
    q, dense_q = F.normalize(model.neck.mlp(maps_q[0].mean((2, 3))), dim=1), model.neck.mlp2(maps_q[0]).flatten(2)
    with torch.no_grad():
        for slow, fast in zip(model.encoder_k.state_dict().values(), online, strict=True):
            slow.copy_(0.9 * slow + 0.1 * fast if slow.is_floating_point() else fast)
        backbone, neck = model.encoder_k
        maps_k = backbone(data['img'][1])
        k, dense_k = F.normalize(neck.mlp(maps_k[0].mean((2, 3))), dim=1), neck.mlp2(maps_k[0]).flatten(2)
    match = naive_match(maps_q[0].flatten(2), maps_k[0].flatten(2))
    single = [naive_info_nce(q[b], k[b], queue) for b in range(len(q))]
    dense = [
        naive_info_nce(F.normalize(dense_q[b, :, i], dim=0), F.normalize(dense_k[b, :, match[b, i]], dim=0), queue2)
        for b in range(len(q)) for i in range(dense_q.shape[2])
    ]
    losses = 0.7 * sum(single) / len(single), 0.3 * sum(dense) / len(dense)
    sum(losses).backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return losses, grads, k, F.normalize(dense_k.mean(2), dim=1)


def test_step_by_step():
    """Pitfall: the two queues swapped. One takes the keys of images, the other averaged keys of positions.

    Three iterations, in which a queue of 20 wraps around; keys and targets get no gradient.
    """
    model = tiny.build('DenseCL').double()
    assert isinstance(model, DenseCL) and model.loss_lambda == 0.3
    model.queue2.copy_(F.normalize(torch.randn_like(model.queue2), dim=0))
    queues, position = [list(model.queue.T.clone()), list(model.queue2.T.clone())], 0
    for i, size in enumerate((8, 8, 6)):
        data = tiny.batch('DenseCL', size, seed=i)
        data['img'] = [view.double() for view in data['img']]
        (single, dense), grads, *keys = manual_densecl(model, data, *queues)
        model.zero_grad()
        out = model.train_step(data)
        out['loss'].backward()
        torch.testing.assert_close(out['loss'], single + dense)
        torch.testing.assert_close(out['log_vars']['loss_single'], single.detach().float())
        torch.testing.assert_close(out['log_vars']['loss_dense'], dense.detach().float())
        found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        assert found.keys() == grads.keys() and not any('encoder_k' in n for n in found)
        for name, grad in grads.items():
            torch.testing.assert_close(found[name], grad, rtol=1e-6, atol=1e-9)
        for row in range(size):
            for queue, key in zip(queues, keys):
                queue[position] = key[row]
            position = (position + 1) % 20
        torch.testing.assert_close(model.queue, torch.stack(queues[0]).T)
        torch.testing.assert_close(model.queue2, torch.stack(queues[1]).T)
        assert model.queue_ptr.tolist() == model.queue2_ptr.tolist() == [position]
        assert not torch.allclose(model.queue, model.queue2)
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad if p.grad is not None else 0


def test_without_the_dense_loss_it_is_moco():
    """loss_lambda 0: the loss of images alone; the dense branch still has (zero) gradients, which DDP needs."""
    model = tiny.build('DenseCL')
    model.loss_lambda = 0.
    moco = tiny.build('MoCo', backbone=tiny.CONFIGS['DenseCL']['backbone'])
    state = {k: v for k, v in model.state_dict().items() if 'mlp2' not in k and 'queue2' not in k}
    moco.load_state_dict(state)
    data = tiny.batch('DenseCL')
    out = model.train_step(data)
    out['loss'].backward()
    torch.testing.assert_close(out['loss'], moco.train_step(data)['loss'])
    assert out['log_vars']['loss_dense'] == 0
    assert all(not p.grad.any() for p in model.neck.mlp2.parameters())


def test_neck():
    neck, maps = DenseCLNeck(8, 6, 4), torch.randn(5, 8, 3, 2)
    assert list(
        neck.state_dict()) == [f'{m}.{i}.{k}' for m in ('mlp', 'mlp2') for i in (0, 2) for k in ('weight', 'bias')]
    single, dense, mean = neck((maps, ))
    torch.testing.assert_close(single, neck.mlp[2](neck.mlp[0](maps.mean((2, 3))).relu()))
    assert dense.shape == (5, 4, 6)
    w_1, b_1, w_2, b_2 = neck.mlp2.parameters()
    for i in range(6):
        hidden = (maps[:, :, i // 2, i % 2] @ w_1[:, :, 0, 0].T + b_1).relu()
        torch.testing.assert_close(dense[:, :, i], hidden @ w_2[:, :, 0, 0].T + b_2)
    torch.testing.assert_close(mean, dense.mean(2))
    pooled = DenseCLNeck(8, 6, 4, num_grid=1)
    pooled.load_state_dict(neck.state_dict())
    torch.testing.assert_close(pooled([maps])[1], neck.mlp2(maps.mean((2, 3), keepdim=True)).flatten(2))
    torch.testing.assert_close(pooled([maps])[0], single)


def test_correspondence_is_found_on_the_grid_of_the_neck():
    """With num_grid the backbone's maps are pooled to the grid of the dense projections, of queries and of keys."""
    neck = dict(tiny.CONFIGS['DenseCL']['neck'], num_grid=3)
    backbone = dict(tiny.BACKBONE, strides=(1, 1, 2, 1))
    model = tiny.build('DenseCL', backbone=backbone, neck=neck)
    plain = tiny.build('DenseCL', backbone=backbone)
    plain.load_state_dict(model.state_dict())

    class Pooled(nn.Module):
        """Maps of 4 x 4 positions, pooled to 3 x 3 by the backbone already."""

        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            maps = self.net(x)[-1]
            assert maps.shape[2:] == (4, 4)
            return (F.adaptive_avg_pool2d(maps, 3), )

    plain.backbone, plain.encoder_k[0] = Pooled(plain.backbone), Pooled(plain.encoder_k[0])
    data = tiny.batch('DenseCL')
    got, want = model(**data), plain(**data)
    torch.testing.assert_close(got['loss_dense'], want['loss_dense'])
    torch.testing.assert_close(model.queue2, plain.queue2)


def test_dense_features():
    model, img = tiny.build('DenseCL').eval(), torch.randn(2, 3, 32, 32)
    dense = model(img, mode='test')['dense']
    torch.testing.assert_close(dense, F.normalize(model.neck.mlp2(model.backbone(img)[0]).flatten(2), dim=1))


def test_errors_show_values():
    with pytest.raises(ValueError, match='loss_lambda is a share from 0 to 1, got 1.5'):
        build_algorithm(dict(tiny.CONFIGS['DenseCL'], loss_lambda=1.5))
    with pytest.raises(ValueError, match='compares 2 views'):
        tiny.build('DenseCL')([torch.zeros(2, 3, 32, 32)] * 3)
