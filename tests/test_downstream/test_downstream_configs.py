"""Recipes for detection and segmentation, which stand on configs of mmdet and mmseg: the published figures."""
import importlib.machinery
import importlib.util
import json
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from mmcv import Config

from mmssl.downstream import base_configs as module
from mmssl.downstream.base_configs import base_configs
from mmssl.downstream.data_files import data_files
from mmssl.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / 'configs' / 'benchmarks'
DETECTRON2 = ROOT / 'tools' / 'benchmarks' / 'detectron2' / 'configs'
TOOLBOXES = dict(mmdetection='mmdet', mmsegmentation='mmseg')
SYNC = dict(type='SyncBN', requires_grad=True)
TORCHVISION = dict(type='Pretrained', checkpoint='torchvision://resnet50')

SGD = {'optimizer.type': 'SGD', 'optimizer.momentum': 0.9}
BACKBONE = {
    'model.backbone.type': 'ResNet',
    'model.backbone.depth': 50,
    'model.backbone.norm_cfg': SYNC,
    'model.backbone.norm_eval': False,
    'model.backbone.style': 'pytorch',
    'model.backbone.init_cfg': TORCHVISION,
}
DETECTOR = {
    **BACKBONE, 'model.backbone.frozen_stages': -1,
    'optimizer.lr': 0.02,
    'optimizer.weight_decay': 1e-4,
    'lr_config.warmup': 'linear',
    'lr_config.warmup_ratio': 0.001,
    'data.samples_per_gpu': 2
}
C4 = {
    **DETECTOR,
    'model.backbone.num_stages': 3,
    'model.backbone.out_indices': (2, ),
    'model.rpn_head.in_channels': 1024,
    'model.rpn_head.anchor_generator.scales': [2, 4, 8, 16, 32],
    'model.rpn_head.anchor_generator.strides': [16],
    'model.roi_head.shared_head.type': 'ResLayerExtraNorm',
    'model.roi_head.shared_head.style': 'pytorch',
    'model.roi_head.shared_head.norm_cfg': SYNC,
    'model.roi_head.shared_head.norm_eval': False,
    'model.roi_head.shared_head.init_cfg': TORCHVISION,
    'model.roi_head.bbox_roi_extractor.roi_layer.output_size': 14,
    'model.roi_head.bbox_head.type': 'BBoxHead',
    'model.train_cfg.rpn_proposal.nms_pre': 12000,
    'model.train_cfg.rpn_proposal.max_per_img': 2000,
    'model.test_cfg.rpn.nms_pre': 6000,
    'model.test_cfg.rpn.max_per_img': 1000,
}
FPN = {
    **DETECTOR,
    'model.backbone.out_indices': (0, 1, 2, 3),
    'model.neck.norm_cfg': SYNC,
    'model.rpn_head.anchor_generator.scales': [8],
    'model.rpn_head.anchor_generator.strides': [4, 8, 16, 32, 64],
    'model.roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead',
    'model.roi_head.bbox_head.norm_cfg': SYNC,
    'model.roi_head.mask_head.norm_cfg': SYNC,
}
COCO = {
    'model.type': 'MaskRCNN',
    'model.roi_head.bbox_head.num_classes': 80,
    'model.roi_head.mask_head.num_classes': 80,
    'data.train.type': 'CocoDataset',
    'data.train.ann_file': 'data/coco/annotations/instances_train2017.json',
    'data.train.pipeline.2.img_scale': [(1333, side) for side in (640, 672, 704, 736, 768, 800)],
    'data.train.pipeline.2.multiscale_mode': 'value',
    'data.val.pipeline.1.img_scale': (1333, 800),
    'lr_config.warmup_iters': 500,
}
ONCE = {**COCO, 'lr_config.step': [8, 11], 'runner': dict(type='EpochBasedRunner', max_epochs=12)}
TWICE = {**COCO, 'lr_config.step': [16, 22], 'runner': dict(type='EpochBasedRunner', max_epochs=24)}
FCN = {
    **BACKBONE, 'model.pretrained': None,
    'model.backbone.dilations': (1, 1, 2, 4),
    'model.backbone.strides': (1, 2, 1, 1),
    'model.backbone.contract_dilation': True,
    'model.decode_head.norm_cfg': SYNC,
    'model.auxiliary_head.loss_decode.loss_weight': 0.4,
    'optimizer.lr': 0.01,
    'optimizer.weight_decay': 5e-4,
    'lr_config.policy': 'poly',
    'lr_config.power': 0.9,
    'lr_config.min_lr': 1e-4
}
VOC = {
    **C4, 'model.type': 'FasterRCNN',
    'model.roi_head.bbox_head.num_classes': 20,
    'data.train.type': 'VOCDataset',
    'data.train.ann_file': [f'data/VOCdevkit/VOC{year}/ImageSets/Main/trainval.txt' for year in (2007, 2012)],
    'data.val.ann_file': 'data/VOCdevkit/VOC2007/ImageSets/Main/test.txt',
    'data.train.pipeline.2.img_scale':
    [(1333, side) for side in (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)],
    'data.val.pipeline.1.img_scale': (1333, 800),
    'lr_config.step': [18000, 22000],
    'lr_config.warmup_iters': 100,
    'lr_config.by_epoch': False,
    'runner': dict(type='IterBasedRunner', max_iters=24000),
    'evaluation': dict(interval=2000, metric='mAP'),
    'checkpoint_config': dict(by_epoch=False, interval=2000)
}
VOC07 = {
    **VOC, 'data.train.ann_file': 'data/VOCdevkit/VOC2007/ImageSets/Main/trainval.txt',
    'data.train.img_prefix': 'data/VOCdevkit/VOC2007/',
    'lr_config.step': [9500],
    'runner': dict(type='IterBasedRunner', max_iters=12500),
    'evaluation': dict(interval=2500, metric='mAP'),
    'checkpoint_config': dict(by_epoch=False, interval=2500)
}
PUBLISHED = {
    'mmdetection/voc0712/faster_rcnn_r50_c4_mstrain_24k_voc0712': VOC,
    'mmdetection/voc07/faster_rcnn_r50_c4_mstrain_12k5_voc07': VOC07,
    'mmdetection/voc07/faster_rcnn_r50_c4_mstrain_12k5-lr2e-3_voc07': {
        **VOC07, 'optimizer.lr': 0.002,
        'lr_config.warmup_iters': 1000
    },
    'mmdetection/coco/mask_rcnn_r50_c4_mstrain_1x_coco': {**C4, **ONCE},
    'mmdetection/coco/mask_rcnn_r50_c4_mstrain_2x_coco': {**C4, **TWICE},
    'mmdetection/coco/mask_rcnn_r50_fpn_mstrain_1x_coco': {**FPN, **ONCE},
    'mmdetection/coco/mask_rcnn_r50_fpn_mstrain_2x_coco': {**FPN, **TWICE},
    'mmsegmentation/voc12aug/fcn_r50-d8_512x512_20k_voc12aug': {
        **FCN, 'model.decode_head.num_classes': 21,
        'model.auxiliary_head.num_classes': 21,
        'model.decode_head.align_corners': False,
        'model.test_cfg.mode': 'whole',
        'data.samples_per_gpu': 4,
        'data.train.ann_dir': ['SegmentationClass', 'SegmentationClassAug'],
        'data.train.pipeline.3.crop_size': (512, 512),
        'runner': dict(type='IterBasedRunner', max_iters=20000),
        'evaluation.interval': 2000
    },
    'mmsegmentation/cityscapes/fcn_r50-d8_769x769_40k_cityscapes': {
        **FCN, 'model.decode_head.num_classes': 19,
        'model.decode_head.align_corners': True,
        'model.auxiliary_head.align_corners': True,
        'model.test_cfg': dict(mode='slide', crop_size=(769, 769), stride=(513, 513)),
        'data.samples_per_gpu': 2,
        'data.train.pipeline.3.crop_size': (769, 769),
        'runner': dict(type='IterBasedRunner', max_iters=40000),
        'evaluation.interval': 4000
    },
}  # yapf: disable
PATHS = sorted(
    str(path.relative_to(BENCHMARKS).with_suffix('')) for toolbox in TOOLBOXES
    for path in (BENCHMARKS / toolbox).rglob('*.py') if '_base_' not in path.parts)


def read(name):
    package = TOOLBOXES[name.split('/')[0]]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed: make test-downstream runs this')
    return Config.fromfile(BENCHMARKS / f'{name}.py', import_custom_modules=False)


def look_up(cfg, key):
    for part in key.split('.'):
        cfg = cfg[int(part)] if part.isdigit() else cfg[part]
    return cfg


def plain(value):
    """Tuples and lists are alike in a config."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_figures(name):
    cfg = read(name)
    wrong = {key: look_up(cfg, key) for key, want in PUBLISHED[name].items() if plain(look_up(cfg, key)) != plain(want)}
    assert not wrong
    assert look_up(cfg, 'optimizer.type') == 'SGD' and cfg.optimizer.momentum == 0.9


@pytest.mark.parametrize('name', PATHS)
def test_models_build(name):
    """The merged config is one that the toolbox builds; the backbone has the parameters of torchvision's ResNet."""
    cfg = read(name)
    import torchvision
    if TOOLBOXES[name.split('/')[0]] == 'mmdet':
        import_module('mmssl.downstream.detection')
        from mmdet.models import build_detector as build
    else:
        from mmseg.models import build_segmentor as build
    cfg.model.backbone.init_cfg = None
    model = build(cfg.model)
    theirs = getattr(torchvision.models, f'resnet{cfg.model.backbone.depth}')().state_dict()
    ours = model.backbone.state_dict()
    stages = cfg.model.backbone.get('num_stages', 4)
    assert {
        key: value.shape
        for key, value in ours.items()
    } == {
        key: value.shape
        for key, value in theirs.items() if not key.startswith('fc.') and (stages == 4 or 'layer4' not in key)
    }
    if '_c4_' in name:
        head = model.roi_head.shared_head.state_dict()
        assert {key for key in head if not key.startswith('norm.')} == {key for key in theirs if 'layer4' in key}
        assert head['norm.weight'].shape == theirs['layer4.0.bn2.weight'].shape or cfg.model.backbone.depth == 50


def test_every_published_recipe_is_there():
    assert set(PUBLISHED) == {name for name in PATHS if '/toy/' not in name}


def test_bases_of_a_package_that_is_absent_or_has_no_such_file(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match='no_such_toolbox, which is not installed; `make downstream` installs it'):
        base_configs('no_such_toolbox', 'models/a.py')
    (tmp_path / '.mim/configs/_base_/models').mkdir(parents=True)
    (tmp_path / '.mim/configs/_base_/models/a.py').touch()
    spec = importlib.machinery.ModuleSpec('toolbox', None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(module, 'find_spec', lambda name: spec)
    assert base_configs('toolbox', 'models/a.py') == [str(tmp_path / '.mim/configs/_base_/models/a.py')]
    with pytest.raises(ConfigError, match='toolbox has no config .*models/b.py'):
        base_configs('toolbox', 'models/a.py', 'models/b.py')


def test_files_of_data_sets():
    voc = dict(type='VOCDataset', ann_file=['a.txt', 'b.txt'], img_prefix=['A/', 'B/'])
    assert data_files(voc) == ['a.txt', 'b.txt', 'A/', 'B/']
    assert data_files(dict(type='RepeatDataset', times=3, dataset=voc)) == data_files(voc)
    coco = dict(type='CocoDataset', data_root='root', ann_file='c.json', img_prefix='s3://bucket/train/')
    assert data_files([voc, coco]) == [*data_files(voc), 'root/c.json']
    segmentation = dict(data_root='root', img_dir='images', ann_dir=['x', '/y'], split=None)
    assert data_files(dict(type='ConcatDataset', datasets=[segmentation])) == ['root/images', 'root/x', '/y']


def detectron2(name):
    """A config of detectron2 with its bases, as it merges them."""
    cfg = yaml.safe_load((DETECTRON2 / name).read_text())
    if '_BASE_' not in cfg:
        return cfg

    def merge(over, under):
        return {**under, **{k: merge(v, under.get(k, {})) if isinstance(v, dict) else v for k, v in over.items()}}

    return merge({k: v for k, v in cfg.items() if k != '_BASE_'}, detectron2(cfg['_BASE_']))


@pytest.mark.parametrize('name, masks, classes, sides, schedule', [
    ('pascal_voc_R_50_C4_24k_moco', False, 20, range(480, 801, 32), ((18000, 22000), 24000)),
    ('pascal_voc07_R_50_C4_12k5_vissl', False, 20, range(480, 801, 32), ((9500, ), 12500)),
    ('pascal_voc07_R_50_C4_12k5_vissl_pirl_npid', False, 20, range(480, 801, 32), ((9500, ), 12500)),
    ('coco_R_50_C4_1x_moco', True, None, range(640, 801, 32), ((60000, 80000), 90000)),
    ('coco_R_50_C4_2x_moco', True, None, range(640, 801, 32), ((120000, 160000), 180000)),
    ('coco_R_50_FPN_1x_moco', True, None, range(640, 801, 32), ((60000, 80000), 90000)),
    ('coco_R_50_FPN_2x_moco', True, None, range(640, 801, 32), ((120000, 160000), 180000)),
])
def test_detectron2_figures(name, masks, classes, sides, schedule):
    """detectron2 itself reads '(1, 2)' in its configs as a tuple."""
    cfg = detectron2(f'{name}.yaml')
    model, solver, images = cfg['MODEL'], cfg['SOLVER'], cfg['INPUT']
    assert model['MASK_ON'] is masks and model['ROI_HEADS'].get('NUM_CLASSES') == classes
    assert eval(images['MIN_SIZE_TRAIN']) == tuple(sides) and images['MIN_SIZE_TEST'] == 800
    assert (eval(solver['STEPS']), solver['MAX_ITER']) == schedule
    rate, warmup = (0.002, 1000) if 'npid' in name else (0.02, 100 if 'voc' in name else None)
    assert (solver['IMS_PER_BATCH'], solver['BASE_LR'], solver.get('WARMUP_ITERS')) == (16, rate, warmup)
    if 'voc' in name:
        years = ('2007', ) if 'voc07' in name else ('2007', '2012')
        assert eval(cfg['DATASETS']['TRAIN']) == tuple(f'voc_{year}_trainval' for year in years)
        assert eval(cfg['DATASETS']['TEST']) == ('voc_2007_test', )
    assert model['BACKBONE']['FREEZE_AT'] == 0 and model['RESNETS']['NORM'] == 'SyncBN'
    assert cfg['TEST']['PRECISE_BN']['ENABLED'] is True
    # images as in our pre-training
    assert images['FORMAT'] == 'RGB' and model['RESNETS']['STRIDE_IN_1X1'] is False
    assert model['PIXEL_MEAN'] == pytest.approx([255 * x for x in (0.485, 0.456, 0.406)])
    assert model['PIXEL_STD'] == pytest.approx([255 * x for x in (0.229, 0.224, 0.225)])
    if 'C4' in name:
        assert model['ROI_HEADS']['NAME'] == 'Res5ROIHeadsExtraNorm'
        assert (model['RPN']['PRE_NMS_TOPK_TEST'], model['RPN']['POST_NMS_TOPK_TEST']) == (6000, 1000)
    else:
        assert (model['ROI_BOX_HEAD']['NUM_CONV'], model['ROI_BOX_HEAD']['NUM_FC']) == (4, 1)
        assert model['FPN']['NORM'] == model['ROI_BOX_HEAD']['NORM'] == model['ROI_MASK_HEAD']['NORM'] == 'SyncBN'


def test_detectron2_figures_of_frozen_norms():
    """The protocol of ICCV 2019 is MoCo's in images and batches."""
    cfg, moco = (detectron2(f'pascal_voc_R_50_C4_{name}.yaml') for name in ('25k_iccv19', '24k_moco'))
    assert (cfg['MODEL']['BACKBONE']['FREEZE_AT'], cfg['MODEL']['RESNETS']['NORM']) == (2, 'FrozenBN')
    assert cfg['MODEL']['ROI_HEADS'] == dict(NAME='Res5ROIHeads', NUM_CLASSES=20)
    assert cfg['TEST']['PRECISE_BN']['ENABLED'] is False
    assert (eval(cfg['SOLVER']['STEPS']), cfg['SOLVER']['MAX_ITER']) == ((17000, ), 25000)
    assert all(cfg[part] == moco[part] for part in ('INPUT', 'DATASETS'))
    assert all(cfg['SOLVER'][key] == moco['SOLVER'][key] for key in ('WARMUP_ITERS', 'IMS_PER_BATCH', 'BASE_LR'))
