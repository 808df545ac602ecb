"""Several tasks on one backbone: what each takes, what the loss is, and how it is trained and evaluated."""
import numpy as np
import pytest
import torch
from mmcv import Config
from sklearn.metrics import average_precision_score

from mmssl.apis import set_random_seed, train_model
from mmssl.core import EvalHook
from mmssl.core.distributed import DistributedDataParallel
from mmssl.core.evaluation import collect_outputs, evaluate_outputs
from mmssl.datasets import build_dataloader, build_dataset
from mmssl.datasets.pipelines.sample import SampleStep
from mmssl.datasets.registry import PIPELINES
from mmssl.models import build_algorithm
from mmssl.models.losses import cross_entropy, multi_label_cross_entropy
from mmssl.utils.errors import ConfigError

BACKBONE = dict(
    type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4, norm_cfg=dict(type='SyncBN'))
HEAD = dict(type='ClsHead', with_avg_pool=True, in_channels=None, num_classes=10)
TASKS = dict(
    digit=dict(input='whole', stages=[4], head=HEAD, weight=2.),
    parts=dict(
        input='patches',
        stages=[2, 3],
        neck=dict(
            type='ChainNeck',
            necks=[
                dict(type='MLPNeck', channels=[6], with_last_act=True),
                dict(type='ConcatTowers', num_towers=4),
                dict(type='MLPNeck', channels=[5])
            ]),
        head=dict(type='ClsHead', in_channels=None, num_classes=3, loss=dict(type='MultiLabelLoss')),
        label='traits'))


def batch(size=6, start=0, stop=None):
    generator = torch.Generator().manual_seed(3)
    img = dict(
        whole=torch.randn(size, 1, 16, 16, generator=generator),
        patches=torch.randn(size, 4, 1, 8, 8, generator=generator))
    digit = torch.randint(10, (size, ), generator=generator)
    digit[0] = -1
    traits = torch.randint(-1, 2, (size, 3), generator=generator)
    part = slice(start, stop)
    return dict(
        img={
            name: images[part]
            for name, images in img.items()
        },
        label=dict(digit=digit[part], traits=traits[part]),
        idx=torch.arange(size)[part])


def build(tasks=TASKS, seed=0, **options):
    torch.manual_seed(seed)
    model = build_algorithm(dict(type='MultiTask', backbone=BACKBONE, tasks=tasks, **options))
    model.init_weights()
    return model


def test_losses_are_those_of_the_parts():
    model, data = build(), batch()
    assert tuple(model.backbone.out_indices) == (2, 3, 4)
    out = model.train_step(data)
    digit, parts = model.heads['digit'], model.heads['parts']
    whole = model.backbone(data['img']['whole'])[-1].mean((2, 3))
    patch = model.backbone(data['img']['patches'].flatten(0, 1))[1].mean((2, 3))  # stage 3, the last of its two
    first, _, last = model.necks['parts'].necks
    joined = last.fc0(first.fc0(patch).relu().view(6, 24))
    expected = {
        'digit.loss': cross_entropy(digit.fc_cls(whole), data['label']['digit']),
        'parts.loss': multi_label_cross_entropy(parts.fc_cls(joined), data['label']['traits'])
    }
    for name, value in expected.items():
        torch.testing.assert_close(out['log_vars'][name], value.detach())
    torch.testing.assert_close(out['loss'], 2 * expected['digit.loss'] + expected['parts.loss'])
    assert out['num_samples'] == 6 and {'digit.acc', 'parts.acc'} < set(out['log_vars'])
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    got = torch.autograd.grad(out['loss'], [p for p in model.parameters() if p.requires_grad])
    want = torch.autograd.grad(2 * expected['digit.loss'] + expected['parts.loss'],
                               [p for p in model.parameters() if p.requires_grad])
    for name, a, b in zip(names, got, want):
        torch.testing.assert_close(a, b, msg=lambda text: f'{name}: {text}', rtol=1e-3, atol=1e-6)


def test_the_backbone_runs_once_an_input_and_stops_behind_the_last_stage():
    model, calls = build(), []
    for i, name in enumerate(model.backbone.res_layers, 1):
        getattr(model.backbone, name).register_forward_hook(lambda *_, i=i: calls.append(i))
    model.scores(batch()['img'])
    assert calls == [1, 2, 3, 4, 1, 2, 3]
    model.extract_feat(batch()['img']['whole'])
    assert calls[7:] == [1, 2, 3, 4]


def test_stages_come_in_the_order_asked():
    model = build(dict(a=dict(stages=[3, 1, 3], head=HEAD), b=dict(stages=[2], head=HEAD)))
    img = batch()['img']['whole']
    channels = {name: [maps.shape[1] for maps in feats] for name, feats in model.features(img).items()}
    assert channels == dict(a=[16, 4, 16], b=[8])


def test_one_image_and_one_label_need_no_names():
    model = build(dict(a=dict(head=HEAD), b=dict(head=HEAD, weight=0.)))
    data = batch()
    out = model.train_step(dict(data, img=data['img']['whole'], label=data['label']['digit']))
    assert out['loss'] == out['log_vars']['a.loss']
    assert set(model(data['img']['whole'], mode='test')) == {'a', 'b'}
    assert model(data['img']['whole'], mode='extract')[0].shape == (6, 32, 2, 2)


def test_labels_of_patches():
    """A label for each patch, N x P, meets as many rows of scores."""
    model = build(dict(patch=dict(head=HEAD)))
    labels = torch.randint(10, (6, 4))
    patches = batch()['img']['patches']
    out = model.train_step(dict(img=patches, label=labels))
    scores = model.heads['patch'](model.backbone(patches.flatten(0, 1)))
    torch.testing.assert_close(out['loss'], cross_entropy(scores[0], labels.flatten()))
    assert model(patches, mode='test')['patch'].shape == (6, 4, 10)


def test_frozen_backbone():
    model = build(freeze_backbone=True).train()
    assert not any(m.training for m in model.backbone.modules())
    before = [b.clone() for b in model.backbone.buffers()]
    model.train_step(batch())['loss'].backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(a.equal(b) for a, b in zip(model.backbone.buffers(), before))
    assert all(p.grad is not None for p in [*model.heads.parameters(), *model.necks.parameters()])


@pytest.mark.parametrize('tasks, message', [
    (dict(), 'needs one task or more'),
    (dict(a=dict(hed=HEAD)), "the task a has no 'hed'; did you mean 'head'"),
    (dict(a=dict(weight=1.)), 'the task a needs a head'),
    (dict(a=dict(head=HEAD, weight='1')), "the weight of the task a is a number of 0 or more, got '1'"),
    (dict(a=dict(head=HEAD, stages=4)), r'stages of the task a are a list such as \[4\], got 4'),
    (dict(a=dict(head=HEAD, stages=[7])), 'from 0 to 4'),
    (dict(a=dict(head=HEAD, stages=[])), r'the task a takes the stages \[\]'),
    (dict(a=dict(head=dict(type='ContrastiveHead'))), 'a head that compares scores with labels.*ContrastiveHead'),
])
def test_faulty_tasks(tasks, message):
    with pytest.raises(ConfigError, match=message):
        build(tasks)


def test_a_stage_that_the_backbone_does_not_give():
    with pytest.raises(ConfigError, match=r'takes the stages \[2\], the backbone gives \[4\]'):
        build_algorithm(
            dict(type='MultiTask', backbone=dict(BACKBONE, out_indices=[4]), tasks=dict(a=dict(stages=[2], head=HEAD))))


def test_names_that_a_batch_has_not():
    data = batch()
    for change, message in ((dict(input='hole'),
                             r"the task digit takes the input 'hole', a batch has \['whole', 'patc"),
                            (dict(label='class'), r"takes the label 'class', a batch has \['digit', 'traits'\]"),
                            (dict(input=None), r"takes the input 'digit'")):
        with pytest.raises(ConfigError, match=message):
            build(dict(TASKS, digit=dict(TASKS['digit'], **change)))(**data)


def gradients_on_rank(rank, world_size):
    model = DistributedDataParallel(build(seed=rank).double())
    data = batch(start=3 * rank, stop=3 * rank + 3)
    data['img'] = {name: images.double() for name, images in data['img'].items()}
    loss = model.train_step(data, None)['loss']
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def test_two_processes_equal_one(run_distributed):
    """Also where the process without one of its labels has other denominators."""
    model, data = build().double(), batch()
    data['img'] = {name: images.double() for name, images in data['img'].items()}
    loss = model.train_step(data)['loss']
    loss.backward()
    ranks = run_distributed(gradients_on_rank)
    torch.testing.assert_close((ranks[0][0] + ranks[1][0]) / 2, loss.detach())
    for grads in ranks:
        torch.testing.assert_close(grads[1], [p.grad for p in model.parameters() if p.grad is not None])


@PIPELINES.register_module()
class TraitsOfDigits(SampleStep):
    """Is it even, above four, and does the lower half hold more ink? The last is left open for every tenth image."""
    makes = ('label', )

    def __call__(self, sample):
        digit, rows = sample['label'], len(sample['img'])
        lower = -1 if sample['idx'] % 10 == 0 else int(sample['img'][rows // 2:].sum() > sample['img'].sum() / 2)
        traits = np.array([digit % 2 == 0, digit > 4, lower], np.int8)
        return dict(sample, label=dict(digit=digit, traits=traits))


def data_of(**source):
    return dict(
        type='SampleDataset',
        data_source=dict(type='Digits', color_type='grayscale', **source),
        pipeline=[dict(type='TraitsOfDigits'), dict(type='RandomCrop', size=8, padding=1)],
        prefetch=True)


@pytest.mark.long
def test_trained_as_a_user_does(tmp_path):
    """Digits and their traits are learned together; evaluation gives the metrics of each task by their own measure."""
    traits = dict(type='ClsHead', with_avg_pool=True, in_channels=None, num_classes=3, loss=dict(type='MultiLabelLoss'))
    cfg = Config(
        dict(
            model=dict(
                type='MultiTask',
                backbone=dict(BACKBONE, base_channels=8, stem_channels=8),
                tasks=dict(digit=dict(head=HEAD), traits=dict(head=traits, weight=0.5))),
            data=dict(
                samples_per_gpu=64,
                workers_per_gpu=0,
                train=data_of(num_images=1280),
                val=data_of(test_mode=True, num_images=256)),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
            optimizer_config={},
            lr_config=dict(policy='fixed'),
            runner=dict(type='EpochBasedRunner', max_epochs=6),
            evaluation=dict(interval=6, save_best='traits_mAP'),
            log_config=dict(interval=20, hooks=[]),
            seed=1,
            work_dir=str(tmp_path)))
    set_random_seed(1)
    dataset, model = build_dataset(cfg.data.train), build_algorithm(cfg.model)
    model.init_weights()
    runner = train_model(model, dataset, cfg, meta={})
    loader = next(hook for hook in runner.hooks if isinstance(hook, EvalHook)).dataloader
    outputs = collect_outputs(model, loader)
    found = evaluate_outputs(outputs, loader.dataset, label_names=model.label_names, logger='silent', per_class=True)
    assert list(found['traits_AP']) == ['0', '1', '2']  # the names of the classes are those of the digits
    labels = outputs.labels
    hits = (outputs['digit'].argmax(1) == labels['digit']).float().mean().item()
    assert found['digit_top1'] == pytest.approx(100 * hits) and hits > 0.8
    known = labels['traits'][:, 2] >= 0
    each = [
        average_precision_score(labels['traits'][rows, c] > 0, outputs['traits'][rows, c])
        for c, rows in ((0, slice(None)), (1, slice(None)), (2, known))
    ]
    assert not known.all() and found['traits_mAP'] == pytest.approx(100 * np.mean(each)) and np.mean(each) > 0.8
    assert (tmp_path / 'best_traits_mAP_epoch_6.pth').exists()
    assert set(found) >= {'digit_top1', 'digit_top5', 'traits_mAP'}


def unused_on_rank(rank, world_size, folder):
    cfg = Config(
        dict(
            model=dict(
                type='MultiTask', backbone=dict(BACKBONE, out_indices=[2]), tasks=dict(a=dict(head=HEAD, stages=[2]))),
            data=dict(
                samples_per_gpu=8,
                workers_per_gpu=0,
                train=dict(
                    type='SingleViewDataset',
                    data_source=dict(type='Digits', color_type='grayscale', num_images=64),
                    pipeline=[],
                    prefetch=True)),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            optimizer=dict(type='SGD', lr=0.1),
            optimizer_config={},
            lr_config=dict(policy='fixed'),
            runner=dict(type='IterBasedRunner', max_iters=3),
            log_config=dict(interval=20, hooks=[]),
            seed=1,
            work_dir=folder))
    model = build_algorithm(cfg.model)
    model.init_weights()
    try:
        train_model(model, build_dataset(cfg.data.train), cfg, distributed=True, meta={})
    except ConfigError as error:
        return str(error)


@pytest.mark.long
def test_unused_parameters_are_named(run_distributed, tmp_path):
    for text in run_distributed(unused_on_rank, str(tmp_path)):
        assert 'parameters get no gradient' in text and 'backbone.layer3.0.conv1.weight' in text
        assert 'find_unused_parameters=True' in text


def test_outputs_carry_labels_of_every_kind():
    """collect_outputs gathers labels by name in the order of the samples, whatever the order of the batches."""
    dataset = build_dataset(data_of(num_images=20))
    loader = build_dataloader(
        dataset, 6, 6, 0, dist=False, shuffle=True, prefetch=True, img_norm_cfg=dict(mean=[0.3], std=[0.3]))
    model = build(dict(digit=dict(head=HEAD), traits=dict(head=dict(HEAD, num_classes=3))))
    outputs = collect_outputs(model, loader)
    assert outputs.labels['digit'].tolist() == [dataset[i]['label']['digit'] for i in range(20)]
    assert outputs.labels['traits'].tolist() == [dataset[i]['label']['traits'].tolist() for i in range(20)]
    with pytest.raises(ConfigError, match="the output traits has no label: did you mean 'traits'"):
        evaluate_outputs(outputs, dataset, label_names=dict(traits='trait'))


def test_several_sets_are_measured_apart():
    """As accuracies are: over all samples, and of each part; with the k that were asked for."""
    parts = [data_of(num_images=20), data_of(num_images=30, test_mode=True)]
    dataset = build_dataset(parts)
    loader = build_dataloader(
        dataset, 6, 6, 0, dist=False, shuffle=True, prefetch=True, img_norm_cfg=dict(mean=[0.3], std=[0.3]))
    model = build(dict(digit=dict(head=HEAD), traits=dict(head=dict(HEAD, num_classes=3))))
    outputs = collect_outputs(model, loader)
    found = evaluate_outputs(outputs, dataset, label_names=model.label_names, logger='silent', topk=(2, ))
    assert list(found) == [f'{part}{name}' for part in ('', 'set0_', 'set1_') for name in ('digit_top2', 'traits_mAP')]
    for rows, part in ((slice(20), 'set0_'), (slice(20, None), 'set1_'), (slice(None), '')):
        truth = outputs.labels['digit'][rows]
        hits = (outputs['digit'][rows].topk(2).indices == truth[:, None]).any(1)
        assert found[f'{part}digit_top2'] == pytest.approx(100 * hits.float().mean().item())
    outputs.labels['digit'][:] = -1
    with pytest.raises(ConfigError, match='no sample has a label for the output digit'):
        evaluate_outputs(outputs, dataset, logger='silent')


@pytest.mark.parametrize('data, tasks, message', [
    (dict(), dict(digit=dict(head=dict(HEAD, num_classes=9))),
     r'tasks.digit.head.num_classes is 9, .* set num_classes=10'),
    (dict(labels=dict(digit=None, turn=list(range(7)) + [0] * 57)),
     dict(digit=dict(head=HEAD), side=dict(label='turn', head=dict(HEAD, num_classes=4))),
     r'tasks.side.head.num_classes is 4, its labels in data.train go up to 6; .* set num_classes=7'),
])
def test_too_few_outputs_are_told_before_the_training(data, tasks, message, tmp_path):
    """On a GPU a label beyond the scores is an assertion of the device, which names neither."""
    cfg = Config(
        dict(
            model=dict(type='MultiTask', backbone=BACKBONE, tasks=tasks),
            data=dict(samples_per_gpu=8, workers_per_gpu=0),
            optimizer=dict(type='SGD', lr=0.1),
            runner=dict(type='IterBasedRunner', max_iters=1),
            work_dir=str(tmp_path)))
    dataset = build_dataset(
        dict(
            type='SampleDataset',
            data_source=dict(type='Digits', color_type='grayscale', num_images=64),
            pipeline=[],
            prefetch=True,
            **data))
    with pytest.raises(ConfigError, match=message):
        train_model(build_algorithm(cfg.model), dataset, cfg, meta={})
