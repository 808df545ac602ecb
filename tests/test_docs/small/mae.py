"""What stands for CONFIG where a vision transformer is asked for."""
_base_ = '../../../configs/demo/mae_fashion-mnist.py'

model = dict(
    backbone=dict(arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64), in_channels=3),
    neck=dict(embed_dim=32, decoder_embed_dim=32, decoder_depth=1, in_chans=3))
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], _delete_=True)
data = dict(
    samples_per_gpu=8,
    workers_per_gpu=0,
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='photographs')))
runner = dict(max_epochs=1)
work_dir = None
custom_hooks = []
