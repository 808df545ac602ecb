"""A training of any algorithm that is stopped and resumed is the training that was never stopped, bit for bit."""
import pytest
import torch
from mmcv import Config

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.models import ALGORITHMS, build_algorithm
from mmssl.utils.checkpoint import read_checkpoint

SAMPLES, BATCH, DIM, CLUSTERS = 240, 40, 8, 10
SOURCE = dict(type='Digits', num_images=SAMPLES)
CROP = [dict(type='RandomResizedCrop', size=16, scale=(0.3, 1.)), dict(type='RandomHorizontalFlip')]
SMALL_CROP = [dict(type='RandomResizedCrop', size=8, scale=(0.1, 0.3))]
PLAIN = [dict(type='Resize', size=16)]

BACKBONE = dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN'))
NECK = dict(type='MoCoV2Neck', in_channels=32, hid_channels=16, out_channels=DIM)
MLP = dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN'))
PREDICTOR = dict(type='LatentPredictHead', predictor=dict(MLP, in_channels=DIM, with_avg_pool=False))
CONTRAST = dict(type='ContrastiveHead', temperature=0.2)
CLASSES = dict(type='ClsHead', in_channels=DIM, num_classes=CLUSTERS)

TWO_VIEWS = dict(type='MultiViewDataset', num_views=[2], pipelines=[CROP])
ONE_VIEW = dict(type='SingleViewDataset', pipeline=CROP)
CLUSTERED = dict(type='DeepClusterDataset', pipeline=CROP)


def clustering(kind, **kwargs):
    """A hook that clusters; its data set is that of the training with plain views."""
    dataset = dict(type='DeepClusterDataset', data_source=SOURCE, pipeline=PLAIN, prefetch=True)
    extractor = dict(
        dataset=dataset, samples_per_gpu=80, workers_per_gpu=0, prefetch=True, img_norm_cfg=dict(mean=[0.3], std=[0.3]))
    return dict(type=kind, extractor=extractor, clustering=dict(type='Kmeans', k=CLUSTERS, pca_dim=-1), **kwargs)


def memory(kind, momentum):
    return dict(type=kind, length=SAMPLES, feat_dim=DIM, momentum=momentum, num_classes=CLUSTERS, min_cluster=5)


MOCO = dict(neck=NECK, head=CONTRAST, queue_len=100, feat_dim=DIM, momentum=0.9)
# model, training data, and whatever the config has besides
ALL = dict(
    SimCLR=(dict(neck=MLP, head=CONTRAST), TWO_VIEWS, {}),
    MoCo=(MOCO, TWO_VIEWS, {}),
    BYOL=(dict(neck=MLP, head=PREDICTOR,
               base_momentum=0.9), TWO_VIEWS, dict(custom_hooks=[dict(type='MomentumUpdateHook')])),
    SimSiam=(dict(neck=dict(MLP, num_layers=3), head=PREDICTOR), TWO_VIEWS,
             dict(
                 optimizer=dict(paramwise_options=dict(predictor=dict(fix_lr=True))),
                 custom_hooks=[dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=0.05)])),
    # the dense loss begins within the first epoch
    DenseCL=(dict(MOCO, neck=dict(type='DenseCLNeck', in_channels=32, hid_channels=16, out_channels=DIM)), TWO_VIEWS,
             dict(custom_hooks=[dict(type='DenseCLHook', start_iters=4)])),
    # the queue begins with the second epoch and is full after two batches; the prototypes stay for 7 iterations
    SwAV=(dict(
        neck=dict(type='SwAVNeck', in_channels=32, hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN')),
        head=dict(type='SwAVHead', feat_dim=DIM, num_crops=[2, 2],
                  num_prototypes=12)), dict(type='MultiViewDataset', num_views=[2, 2], pipelines=[CROP, SMALL_CROP]),
          dict(
              optimizer_config=dict(frozen_layers_cfg=dict(prototypes=7)),
              custom_hooks=[
                  dict(
                      type='SwAVHook',
                      priority='VERY_HIGH',
                      batch_size=BATCH,
                      epoch_queue_starts=1,
                      feat_dim=DIM,
                      queue_length=80)
              ])),
    BarlowTwins=(dict(
        neck=dict(MLP, num_layers=3, with_last_bn=False), head=dict(type='LatentCrossCorrelationHead',
                                                                    in_channels=DIM)), TWO_VIEWS, {}),
    NPID=(dict(
        neck=dict(type='LinearNeck', in_channels=32, out_channels=DIM),
        head=CONTRAST,
        memory_bank=dict(type='SimpleMemory', length=SAMPLES, feat_dim=DIM, momentum=0.5),
        neg_num=50), ONE_VIEW, {}),
    DeepCluster=(
        dict(
            backbone=dict(BACKBONE, in_channels=2), neck=dict(type='AvgPool2dNeck'),
            head=dict(CLASSES, in_channels=32)), CLUSTERED,
        dict(custom_hooks=[clustering('DeepClusterHook', unif_sampling=True, reweight=False, reweight_pow=0.5)])),
    DeepClusterReweighted=(
        dict(type='DeepCluster', with_sobel=False, neck=dict(type='AvgPool2dNeck'),
             head=dict(CLASSES, in_channels=32)), CLUSTERED,
        dict(custom_hooks=[clustering('DeepClusterHook', unif_sampling=False, reweight=True, reweight_pow=0.5)])),
    ODC=(dict(
        neck=dict(type='ODCNeck', in_channels=32, hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN')),
        head=CLASSES,
        memory_bank=memory('ODCMemory', 0.5)), CLUSTERED,
         dict(custom_hooks=[
             clustering(
                 'DeepClusterHook',
                 unif_sampling=False,
                 reweight=True,
                 reweight_pow=0.5,
                 init_memory=True,
                 interval=9999999999),
             dict(
                 type='ODCHook',
                 centroids_update_interval=4,
                 deal_with_small_clusters_interval=1,
                 evaluate_interval=50,
                 reweight=True,
                 reweight_pow=0.5)
         ])),
    InterCLRMoCo=(
        dict(
            MOCO,
            memory_bank=memory('InterCLRMemory', 1.),
            num_classes=CLUSTERS,
            neg_num=30,
            semihard_neg_pool_num=60,
            semieasy_neg_pool_num=60), TWO_VIEWS,
        dict(custom_hooks=[
            clustering(
                'InterCLRHook', centroids_update_interval=4, deal_with_small_clusters_interval=1, evaluate_interval=50)
        ])),
    RelativeLoc=(dict(
        neck=dict(type='RelativeLocNeck', in_channels=32, out_channels=16),
        head=dict(type='ClsHead', in_channels=16, num_classes=8)),
                 dict(
                     type='RelativeLocDataset',
                     pipeline=[dict(type='Resize', size=27),
                               dict(type='RandomCrop', size=24)],
                     format_pipeline=[]), {}),
    RotationPred=(dict(head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=4)),
                  dict(type='RotationPredDataset', pipeline=CROP), {}),
)


def config(name, folder):
    model, data, rest = ALL[name]
    cfg = Config(
        dict(
            model=dict(dict(type=name, backbone=BACKBONE), **model),
            data=dict(
                samples_per_gpu=BATCH,
                workers_per_gpu=0,
                drop_last=True,
                train=dict(data, data_source=SOURCE, prefetch=True)),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4),
            optimizer_config=dict(),
            lr_config=dict(policy='CosineAnnealing', min_lr=0., by_epoch=False, warmup='linear', warmup_iters=4),
            runner=dict(type='EpochBasedRunner', max_epochs=2),
            checkpoint_config=dict(interval=1),
            log_config=dict(interval=5, hooks=[]),
            custom_hooks=[],
            seed=1,
            work_dir=str(folder)))
    cfg.merge_from_dict(rest)
    cfg.custom_hooks.append(dict(type='CheckpointHook', interval=3, by_epoch=False))
    return cfg


def train(name, folder, seed, resume_from=None):
    """The checkpoint at the end, and the labels of the training's data set."""
    cfg = config(name, folder)
    cfg.resume_from = resume_from
    set_random_seed(seed)
    dataset = build_dataset(cfg.data.train)
    model = build_algorithm(cfg.model)
    model.init_weights()
    train_model(model, dataset, cfg, meta={})
    return read_checkpoint(folder / 'epoch_2.pth'), getattr(dataset, 'pseudo_labels', None)


def assert_same(a, b, where):
    """Bit for bit equality of nested containers."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b)):
            assert_same(*pair, f'{where}.{i}')
    else:
        assert a == b, where


LANDED = [name for name in ALL if ALGORITHMS.get(ALL[name][0].get('type', name)) is not None]


@pytest.mark.parametrize('name', LANDED)
def test_resumed_is_uninterrupted(name, tmp_path):
    """PITFALLS: queues and banks outside the checkpoint; labels that are lost; mmcv's resume in the midst of an epoch.

    An epoch has 6 iterations. Training is resumed behind iteration 9 (in the second epoch, behind its clustering and
    the start of its queue), behind iteration 6 (before the hooks at the end of the first epoch) and behind these
    hooks, each time from other random states and weights.
    """
    whole, labels = train(name, tmp_path / 'whole', seed=0)
    assert whole['meta']['iter'] == 12
    for number, file in enumerate(('iter_9', 'iter_6', 'epoch_1'), 1):
        again, found = train(name, tmp_path / file, number, tmp_path / f'whole/{file}.pth')
        for checkpoint in (whole, again):
            checkpoint['hooks'].pop('CheckpointHook', None)
        for part in ('state_dict', 'optimizer', 'hooks', 'rng_states'):
            assert_same(again[part], whole[part], f'{file}: {part}')
        if labels is not None:
            assert labels.min() >= 0 and labels.unique().numel() > 1
        assert_same(found, labels, f'{file}: pseudo_labels')
