"""A small training on real images for tests: MoCo on the digits of scikit-learn."""
model = dict(
    type='MoCo',
    queue_len=200,  # no multiple of the batch size
    feat_dim=16,
    momentum=0.99,
    backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='MoCoV2Neck', in_channels=32, hid_channels=16, out_channels=16),
    head=dict(type='ContrastiveHead', temperature=0.2))
prefetch = True
img_norm_cfg = dict(mean=[0.3] * 3, std=[0.3] * 3)
pipeline = [dict(type='RandomResizedCrop', size=8, scale=(0.4, 1.)), dict(type='RandomHorizontalFlip')]
data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    drop_last=True,
    train=dict(
        type='MultiViewDataset',
        data_source=dict(type='Digits'),
        num_views=[2],
        pipelines=[pipeline],
        prefetch=prefetch))
optimizer = dict(type='SGD', lr=0.03, weight_decay=1e-4, momentum=0.9)
lr_config = dict(policy='CosineAnnealing', min_lr=0., by_epoch=False, warmup='linear', warmup_iters=5)
runner = dict(type='EpochBasedRunner', max_epochs=2)
checkpoint_config = dict(interval=7, by_epoch=False)
log_config = dict(interval=5, hooks=[dict(type='TextLoggerHook')])
seed = 1
