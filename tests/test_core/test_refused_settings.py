"""Settings that cannot be are refused in a line that names the value, when the training is put together."""
import math

import numpy as np
import pytest
import test_resume_algorithms as algorithms

from mmssl.apis import train_model
from mmssl.core.builder import HOOKS
from mmssl.core.hooks import optimizer_hook
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm
from mmssl.models.builder import build_backbone, build_head, build_loss, build_memory
from mmssl.utils.errors import ConfigError

NAN = math.nan
SWAV = dict(type='SwAVHead', feat_dim=4, num_prototypes=5)
CLIP = dict(type='DistOptimizerHook')
SCHEDULE = dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.1, end=0.2)


@pytest.mark.parametrize('build, cfg, message', [
    (build_head, dict(SWAV,
                      temperature=-0.1), r'temperature, epsilon and sinkhorn_iterations must be positive, got -0\.1'),
    (build_head, dict(SWAV, epsilon=NAN), 'epsilon must be float, got nan, which is no number'),
    (build_head, dict(SWAV, sinkhorn_iterations=0), 'must be positive, got 0.1, 0.05 and 0'),
    (build_head, dict(SWAV, power=NAN), 'power must be float, got nan'),
    (build_head, dict(SWAV, num_crops=[2], crops_for_assign=[0, 0]), r'once each.*crops_for_assign=\[0, 0\]'),
    (build_head, dict(type='DeepClusterV2Head', temperature=0.), 'temperature must be positive, got 0.0'),
    (build_head, dict(type='DINOHead', in_channels=4, teacher_temp=NAN), 'teacher_temp must be float, got nan'),
    (build_head, dict(type='DCLHead', sigma=0.), 'sigma must be positive, or None for equal weights, got 0.0'),
    (build_head, dict(type='VICRegHead', cov_weight=-1), 'cov_weight=-1'),
    (build_loss, dict(type='CrossEntropyLoss', weight=[1, -1]), r'weight is a number of 0 or more.*-1'),
    (build_loss, dict(type='MultiLabelLoss', pos_weight=[1, NAN]), 'pos_weight is a number of 0 or more.*nan'),
    (build_memory, dict(type='CropMemory', num_clusters=[2], feat_dim=0), 'feat_dim=0'),
    (build_memory, dict(type='CropMemory', num_clusters=[2], feat_dim=4, iterations=-1), 'iterations=-1'),
    (build_backbone, dict(type='RegNet', drop_path_rate=-1), 'drop_path_rate at least 0 and below 1, got 0.25 and -1'),
    (build_backbone, dict(type='RegNet', se_ratio=NAN), 'se_ratio must be float, got nan'),
    (HOOKS.build, dict(type='SwAVHook', queue_length=-1), 'queue_length is an integer of at least 0, got -1'),
    (HOOKS.build, dict(SCHEDULE, end=NAN), 'end must be float | None, got nan'),
    (HOOKS.build, dict(SCHEDULE, start=-1), 'for the optimizer not negative; got -1'),
    (HOOKS.build, dict(CLIP, grad_clip={}), 'max_norm must be a positive number, got None'),
    (HOOKS.build, dict(CLIP, grad_clip=dict(max_norm=NAN)), 'max_norm must be a positive number, got nan'),
    (HOOKS.build, dict(CLIP, grad_clip=dict(max_norm='1')), "max_norm must be a positive number, got '1'"),
    (HOOKS.build, dict(CLIP, grad_clip=dict(max_norm=1, norm_type=0)), 'norm_type must be a positive number, got 0'),
])
def test_a_part_refuses(build, cfg, message):
    with pytest.raises(ConfigError, match=message):
        build(cfg)


def test_the_largest_gradient_by_its_name():
    """torch takes norm_type='inf' as well."""
    hook = HOOKS.build(dict(CLIP, grad_clip=dict(max_norm=1, norm_type='inf', per='tensor')))
    model = algorithms.torch.nn.Linear(3, 2)
    model.weight.grad, model.bias.grad = model.weight.detach() * 0 + 4., model.bias.detach() * 0 + 0.5
    assert optimizer_hook.clip_gradients(model, **hook.grad_clip) == 4
    assert model.weight.grad.max().item() == pytest.approx(1, abs=1e-5) and model.bias.grad.max() == 0.5


def start(name, folder, samples=48, **changes):
    """Build everything and train an epoch; `changes` have dotted paths with two underscores for each dot."""
    cfg = algorithms.config(name, folder)
    cfg.merge_from_dict(dict(runner=dict(max_epochs=1), data=dict(samples_per_gpu=8)))
    cfg.data.train.data_source = dict(type='Digits', num_images=samples)
    if name != 'DeepClusterV2':
        cfg.custom_hooks = []
    for path, value in changes.items():
        *outer, last = path.split('__')
        part = cfg
        for key in outer:
            part = part[int(key) if isinstance(part, list) else key]
        part[int(last) if isinstance(part, list) else last] = value
    dataset, model = build_dataset(cfg.data.train), build_algorithm(cfg.model)
    return train_model(model, dataset, cfg, meta={})


MIXED = dict(type='MixupCrops')
PLAIN = dict(
    type='SingleViewDataset', pipeline=algorithms.CROP, data_source=dict(type='Digits', num_images=9), prefetch=True)
CLASSIFY = dict(input=0, head=dict(type='ClsHead', in_channels=None, with_avg_pool=True, num_classes=10))


@pytest.mark.parametrize('name, changes, message', [
    ('PIRL', dict(samples=1, data__samples_per_gpu=1), 'PIRL compares an image with others, the training data has 1'),
    ('NPIDWithNCE', dict(samples=1, data__samples_per_gpu=1), 'ensure_neg=True memory_bank.length must be more than 1'),
    ('PIRL', dict(model__memory_bank=dict(type='CropMemory', num_clusters=[4], feat_dim=8)),
     'PIRL needs a memory such as SimpleMemory: model.memory_bank is a CropMemory'),
    ('NPID', dict(model__memory_bank=dict(type='CropMemory', num_clusters=[4], feat_dim=8)),
     'NPID needs a memory such as SimpleMemory'),
    ('DeepClusterV2', dict(model__memory_bank=dict(type='SimpleMemory')),
     'DeepClusterV2 needs a memory such as CropMem'),
    ('DeepClusterV2', dict(model__memory_bank__feat_dim=0), 'model.memory_bank.feat_dim is 0, SwAVNeck gives 8'),
    ('NPIDWithNCE', dict(model__memory_bank__feat_dim=3),
     'model.neck gives 8 dimensions, model.memory_bank.feat_dim is 3'),
    ('PIRL', dict(model__patch_neck__necks__2__channels=[5]),
     'model.patch_neck gives 5 dimensions, model.memory_bank.feat_dim is 8'),
    ('PIRL', dict(data__train__pipeline__0__num_patches=16),
     '8 images give 32 vectors of patches: num_towers of patch'),
    ('NNCLR', dict(model__feat_dim=9), 'model.feat_dim is 9, model.neck gives 8 dimensions'),
    ('NNCLR', dict(model__head__predictor__out_channels=3), 'model.feat_dim is 8, model.head.predictor gives 3'),
    ('SupCon', dict(data__train__with_label=False), 'one label an image, the data gives none: .*with_label=True'),
    ('SupCon', dict(data__train__data_source__labels=[-1] * 48),
     'SupCon learns labels, and none of the 48 images of data.train has one'),
    ('VICReg', dict(model__head=dict(type='ContrastiveHead')),
     'VICReg takes the head VICRegHead, model.head is a ContrastiveHead'),
    ('SimCLR', dict(model__head=dict(type='NCEHead')),
     'SimCLR takes the head ContrastiveHead or DCLHead, model.head is a NCEH'),
    ('DINO', dict(model__head__in_channels=5), 'DINOHead takes 5 channels and gets 12'),
    ('SimCLR', dict(inflate_stem='mean'), "inflate_stem='mean' is for the weights of load_from, which names none"),
    ('Jigsaw',
     dict(data__train__pipeline=[*algorithms.CROP, dict(type='ImageToPatches', num_patches=4)]),
     'Jigsaw learns a label that the pipeline makes.*add the step PermutePatches'),
    ('RotationPredOne', dict(model__head__num_classes=4),
     'model.head.num_classes is 4, the pipeline of data.train makes labels of 8 classes: set model.head.num_classes=8'),
    ('NPIDWithNCE', dict(data__collate=MIXED), 'the memory bank of NPID has an entry for each: leave data.collate out'),
    ('DeepClusterV2', dict(data__collate=MIXED), 'the memory bank of DeepClusterV2 has an entry for each'),
    ('DeepClusterV2', dict(data__train__type='SingleViewDataset', data__train__pipeline=algorithms.CROP),
     'the data gives one image a sample, the memory keeps crops up to number 1'),
    ('Classification',
     dict(
         model__head=dict(
             type='ClsHead', in_channels=16, num_classes=10, loss=dict(type='CrossEntropyLoss', weight=[1, 2])),
         model__train_cfg=None), 'weight of CrossEntropyLoss is for 2 classes, the scores are of 10'),
    ('VICReg', dict(custom_hooks=[SCHEDULE, dict(SCHEDULE, end=0.3)]),
     "several hooks schedule 'optimizer.weight_decay'"),
    ('VICReg', dict(custom_hooks=[dict(SCHEDULE, target='optimizer.lr')]), "lr_config sets 'optimizer.lr' as well"),
    ('DINO', dict(data__collate=MIXED,
                  data__samples_per_gpu=1), 'makes one image of 2, and a batch has 1: set data.sam'),
    ('Classification', dict(evaluation=dict(interval=1, topk=5), data__val=PLAIN), 'topk is a list of positive.*got 5'),
    ('Classification', dict(evaluation=dict(interval=1, topk=[0]), data__val=PLAIN), r'topk is a list.*got \[0\]'),
    ('MultiTask', dict(model__tasks={'a.b': CLASSIFY}), "a task cannot be called 'a.b'"),
    ('MultiTask', dict(model__tasks=dict(keys=CLASSIFY)), "a task cannot be called 'keys'"),
    ('MultiTask', dict(model__tasks__digit=None), 'the task digit is a dict with a head, got None'),
    ('MultiTask', dict(model__tasks__digit__weight=NAN),
     'the weight of the task digit is a number of 0 or more, got nan'),
    ('MultiTask', dict(model__tasks__digit__stages=['layer4']), r"all are names, got \[\['layer4'\], \[2\]\]"),
    ('MultiTask', dict(data__train__data_source=dict(x=dict(type='Digits'), y=None)), "'y' is no data source"),
    ('VICReg',
     dict(
         evaluation=dict(interval=1),
         data__val=dict(type='SingleViewDataset', pipeline=[],
                        data_source=dict(type='Digits'))), 'evaluation measures predictions, and VICReg makes none'),
    ('VICReg', dict(custom_hooks=[dict(SCHEDULE, target='head.training')]), "the model has no number 'head.training'"),
])
def test_a_training_refuses(name, changes, message, tmp_path):
    """PITFALLS: parts that do not fit, found late, or never: labels and entries of other images are learned."""
    if changes.get('data__train__type') == 'SingleViewDataset':
        changes = dict(
            changes,
            data__train=dict(
                type='SingleViewDataset',
                pipeline=algorithms.CROP,
                prefetch=True,
                data_source=dict(type='Digits', num_images=48)))
        changes = {key: value for key, value in changes.items() if not key.startswith('data__train__')}
    with pytest.raises(ConfigError, match=message):
        start(name, tmp_path, **changes)


def test_a_new_training_counts_anew(tmp_path):
    """Hard codes of the first iterations are those of this training, not of the one that the weights are from."""
    start('SwAVMomentum', tmp_path / 'first')
    runner = start('SwAVMomentum', tmp_path / 'second', load_from=str(tmp_path / 'first/epoch_1.pth'))
    counters = runner.model.counter, runner.model.head.counter
    assert all(counter.done == int(counter.number) == runner.iter == 6 for counter in counters)


def test_no_labels_in_columns_without_columns(tmp_path):
    np.save(tmp_path / 'labels.npy', np.zeros((48, 0), int))
    with pytest.raises(ConfigError, match=r'got the shape \(48, 0\)'):
        build_dataset(
            dict(
                type='SingleViewDataset',
                pipeline=[],
                data_source=dict(type='Digits', num_images=48, labels=str(tmp_path / 'labels.npy'))))
