"""BYOL with everything that a resume must bring back: accumulation, LARS, EMA, dropout, a schedule of momentum."""
_base_ = 'digits_moco.py'
model = dict(
    _delete_=True,
    type='BYOL',
    base_momentum=0.9,
    backbone=dict(
        type='ResNet',
        depth=18,
        stem_channels=4,
        base_channels=4,
        out_indices=[4],
        drop_path_rate=0.2,
        norm_cfg=dict(type='SyncBN')),
    neck=dict(
        type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=16, with_bias=True, with_last_bn=False),
    head=dict(
        type='LatentPredictHead',
        predictor=dict(
            type='NonLinearNeck',
            in_channels=16,
            hid_channels=16,
            out_channels=16,
            with_bias=True,
            with_last_bn=False,
            with_avg_pool=False)))
data = dict(workers_per_gpu=0)
optimizer = dict(
    _delete_=True,
    type='LARS',
    lr=0.3,
    momentum=0.9,
    weight_decay=1e-6,
    paramwise_options={
        r'(bn|gn)(\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True),
        'bias': dict(weight_decay=0., lars_exclude=True)
    })
optimizer_config = dict(update_interval=3, grad_clip=dict(max_norm=10.))
custom_hooks = [dict(type='BYOLHook', update_interval=3), dict(type='EMAHook', momentum=0.1)]
