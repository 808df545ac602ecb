"""Little data: a queue longer than the data set, batches that do not divide it, a class folder with one image."""
import logging
import shutil

import pytest
import torch
from mmcv import Config

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.evaluation import few_label, knn
from mmssl.evaluation.features import extract_features
from mmssl.models import build_algorithm

BACKBONE = dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN'))
NECK = dict(type='MoCoV2Neck', in_channels=32, hid_channels=16, out_channels=8)
CROP = [dict(type='RandomResizedCrop', size=16, scale=(0.4, 1.))]


@pytest.fixture
def lonely(photo_folder, tmp_path):
    """Class folders with 12, 12 and 1 images."""
    root = tmp_path / 'photos'
    shutil.copytree(photo_folder, root)
    (root / 'alone').mkdir()
    shutil.copy(next((root / 'flower').iterdir()), root / 'alone')
    return root


def train(folder, source, model, epochs=2, **rest):
    cfg = Config(
        dict(
            model=dict(model, backbone=BACKBONE),
            data=dict(
                samples_per_gpu=8,
                workers_per_gpu=0,
                drop_last=False,
                train=dict(type='MultiViewDataset', data_source=source, num_views=[2], pipelines=[CROP],
                           prefetch=True)),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            optimizer=dict(type='SGD', lr=0.01),
            optimizer_config=dict(),
            runner=dict(type='EpochBasedRunner', max_epochs=epochs),
            seed=1,
            work_dir=str(folder)))
    cfg.merge_from_dict(rest)
    set_random_seed(1)
    model = build_algorithm(cfg.model)
    model.init_weights()
    train_model(model, build_dataset(cfg.data.train), cfg)
    return model


@pytest.mark.parametrize('algorithm', ['MoCo', 'DenseCL'])
def test_queue_longer_than_the_data(tmp_path, caplog, algorithm):
    """28 images, batches of 8, 8, 8 and 4, and a queue of 100: it holds the keys of both epochs, oldest first."""
    neck = dict(NECK, type='DenseCLNeck') if algorithm == 'DenseCL' else NECK
    model = dict(type=algorithm, neck=neck, head=dict(type='ContrastiveHead'), queue_len=100, feat_dim=8)
    fresh = build_algorithm(dict(model, backbone=BACKBONE))
    trained = train(tmp_path, dict(type='Digits', num_images=28), model)
    assert trained.queue_ptr.tolist() == [56]
    assert 'model.queue_len is 100, the training data has 28 images' in caplog.text
    assert trained.queue[:, 56:].equal(fresh.queue[:, 56:])
    changed = (trained.queue != fresh.queue).any(0)
    assert changed[:56].all() and not changed[56:].any()
    torch.testing.assert_close(trained.queue.norm(dim=0), torch.ones(100))


def test_class_folder_with_one_image(lonely, tmp_path):
    """It trains as any other image; kNN counts it; few labels a class are an error that names class and number."""
    source = dict(type='ImageNet', data_prefix=str(lonely))
    head = dict(type='ContrastiveHead')
    model = train(
        tmp_path / 'run',
        source,
        dict(type='SimCLR', neck=dict(NECK, type='MoCoV2Neck'), head=head),
        1,
        data=dict(samples_per_gpu=9))
    plain = build_dataset(
        dict(
            type='SingleViewDataset', data_source=source, pipeline=[dict(type='Resize', size=(16, 16))], prefetch=True))
    assert plain.gt_labels.tolist().count(0) == 1  # folders by name: alone, china, flower
    found = extract_features(model, plain, img_norm_cfg=dict(mean=[0.3], std=[0.3]))
    result = knn.run(found['pooled'], found.labels, found['pooled'], found.labels, k=1)
    # it is the copy of an image of another class: one of the two is taken for the other's class, or both
    assert 0.9 <= result['k1_T0.07_top1'] <= 0.97
    with pytest.raises(ValueError, match=r'class 0 has 1 labelled'):
        few_label.run(found['pooled'], found.labels, found['pooled'], found.labels, labels_per_class=2)


def test_fewer_samples_than_clusters(tmp_path):
    model = dict(
        type='DeepCluster',
        with_sobel=False,
        neck=dict(type='AvgPool2dNeck'),
        head=dict(type='ClsHead', in_channels=32, num_classes=40))
    data = dict(
        type='DeepClusterDataset',
        data_source=dict(type='Digits', num_images=28),
        pipeline=[dict(type='Resize', size=16)],
        prefetch=True)
    norm = dict(mean=[0.3], std=[0.3])
    hook = dict(
        type='DeepClusterHook',
        extractor=dict(samples_per_gpu=8, workers_per_gpu=0, dataset=data, prefetch=True, img_norm_cfg=norm),
        clustering=dict(type='Kmeans', k=40, pca_dim=4),
        unif_sampling=True,
        reweight=False,
        reweight_pow=0.5)
    with pytest.raises(ValueError, match='28 samples cannot make 40 clusters: set clustering.k'):
        train(tmp_path, data['data_source'], model, custom_hooks=[hook], data=dict(train=dict(_delete_=True, **data)))


@pytest.mark.parametrize('length, workflow, message', [
    (5, [('train', 1)], 'model.memory_bank: length is 5, the training data has 28 samples: set length=28, or leave it'),
    (28, [('train', 1), ('val', 1)], 'phase "val", whose images are in no memory bank'),
])
def test_a_memory_that_does_not_fit(tmp_path, length, workflow, message):
    neck = dict(type='LinearNeck', in_channels=32, out_channels=8)
    bank = dict(type='SimpleMemory', length=length, feat_dim=8, momentum=0.5)
    model = build_algorithm(
        dict(type='NPID', backbone=BACKBONE, neck=neck, head=dict(type='ContrastiveHead'), memory_bank=bank, neg_num=4))
    data = dict(type='SingleViewDataset', data_source=dict(type='Digits', num_images=28), pipeline=[], prefetch=True)
    cfg = Config(
        dict(
            data=dict(samples_per_gpu=8, workers_per_gpu=0),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            workflow=workflow))
    with pytest.raises(ValueError, match=message):
        train_model(model, [build_dataset(data)] * len(workflow), cfg)


@pytest.mark.parametrize('name', ['queue_len', 'neg_num'])
def test_more_negatives_than_images(caplog, name):
    from mmssl.core.training import _warn_of_repeated_negatives
    model, logger = torch.nn.Module(), logging.getLogger('test')
    for number, warned in ((28, False), (29, True)):
        setattr(model, name, number)
        _warn_of_repeated_negatives(model, 28, logger)
        assert (f'model.{name} is {number}, the training data has 28 images' in caplog.text) == warned


@pytest.mark.parametrize('hooks, warned', [([], True), ([dict(type='MomentumUpdateHook')], False)])
def test_a_momentum_encoder_that_nothing_moves(tmp_path, caplog, hooks, warned):
    """DINO or BYOL without MomentumUpdateHook learned from a teacher that stayed random, without a word."""
    mlp = dict(type='NonLinearNeck', hid_channels=8, out_channels=8, norm_cfg=dict(type='BN'))
    model = dict(
        type='BYOL',
        backbone=BACKBONE,
        neck=mlp,
        head=dict(type='LatentPredictHead', predictor=dict(mlp, with_avg_pool=False)))
    train(tmp_path, dict(type='Digits', num_images=16), model, epochs=1, custom_hooks=hooks)
    assert ('BYOL has a momentum encoder, which stays as it is unless' in caplog.text) == warned


@pytest.mark.parametrize('batch_size, drop_last, fails', [(9, False, True), (1, True, True), (9, True, False),
                                                          (8, False, False)])
def test_a_last_batch_of_one_image(batch_size, drop_last, fails):
    """28 images in batches of 9 leave one over: known before the first iteration, not at the end of an epoch."""
    from mmssl.core.training import _check_smallest_batch, build_loader
    model = build_algorithm(
        dict(
            type='BYOL',
            backbone=BACKBONE,
            neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8),
            head=dict(
                type='LatentPredictHead',
                predictor=dict(type='NonLinearNeck', in_channels=8, hid_channels=8, out_channels=8))))
    dataset = build_dataset(
        dict(type='SingleViewDataset', data_source=dict(type='Digits', num_images=28), pipeline=[], prefetch=True))
    data = dict(samples_per_gpu=batch_size, workers_per_gpu=0, drop_last=drop_last)
    loader = build_loader(dataset, Config(dict(data=data, img_norm_cfg=dict(mean=[0.3], std=[0.3]))))
    if fails:
        with pytest.raises(ValueError, match=f'28 images in batches of {batch_size} .*, and neck.bn0 is a batch norm'):
            _check_smallest_batch(model, loader)
    else:
        _check_smallest_batch(model, loader)
