"""What stands for CONFIG: the recipe for a folder of photographs, on small views and with a small network."""
_base_ = '../../../configs/selfsup/mocov2/mocov2-splitbn_resnet18_1xb64-coslr-100e_folder.py'

model = dict(queue_len=16, backbone=dict(norm_cfg=dict(num_splits=1)))
views = [
    dict(type='RandomResizedCrop', size=64, scale=(0.2, 1.)),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
        p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomHorizontalFlip'),
]
data = dict(
    samples_per_gpu=8, workers_per_gpu=0, train=dict(data_source=dict(data_prefix='photographs'), pipelines=[views]))
runner = dict(max_epochs=1)
log_config = dict(interval=1)
