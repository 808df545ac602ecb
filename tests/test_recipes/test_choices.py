# Copyright (c) mmssl contributors. All rights reserved.
"""The rules one by one, given facts that are made up: numbers that follow from them, and the reason."""
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mmcv import Config

from mmssl.recipes import choose, fitting, warn
from mmssl.recipes.facts import DataFacts, MachineFacts
from mmssl.recipes.lengths import fit_lengths
from mmssl.recipes.plan import Plan
from mmssl.recipes.shapes import fit_projectors
from mmssl.recipes.views import adapt_views
from mmssl.utils.errors import ConfigError

CPU = MachineFacts('cpu', 2, 8., bfloat16=True)
GPU = MachineFacts('cuda', 16, 80., gpu='GPU', gpus=1, bfloat16=True)
COLOUR = DataFacts(
    images=10_000,
    looked=256,
    classes=0,
    labelled=0,
    multi_label=False,
    sizes=(200, 240, 300),
    channels=3,
    dtype='uint8',
    grey=False,
    broken=0.,
    first_broken='',
    alike=0.,
    norm=dict(mean=[0.5] * 3, std=[0.2] * 3),
    seconds=0.01)
LABELLED = replace(COLOUR, images=1000, classes=10, labelled=1000)

# of a network: 200,000 numbers for an image, which a step keeps of each of two views
SHAPE = SimpleNamespace(width=256, numbers=2e5)


def of_side(side, **changes):
    return replace(COLOUR, sizes=(side, side, side), **changes)


def plan_of(settings=None, **parts):
    base = dict(
        model=dict(type='SimCLR', backbone=dict(type='ResNet')),
        data=dict(samples_per_gpu=8, train=dict(type='SingleViewDataset')),
        optimizer=dict(type='LARS', lr=4.8),
        runner=dict(type='EpochBasedRunner', max_epochs=1))
    return Plan(Config(dict(base, **parts)), settings)


@pytest.mark.parametrize('images, size, machine, expected', [
    (10_000, 32, CPU, 256),
    (10_000, 48, CPU, 128),
    (10_000, 96, CPU, 64),
    (10_000, 224, GPU, 256),
    (1000, 32, CPU, 128),
    (400, 32, CPU, 64),
    (400, 32, replace(CPU, processes=2), 32),
    (50, 32, CPU, 16),
    (10, 32, CPU, 4),
    (10_000, 32, replace(CPU, memory=0.2), 32),
])
def test_batch(images, size, machine, expected):
    """What the method likes, less on a CPU for larger images; four steps an epoch in all processes."""
    plan = plan_of()
    assert choose.batch(plan, machine, 'simclr', images, size, None, SHAPE) == expected
    assert plan.get('data.samples_per_gpu') == expected and plan.get('data.drop_last')


@pytest.mark.parametrize('method, backbone, images, lr, decay', [
    ('simclr', {}, 64, 1e-3, 1e-4),
    ('mae', dict(arch='base'), 512, 2e-3, 0.05),
    ('jigsaw', {}, 64, 0.05, 1e-3),
])
def test_rate_by_batch(method, backbone, images, lr, decay):
    """Root of the batch with AdamW, in proportion with SGD; hooks with a rate of their own follow."""
    options = dict(norm=dict(decay_mult=0.), predictor=dict(lr_mult=10.))
    hooks = [dict(type='SimSiamHook', fix_pred_lr=True, lr=9.), dict(type='DenseCLHook')]
    plan = plan_of(
        model=dict(type='X', backbone=backbone),
        optimizer=dict(type='LARS', lr=4.8, paramwise_options=options),
        custom_hooks=hooks)
    for _ in range(2):  # as after half a batch, which must not change what else there is
        choose.rate(plan, method, images, None)
        optimizer = plan.cfg.optimizer
        assert (optimizer.lr, optimizer.weight_decay) == (pytest.approx(lr, rel=1e-2), decay)
        assert plan.cfg.auto_scale_lr.base_batch_size == images
        assert plan.cfg.custom_hooks[0].lr == optimizer.lr and 'lr' not in plan.cfg.custom_hooks[1]
        if method == 'jigsaw':
            assert (optimizer.type, optimizer.momentum) == ('SGD', 0.9)
        else:
            assert optimizer.type == 'AdamW' and optimizer.paramwise_options == dict(predictor=dict(lr_mult=10.))
    assert [choice.name for choice in plan.choices] == ['optimizer', 'learning rate']


@pytest.mark.parametrize('steps, epochs, warmup, momentum', [(100, 30, 300, 0.99), (20, 100, 200, 0.99),
                                                             (100, 150, 1000, 0.99), (1000, 100, 2000, 0.996),
                                                             (1, 5, 1, 0.99)])
def test_schedule(steps, epochs, warmup, momentum):
    """Warm-up of a tenth, of ten epochs and of 2,000 iterations at most; a teacher of a long training stays slow."""
    plan = plan_of(model=dict(base_momentum=0.996))
    choose.schedule(plan, steps, epochs)
    assert plan.cfg.lr_config.warmup_iters == warmup and plan.cfg.model.base_momentum == momentum
    assert ('momentum of the teacher' in [c.name for c in plan.choices]) == (momentum == 0.99)


@pytest.mark.parametrize('epochs, interval, saved', [(200, 20, 20), (4, 1, 1), (25, 2, 2)])
def test_ten_looks_and_checkpoints(epochs, interval, saved):
    plan = plan_of()
    looks = choose.evaluation(plan, COLOUR, dict(type='Digits'), None, 64)
    choose.how_often(plan, looks, interval, 100, epochs)
    cfg = plan.finish()
    assert [hook.get('interval') for hook in cfg.custom_hooks] == [interval, 10, None]
    assert cfg.checkpoint_config.interval == saved
    evaluation = plan.choices[0]
    assert evaluation.value == 'RepresentationQualityHook' and 'there are no labels; every ' in evaluation.reason


def test_what_evaluates():
    source = dict(type='Digits')
    for data, val, expected in ((LABELLED, source, [('KNNEvalHook', 20)]), (replace(LABELLED, labelled=150), source, [
        ('KNNEvalHook', 5)
    ]), (LABELLED, None, [('RepresentationQualityHook', None)]), (replace(LABELLED, images=49), None, [])):
        plan = plan_of(custom_hooks=[dict(type='DenseCLHook'), dict(type='KNNEvalHook')])
        choose.how_often(plan, choose.evaluation(plan, data, source, val, 64), 1, 10, 10)
        first, *found, collapse, report = plan.finish().custom_hooks
        assert (first.type, collapse.type, report.type) == ('DenseCLHook', 'CollapseMonitorHook', 'ReportHook')
        assert [(hook.type, hook.get('k')) for hook in found] == expected
        assert plan.choices[0].value == (expected[0][0] if expected else 'none')


def test_held_out():
    """A tenth, at most 1,000, beside what is trained on, also in a part of the data that the user has cut out."""
    found = fitting.find_data(dict(type='Digits'))
    source = fitting.build_source(found.source)
    train, val, count = choose.sources(plan_of(), found, replace(LABELLED, images=len(source)), source)
    assert (count, train['subset'], val['subset']) == (1294, dict(seed=0, num=1294), dict(seed=0, num=143, skip=1294))
    found.source['subset'] = dict(num=500, skip=0.25, seed=3)
    source = fitting.build_source(found.source)
    train, val, count = choose.sources(plan_of(), found, replace(LABELLED, images=len(source)), source)
    whole, parts = set(source.indices.tolist()), [set(fitting.build_source(s).indices.tolist()) for s in (train, val)]
    assert [len(part) for part in parts] == [450, 50] and parts[0] | parts[1] == whole
    large = replace(LABELLED, images=50_000)
    assert choose.sources(plan_of(), fitting.find_data(dict(type='Digits')), large, source)[2] == 49_000


@pytest.mark.parametrize('side, machine, method, expected', [
    (8, CPU, 'simclr', 32),
    (28, CPU, 'simclr', 28),
    (40, CPU, 'simclr', 48),
    (200, CPU, 'simclr', 64),
    (64, GPU, 'simclr', 64),
    (128, GPU, 'simclr', 128),
    (200, GPU, 'simclr', 224),
    (200, CPU, 'seed', 96),
])
def test_image_size(side, machine, method, expected):
    assert choose.image_size(None, of_side(side), machine, None, method)[0] == expected


@pytest.mark.parametrize('data, machine, method, size, expected', [
    (COLOUR, CPU, 'simclr', 32, 'resnet10-narrow'),
    (COLOUR, CPU, 'simclr', 64, 'resnet10-narrow'),
    (COLOUR, CPU, 'simclr', 96, 'resnet18'),
    (COLOUR, GPU, 'simclr', 224, 'resnet18'),
    (replace(COLOUR, images=60_000), GPU, 'simclr', 224, 'resnet50'),
    (COLOUR, CPU, 'mae', 64, 'vit_mini'),
    (COLOUR, GPU, 'mae', 224, 'vit_small'),
    (COLOUR, GPU, 'simmim', 224, 'swin_tiny'),
])
def test_network(data, machine, method, size, expected):
    assert choose.network('auto', method, data, machine, size, None)[0] == expected
    with pytest.raises(ConfigError, match='only SimMIM takes swin_tiny'):
        choose.network('swin_tiny', 'simclr', data, machine, size, None)


@pytest.mark.parametrize('data, machine, expected', [
    (of_side(28), CPU, 'simclr'),
    (of_side(28, channels=1), CPU, 'vicreg'),
    (of_side(28, dtype='uint16'), CPU, 'vicreg'),
    (of_side(28, channels=13), CPU, 'mocov2'),
    (of_side(28), GPU, 'simclr'),
    (COLOUR, CPU, 'simclr'),
])
def test_method(data, machine, expected):
    assert choose.method('auto', data, machine, 60)[0] == expected
    assert choose.method('DINO-v2', data, machine, None) == ('dinov2', None, 'given')


def test_labels_of_methods():
    choose.check_needs('supcon', LABELLED, {})
    with pytest.raises(ConfigError, match='one label an image, and these have several'):
        choose.check_needs('supcon', replace(LABELLED, multi_label=True), {})


def test_speed():
    """A worker beside the training on a CPU, eight on a GPU; bfloat16 where it is fast."""
    for machine, workers in ((CPU, 1), (replace(CPU, cores=1), 0), (GPU, 8), (replace(GPU, processes=4), 4)):
        plan = plan_of()
        choose.speed(plan, machine, COLOUR)
        cfg = plan.finish()
        assert (cfg.data.workers_per_gpu, cfg.amp.dtype, cfg.channels_last) == (workers, 'bfloat16', True)
    plan = plan_of(model=dict(backbone=dict(arch='base')), amp=dict(dtype='float16'))
    choose.speed(plan, replace(CPU, bfloat16=False), COLOUR)
    assert plan.cfg.amp is None and plan.cfg.channels_last is False
    for batch, groups in ((64, 2), (128, 4), (512, 8), (16, 2)):
        plan = plan_of(model=dict(backbone=dict(norm_cfg=dict(type='SplitBN', num_splits=8))))
        choose.splits(plan, batch)
        assert plan.finish().model.backbone.norm_cfg.num_splits == groups


def test_views():
    """Crops of a part that shows something, multiples of a patch; colours where the config of small images lacks them.
    """
    jitter = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0., hue=0.)
    for data, small, scale, row in ((of_side(28), True, (0.4, 1.), None), (COLOUR, False, (0.2, 1.), None),
                                    (of_side(28, grey=True), True, (0.4, 1.), None)):
        steps = [
            dict(type='RandomResizedCrop', size=32, scale=(0.08, 1.)),
            dict(type='RandomAppliedTrans', transforms=[dict(jitter)], p=0.8)
        ]
        plan = plan_of(data=dict(samples_per_gpu=8, train=dict(pipelines=[steps])))
        choose.views(plan, data, 'simclr', 48, None, row, True, True, small)
        crop, change, *more = plan.finish().data.train.pipelines[0]
        assert (crop.size, crop.scale) == (48, scale)
        coloured = small and not data.grey
        assert change.transforms[0].hue == (0.1 if coloured else 0.)
        assert [step.type for step in more] == (['RandomGrayscale'] if coloured else [])
    small_crop = dict(type='RandomResizedCrop', size=24, scale=(0.05, 0.4))
    masks = dict(type='MaskFeatMaskGenerator', mask_window_size=14, num_masking_patches=78, min_num_patches=15)
    train = dict(pipelines=[[dict(type='RandomResizedCrop', size=64), masks], [small_crop]])
    adapt_views(train, 48, COLOUR, patch=16, scale=(0.2, 1.))
    crop, mask = train['pipelines'][0]
    assert (crop['size'], crop['scale'], train['pipelines'][1][0]) == (48, (0.2, 1.), dict(small_crop, size=16))
    assert (mask['mask_window_size'], mask['num_masking_patches'], mask['min_num_patches']) == (3, 4, 1)


def test_lengths():
    """What is drawn from, or spread over, the images is fewer than they are."""
    for model, images, batch, expected in (
        (dict(type='MoCo', queue_len=65536), 1000, 96, dict(queue_len=192)),
        (dict(type='MoCo', queue_len=65536), 1000, 700, dict(queue_len=700)),
        (dict(type='NPID', neg_num=65536), 1000, 64, dict(neg_num=256)),
        (dict(type='DINO', neck=dict(out_channels=4096)), 10_000, 64, dict(neck=dict(out_channels=2048))),
        (dict(type='DINO', neck=dict(out_channels=4096)), 10**7, 64, dict(neck=dict(out_channels=65536))),
        (dict(type='SwAV', head=dict(num_prototypes=100)), 10**6, 64, dict(head=dict(num_prototypes=3000))),
        (dict(type='SwAV', head=dict(num_prototypes=16000)), 10**6, 64, dict(head=dict(num_prototypes=16000))),
        (dict(type='MSN', head=dict(num_prototypes=100)), 10**6, 64, dict(head=dict(num_prototypes=1024))),
        (dict(type='DeepClusterV2', memory_bank=dict(num_clusters=[3000] * 3)), 2400, 64,
         dict(memory_bank=dict(num_clusters=[100] * 3))),
        (dict(type='ODC', head=dict(num_classes=9), memory_bank=dict(type='ODCMemory', num_classes=9, min_cluster=20)),
         700, 64, dict(head=dict(num_classes=10), memory_bank=dict(type='ODCMemory', num_classes=10, min_cluster=20))),
        (dict(type='ODC', head=dict(num_classes=9), memory_bank=dict(type='ODCMemory', num_classes=9, min_cluster=20)),
         200, 64, dict(head=dict(num_classes=10), memory_bank=dict(type='ODCMemory', num_classes=10, min_cluster=6))),
    ):  # yapf: disable
        plan = plan_of(model=model)
        for _ in range(2):  # as after half a batch
            fit_lengths(plan, images, batch, 256)
            assert plan.cfg.model.to_dict() == dict(model, **expected)


def test_projectors():
    """Four times the width of the network at most, 256 at least, in all places that have to agree."""
    model = dict(
        feat_dim=2048,
        neck=dict(type='NonLinearNeck', hid_channels=4096, out_channels=2048),
        head=dict(predictor=dict(in_channels=2048, hid_channels=4096, out_channels=2048)))
    fit_projectors(model, 100)
    assert model == dict(
        feat_dim=400,
        neck=dict(type='NonLinearNeck', hid_channels=400, out_channels=400),
        head=dict(predictor=dict(in_channels=400, hid_channels=400, out_channels=400)))


@pytest.mark.parametrize('machine, images, expected', [(CPU, 10_000, 100), (CPU, 1000, 200), (CPU, 10**6, 10),
                                                       (GPU, 10**5, 200), (GPU, 1000, 400), (GPU, 10**6, 100)])
def test_epochs_by_the_images(machine, images, expected):
    plan = plan_of()
    fitting._length(plan, machine, images, 10, None, None, None, None)
    assert plan.cfg.runner.max_epochs == expected


def test_the_user_wins_and_is_named():
    plan = plan_of({'optimizer.lr': 0.5})
    plan.choose('optimizer', 'because', {'optimizer': dict(type='SGD', lr=0.1)})
    assert plan.choose('rate', 'because', {'optimizer.lr': 0.2}) == 0.5
    plan.choose('optimizer', 'once more', {'optimizer': dict(type='AdamW', lr=0.2)})
    assert plan.finish().optimizer == dict(type='AdamW', lr=0.5)
    assert [(choice.name, choice.reason, choice.fixed) for choice in plan.choices] == \
        [('optimizer', 'once more', False), ('rate', 'given', True)]
    plan = plan_of({'optimizer': dict(type='SGD', lr=0.5)})  # a whole section
    assert plan.choose('rate', 'because', {'optimizer.lr': 0.2}) == 0.5 and plan.choices[0].fixed


@pytest.mark.parametrize('words, data, machine, images, batch', [
    ('499 images are few', COLOUR, CPU, 499, 64),
    ('a batch of 640 is more', COLOUR, CPU, 600, 640),
    ('a shorter side of 23 pixels', of_side(23), CPU, 5000, 64),
    ('2% of the images cannot be read, such as x.jpg', replace(COLOUR, broken=0.02, first_broken='x.jpg'), CPU, 5000,
     64),
    ('21% of the images have a near-duplicate', replace(COLOUR, alike=0.21), CPU, 5000, 64),
    ('all images have the same label', replace(COLOUR, classes=1), CPU, 5000, 64),
    ('4 GPUs are there and one is used', COLOUR, replace(GPU, gpus=4), 5000, 64),
    (None, replace(COLOUR, alike=0.2, broken=0.01, classes=2), replace(GPU, gpus=4, processes=4), 500, 500),
])  # yapf: disable
def test_warnings(words, data, machine, images, batch):
    plan = plan_of()
    warn.look(plan, 'simclr', data, machine, images, batch)
    assert [words in warning for warning in plan.warnings] == ([True] if words else [])
