"""The classifier of mmcls behind our contract: the same keys, losses and scores as mmcls's own."""
import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.errors import ConfigError

SWIN = dict(
    type='mmcls.SwinTransformer',
    arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 2]),
    img_size=24,
    drop_path_rate=0.2,
    out_indices=(1, ),
    stage_cfgs=dict(block_cfgs=dict(window_size=3)))
MODEL = dict(
    type='MMClsImageClassifierWrapper',
    backbone=SWIN,
    neck=dict(type='mmcls.GlobalAveragePooling'),
    head=dict(
        type='mmcls.LinearClsHead',
        num_classes=5,
        in_channels=16,
        init_cfg=None,
        loss=dict(type='mmcls.LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        cal_acc=False),
    init_cfg=[
        dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.),
        dict(type='Constant', layer='LayerNorm', val=1., bias=0.)
    ])
MIXED = dict(augments=[
    dict(type='BatchMixup', alpha=0.8, num_classes=5, prob=0.5),
    dict(type='BatchCutMix', alpha=1.0, num_classes=5, prob=0.5)
])


def build(**changes):
    model = build_algorithm({**MODEL, **changes})
    model.init_weights()
    return model


def batch(size=6):
    return torch.randn(size, 3, 24, 24), torch.arange(size) % 5


def seed_all():
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


@pytest.mark.parametrize('train_cfg', [None, MIXED])
def test_as_mmcls(train_cfg):
    """Loss, gradients and scores; the random numbers of drop path and mixup are drawn in the same order."""
    from mmcls.models import build_classifier
    ours = build(train_cfg=train_cfg)
    parts = {key: MODEL[key] for key in ('backbone', 'neck', 'head')}
    theirs = build_classifier(dict(parts, type='ImageClassifier', train_cfg=train_cfg))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    for _ in range(3):
        img, label = batch()
        seed_all()
        out = ours.train_step(dict(img=img, label=label, idx=torch.arange(6)))
        seed_all()
        expected = theirs.forward_train(img.clone(), label)['loss']
        torch.testing.assert_close(out['loss'], expected)
        assert out['log_vars'].keys() == {'loss'} and out['num_samples'] == 6
        grads = torch.autograd.grad(out['loss'], list(ours.parameters()))
        for a, b in zip(grads, torch.autograd.grad(expected, list(theirs.parameters()))):
            torch.testing.assert_close(a, b)
    ours.eval(), theirs.eval()
    scores = ours(img, mode='test')
    assert list(scores) == ['head1'] and scores['head1'].device.type == 'cpu'
    expected = theirs.simple_test(img, softmax=False, post_process=False)
    torch.testing.assert_close(scores['head1'], expected)
    maps = ours(img, mode='extract')
    assert isinstance(maps, tuple) and maps[0].shape == (6, 16, 3, 3)
    torch.testing.assert_close(ours.head.fc(maps[0].mean((2, 3))), expected)


def test_accuracy_of_hard_labels():
    """mmcls counts no hit whose score is negative: every score is here."""
    model = build(head=dict(MODEL['head'], cal_acc=True, topk=(1, 2))).eval()
    model.head.fc.bias.data.fill_(-100.)
    img, label = batch(10)
    log_vars = model.train_step(dict(img=img, label=label))['log_vars']
    order = model(img, mode='test')['head1'].argsort(1, descending=True)
    for k in (1, 2):
        assert log_vars[f'top-{k}'].item() == pytest.approx(100 *
                                                            (order[:, :k] == label[:, None]).any(1).float().mean())
    mixed = build(head=dict(MODEL['head'], cal_acc=True), train_cfg=MIXED)
    assert 0 <= mixed.train_step(dict(img=img, label=label))['log_vars']['top-1'] <= 100


@pytest.mark.parametrize('head', [
    dict(type='mmcls.StackedLinearClsHead', mid_channels=[8], norm_cfg=dict(type='BN1d')),
    dict(type='mmcls.VisionTransformerClsHead', hidden_dim=8),
])
def test_other_heads(head):
    backbone, neck = SWIN, MODEL['neck']
    if 'Vision' in head['type']:
        neck = None
        backbone = dict(
            type='mmcls.VisionTransformer',
            arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16),
            img_size=24,
            patch_size=8)
    model = build(backbone=backbone, neck=neck, head=dict(head, num_classes=5, in_channels=16)).eval()
    img, label = batch()
    loss = model.train_step(dict(img=img, label=label))['loss']
    scores, = model(img, mode='test').values()
    torch.testing.assert_close(loss, F.cross_entropy(scores, label))


def test_bfloat16_loss_is_computed_in_float32():
    model = build().eval()
    img, label = batch()
    with torch.autocast('cpu', torch.bfloat16):
        loss = model(img, label=label)['loss']
        feats = model.neck(model.extract_feat(img))[0]
    expected = F.cross_entropy(model.head.fc(feats.float()), label, label_smoothing=0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)


def test_pretrained_is_a_whole_classifier(tmp_path, caplog):
    source, model = build(), build_algorithm(dict(MODEL, pretrained=str(tmp_path / 'whole.pth')))
    save_checkpoint(dict(state_dict=source.state_dict()), tmp_path / 'whole.pth')
    model.init_weights()
    assert f'{len(source.state_dict())} matched, 0 missing' in caplog.text
    assert all(a.equal(b) for a, b in zip(model.state_dict().values(), source.state_dict().values()))


def test_weights_of_another_window(caplog, tmp_path):
    """SimMIM at 192 pixels has windows of 6, fine-tuning at 224 those of 7; SciPy has no interp2d any more."""
    small = build()
    for block in small.backbone.stages[0].blocks:
        table = block.attn.w_msa.relative_position_bias_table.data
        table.copy_(torch.arange(25.).view(5, 5).repeat_interleave(2).view(25, 2))  # rises by 5 a row, by 1 a column
    save_checkpoint(dict(state_dict=small.state_dict()), tmp_path / 'small.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'small.pth'))
    large = build(
        backbone=dict(SWIN, img_size=32, init_cfg=pretrained, stage_cfgs=dict(block_cfgs=dict(window_size=4))))
    # the initialisation of the whole model comes before the weights of the backbone
    assert large.backbone.stages[1].blocks[0].attn.w_msa.qkv.weight.equal(
        small.backbone.stages[1].blocks[0].attn.w_msa.qkv.weight)
    assert "under 'backbone.'" in caplog.text and '0 unexpected, 0 mismatched' in caplog.text
    for block in large.backbone.stages[0].blocks:
        table = block.attn.w_msa.relative_position_bias_table.view(7, 7, 2)
        corners_and_centre = table[[0, 0, 6, 6, 3], [0, 6, 0, 6, 3]]
        torch.testing.assert_close(corners_and_centre, torch.tensor([0., 4., 20., 24., 12.])[:, None].expand(5, 2))
        assert (table.diff(dim=0) > table.diff(dim=1).max()).all() and (table.diff(dim=1) > 0).all()


@pytest.mark.parametrize('changes, message', [
    (dict(head=dict(type='ClsHead', in_channels=16)), "takes a head of mmcls .* got 'ClsHead'; Classification takes"),
    (dict(head=dict(type='mmcls.MultiLabelLinearClsHead', num_classes=5, in_channels=16)), 'one label an image'),
    (dict(train_cfg=dict(augment=[])), "train_cfg has the unknown key 'augment'; did you mean 'augments'"),
    (dict(head=dict(MODEL['head'], num_classes=7), train_cfg=MIXED), 'num_classes=5, the head has 7'),
    (dict(backbone=dict(SWIN, img_sice=24)), "no argument 'img_sice'"),
])
def test_errors(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_training_with_evaluation(tmp_path):
    """EvalHook's accuracy is that of the scores; unlabelled samples are refused before the first iteration."""
    from mmcv import Config
    digits = dict(
        type='SingleViewDataset',
        data_source=dict(type='Digits', num_images=40),
        pipeline=[dict(type='Resize', size=24)],
        prefetch=True)
    cfg = Config(
        dict(
            model=dict(MODEL, head=dict(MODEL['head'], num_classes=10)),
            data=dict(samples_per_gpu=20, workers_per_gpu=0, train=digits, val=digits),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            optimizer=dict(
                type='AdamW', lr=1e-3, constructor='TransformerFinetuneConstructor', model_type='swin',
                layer_decay=0.9),
            optimizer_config=dict(grad_clip=dict(max_norm=5.)),
            runner=dict(type='EpochBasedRunner', max_epochs=1),
            evaluation=dict(interval=1, save_best='auto', topk=(1, 3)),
            amp=dict(dtype='bfloat16'),
            seed=0,
            work_dir=str(tmp_path)))
    dataset = build_dataset(cfg.data.train)
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    runner = train_model(model, dataset, cfg, meta={})
    model.eval()
    img = torch.stack([torch.from_numpy(dataset[i]['img']) for i in range(40)]).permute(0, 3, 1, 2) / 255
    with torch.autocast('cpu', torch.bfloat16):
        scores = model((img - 0.3) / 0.3, mode='test')['head1'].float()
    right = (scores.argmax(1).numpy() == dataset.gt_labels).mean() * 100
    assert runner.meta['hook_msgs']['best_score'] == pytest.approx(right)
    dataset.gt_labels[[3, 5]] = -1
    with pytest.raises(ConfigError, match='this model needs a label for each sample, 2 of 40 have none'):
        train_model(model, dataset, cfg, meta={})


@pytest.mark.parametrize('label', [torch.tensor([[0., 1., 0., 0.]] * 2), torch.tensor([[0, 1, 1, 0]] * 2)])
def test_several_labels_or_shares_are_refused(label):
    """Cross-entropy of torch takes floats for shares of classes, without a word in the config."""
    model = build_algorithm(MODEL)
    with pytest.raises(ConfigError, match=r'one integer an image as its label, got torch.* of shape \(2, 4\)'):
        model(torch.zeros(2, 3, 24, 24), label=label)
