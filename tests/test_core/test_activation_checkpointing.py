"""Blocks that are computed again in the backward pass: the same losses, gradients, buffers and random numbers."""
import copy
import re
import sys
from pathlib import Path

import pytest
import torch

from mmssl.core.activation_checkpointing import checkpoint_activations, find_blocks
from mmssl.models import build_backbone
from mmssl.utils.errors import ConfigError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test_models'))
import tiny  # noqa: E402, isort: skip

SMALL = dict(in_channels=3, drop_path_rate=0.3)
NETWORKS = dict(
    resnet=dict(type='ResNet', depth=50, base_channels=8, stem_channels=8, norm_cfg=dict(type='SplitBN', num_splits=2)),
    regnet=dict(type='RegNet', arch=dict(depth=7, w_0=16, w_a=20., w_m=2.2, group_width=8), drop_path_rate=0.3),
    timm=dict(type='TIMMBackbone', model_name='efficientnet_lite0', drop_path_rate=0.3),
    timm_vit=dict(
        type='TIMMBackbone', model_name='vit_tiny_patch16_224', img_size=32, depth=3, drop_path_rate=0.3, drop_rate=.1),
    torchvision=dict(type='TorchvisionBackbone', model_name='mobilenet_v3_small', out_indices=[1, 3]),
    torchvision_resnet=dict(type='TorchvisionBackbone', model_name='resnet18'),
    mmcls=dict(
        type='mmcls.SwinTransformer',
        arch=dict(embed_dims=12, depths=[2, 2], num_heads=[2, 4]),
        img_size=64,
        out_indices=(1, ),
        drop_path_rate=0.3))


def step(model, *args):
    """Loss, gradients, buffers, the next random number, and the bytes that are kept for the backward pass."""
    torch.manual_seed(3)
    kept, blocks = {}, {id(block) for block in find_blocks(model).values() if 'forward' in vars(block)}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    hooks = [  # a block's input is kept too, though not as a tensor of the graph
        m.register_forward_pre_hook(lambda m, args: keep(args[0]) is None or None) for m in model.modules()
        if id(m) in blocks
    ]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model(*args)
    for hook in hooks:
        hook.remove()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    size = sum(n for place, (n, _) in kept.items() if place not in weights)
    kept.clear()
    if isinstance(out, dict):
        loss = model.parse_losses(out)[0]
    else:
        loss = sum(part.square().mean() for part in out)
    loss.backward()
    grads = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return dict(loss=loss.detach(), grads=grads, buffers=dict(model.named_buffers()), random=torch.rand(1)), size


@pytest.mark.parametrize('name', NETWORKS)
def test_networks(name):
    """Every kind of network, in training mode, bit for bit; batch norms count a batch once."""
    torch.manual_seed(0)
    plain = build_backbone(NETWORKS[name]).double()
    saving = copy.deepcopy(plain)
    names = checkpoint_activations(saving, True)
    assert names and len(names) == len(set(names))
    assert sorted(saving.state_dict()) == sorted(plain.state_dict())
    images = torch.randn(6, 3, 64, 64)[..., :32, :32] if name == 'timm_vit' else torch.randn(6, 3, 64, 64)
    expected, whole = step(plain, images.double())
    found, rest = step(saving, images.double())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # at this size the stem, which is no block, keeps 0.4 of what a ResNet-18 does
    assert rest < 0.55 * whole, f'{rest} bytes are kept, {whole} without'
    plain.eval(), saving.eval()
    torch.testing.assert_close(saving(images.double()), plain(images.double()), rtol=0, atol=0)


@pytest.mark.parametrize('name', ['MoCo', 'DINOv2', 'IJEPA', 'MAE', 'SimMIM', 'CAE', 'SwAV', 'ODC'])
def test_algorithms(name):
    plain = tiny.build(name)
    saving = copy.deepcopy(plain)
    followers = tuple(f'{part}.' for part in plain.momentum_parts)
    names = checkpoint_activations(saving, True)
    assert names and not [block for block in names if block.startswith(followers)]
    data = tiny.batch(name)
    expected, found = ({}, {})
    for model, results in ((plain, expected), (saving, found)):
        torch.manual_seed(3)
        out = model.train_step(data, None)
        out['loss'].backward()
        results.update(
            loss=out['loss'].detach(),
            grads={
                key: weight.grad
                for key, weight in model.named_parameters() if weight.grad is not None
            },
            state=model.state_dict())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_own_switches_count_batches_once():
    """`with_cp` of our own networks computes blocks again in the same way."""
    images = torch.randn(4, 3, 32, 32)
    for name in ('resnet', 'regnet'):
        torch.manual_seed(0)
        plain = build_backbone(dict(NETWORKS[name], **(dict(norm_cfg=dict(type='BN')) if name == 'resnet' else {})))
        torch.manual_seed(0)
        saving = build_backbone(
            dict(NETWORKS[name], with_cp=True, **(dict(norm_cfg=dict(type='BN')) if name == 'resnet' else {})))
        torch.testing.assert_close(step(saving.train(), images)[0], step(plain.train(), images)[0], rtol=0, atol=0)


def test_part_of_the_blocks():
    model = tiny.build('MoCo')
    model.encoder_k[0].requires_grad_(True)  # a momentum encoder that a user has unfrozen is left alone all the same
    everything = list(find_blocks(model))
    assert everything == [f'backbone.layer{stage}.{block}' for stage in (1, 2, 3, 4) for block in (0, 1)]
    for options, expected in ((dict(every=3), everything[::3]), (dict(share=0.5), everything[:4]),
                              (dict(share=.7, every=2), everything[:6:2])):
        assert checkpoint_activations(copy.deepcopy(model), options) == expected
    model.backbone.layer1.requires_grad_(False)
    assert list(find_blocks(model)) == everything[2:]


@pytest.mark.parametrize('options, message', [
    (dict(evry=2), "no option 'evry'; did you mean 'every'"),
    (dict(every=0), 'every takes each k-th block, k from 1 on, got 0'),
    (dict(share=1.5), 'share is a part of the blocks, above 0 and at most 1, got 1.5'),
])
def test_refused_options(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        checkpoint_activations(tiny.build('MoCo'), options)


@pytest.mark.parametrize('cfg, message', [
    (dict(NETWORKS['regnet'], with_cp=True), 'with_cp=True, which is activation checkpointing too'),
    (dict(type='AlexNet'), 'has no residual blocks or transformer layers'),
    (dict(type='TorchvisionBackbone', model_name='resnet18', return_nodes=['layer2.0.relu']),
     'layer2.0.relu (return_nodes) lies within layer2.0, which is called as a whole'),
])
def test_refused_networks(cfg, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        checkpoint_activations(build_backbone(cfg), True)
