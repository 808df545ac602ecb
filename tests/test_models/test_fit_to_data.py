# Copyright (c) mmssl contributors. All rights reserved.
"""What a config leaves out and the data or the network before it tell."""
import copy

import pytest
import tiny
import torch

from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

NPID = dict(
    type='NPID',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='LinearNeck', out_channels=8),
    head=dict(type='ContrastiveHead'),
    memory_bank=dict(type='SimpleMemory', feat_dim=8),
    neg_num=4)
ODC = dict(
    type='ODC',
    backbone=NPID['backbone'],
    neck=dict(type='ODCNeck', hid_channels=16, out_channels=8),
    head=dict(type='ClsHead', in_channels=None, num_classes=5),
    memory_bank=dict(type='ODCMemory', feat_dim=8, num_classes=5, min_cluster=2))


@pytest.mark.parametrize('cfg', [NPID, ODC])
def test_a_memory_takes_its_length_from_the_data(cfg):
    told = copy.deepcopy(cfg)
    told['memory_bank']['length'] = 12
    told, found = build_algorithm(told), build_algorithm(cfg)
    found.fit_to_data(samples=12)
    told.fit_to_data(samples=12)
    assert found.memory_bank.length == 12
    for name, value in told.memory_bank.state_dict().items():
        torch.testing.assert_close(found.memory_bank.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize('cfg', [NPID, ODC])
def test_a_checkpoint_tells_the_length(cfg):
    trained, loaded = build_algorithm(cfg), build_algorithm(cfg)
    trained.fit_to_data(samples=12)
    trained.memory_bank.feature_bank.normal_()
    loaded.load_state_dict(trained.state_dict())
    torch.testing.assert_close(loaded.memory_bank.feature_bank, trained.memory_bank.feature_bank, rtol=0, atol=0)
    with pytest.raises(
            ConfigError,
            match=r'model.memory_bank: length is 12, the training data has 13 samples: set '
            'length=13, or leave it out'):
        loaded.fit_to_data(samples=13)


def test_a_wrong_length_is_told_of_the_memory_that_has_it():
    model = build_algorithm(
        dict(copy.deepcopy(NPID), head=dict(type='NCEHead'), memory_bank=dict(NPID['memory_bank'], length=12)))
    with pytest.raises(ConfigError, match='model.memory_bank: length is 12, the training data has 13 samples'):
        model.fit_to_data(samples=13)


def test_too_few_samples_for_the_clusters():
    with pytest.raises(ConfigError, match=r'model.memory_bank: 9 samples \(length\) make no 5 clusters'):
        build_algorithm(ODC).fit_to_data(samples=9)


def test_channels_come_from_the_network_before():
    model = build_algorithm(ODC)
    assert model.neck.fc0.in_features == model.backbone.feat_dim == 64
    assert model.head.fc_cls.in_features == 8
    byol = build_algorithm(
        dict(
            type='BYOL',
            backbone=dict(NPID['backbone'], out_indices=(3, )),
            neck=dict(type='NonLinearNeck', hid_channels=16, out_channels=12, norm_cfg=dict(type='BN')),
            head=dict(
                type='LatentPredictHead',
                predictor=dict(
                    type='NonLinearNeck',
                    hid_channels=16,
                    out_channels=12,
                    with_avg_pool=False,
                    norm_cfg=dict(type='BN')))))
    assert byol.neck.fc0.in_features == 32 and byol.head.predictor.fc0.in_features == 12


def test_a_width_that_the_network_before_does_not_tell():
    cfg = dict(
        type='Classification',
        backbone=dict(type='AlexNet', variant='deepcluster', out_indices=('flatten', )),
        head=dict(type='ClsHead', in_channels=None, num_classes=3))
    with pytest.raises(ConfigError, match='in_channels of ClsHead is None, .* set in_channels to that number'):
        build_algorithm(cfg)


def test_errors_of_parts_without_a_width_have_their_place():
    backbone = dict(NPID['backbone'], out_indices=(4, ))
    head = dict(type='ClsHead', in_channels=None, num_classes=3, loss=dict(type='MultiLabelLos'))
    with pytest.raises(ConfigError, match=r'at head\.loss in the config'):
        build_algorithm(dict(type='Classification', backbone=backbone, head=head))
    with pytest.raises(ConfigError, match=r'at head\.loss in the config'):
        build_algorithm(
            dict(
                type='Classification',
                backbone=backbone,
                head=dict(head, loss=dict(type='MultiLabelLoss', reduction='man'))))
    with pytest.raises(ConfigError, match=r'num_classes.*at head in the config'):
        build_algorithm(dict(type='Classification', backbone=backbone, head=dict(head, num_classes='3', loss=None)))
    task = dict(stages=[4], head=dict(head, loss=dict(type='L1Los')))
    with pytest.raises(ConfigError, match=r'at tasks\.a\.head\.loss in the config'):
        build_algorithm(dict(type='MultiTask', backbone=backbone, tasks=dict(a=task)))


@pytest.mark.parametrize('backbone, stages, widths', [
    (dict(type='ResNet', depth=18, width_multiplier=2), (1, 4), [128, 1024]),
    (dict(type='ResNet', depth=18, base_channels=8, stem_channels=8), (0, 3), [8, 32]),
    (dict(type='AlexNet', variant='rotnet'), (4, 2, 4), [384, 192, 384]),
    (dict(type='TIMMBackbone', model_name='resnet10t'), (1, 3), [64, 256]),
])
def test_heads_on_several_stages_have_the_widths_of_the_trunk(backbone, stages, widths):
    """A fault of VISSL: heads of the usual width on wide trunks (its issue 469)."""
    head = dict(type='MultiClsHead', in_indices=stages, num_classes=3)
    model = build_algorithm(dict(type='Classification', backbone=dict(backbone, out_indices=stages), head=head))
    assert model.head.multi_pooling.channels == widths
    img, label = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])
    assert len(model(img, mode='test')) == len(model.head(model.extract_feat(img))) == len(stages)
    tasks = dict(
        a=dict(stages=list(stages), head=head),
        b=dict(stages=[3], head=dict(type='ClsHead', in_channels=None, with_avg_pool=True)))
    several = build_algorithm(dict(type='MultiTask', backbone=backbone, tasks=tasks))
    assert several.heads['a'].multi_pooling.channels == widths
    assert several.train_step(dict(img=img, label=label))['loss'].isfinite()


def test_a_head_behind_pooling_has_the_width_of_the_trunk():
    cfg = dict(
        type='DeepCluster',
        backbone=dict(NPID['backbone'], in_channels=2),
        neck=dict(type='AvgPool2dNeck'),
        head=dict(type='ClsHead', in_channels=None, num_classes=3))
    assert build_algorithm(cfg).head.fc_cls.in_features == 64
    # a default stays where the config says nothing, as in MMSelfSup
    del cfg['head']['in_channels']
    assert build_algorithm(cfg).head.fc_cls.in_features == 2048


@pytest.mark.parametrize('name', ['MoCo', 'SEED', 'NNCLR', 'ReSSL', 'SimCLR'])
def test_a_queue_as_long_as_the_data_is_named(name, warnings_of_data):
    """Pitfall of distillation (LightlyTrain): the queue holds the images that are compared with it."""
    model = tiny.build(name)
    for samples in (21, 20):
        model.fit_to_data(samples=samples, views=None)
        said = [text for text in warnings_of_data if 'queue_len' in text]
        assert len(said) == (samples == 20 and name != 'SimCLR')
    if said:
        assert said[0].startswith('model.queue_len=20 is not less than the 20 training images') and '5' in said[0]
