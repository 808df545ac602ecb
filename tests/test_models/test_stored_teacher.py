"""Features of a teacher that were computed once: the training is that with the teacher itself."""
import copy

import numpy as np
import pytest
import torch
from mmcv import Config

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.evaluation.stored_features import store_features
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

NORM = dict(mean=[0.3], std=[0.35])
NETWORK = dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=8, base_channels=8, norm_cfg=dict(type='BN'))
STUDENT = dict(NETWORK, depth=10, stem_channels=4, base_channels=4)
SEED = dict(type='SEED', neck=dict(type='MLPNeck', channels=[16, 64]), head=dict(type='SEEDHead'), queue_len=30)
SIMREG = dict(
    type='SimReg', neck=dict(type='MLPNeck', channels=[16, 64], norm_cfg=dict(type='BN')), head=dict(type='SimRegHead'))
SAMPLES = 40


def data(count=SAMPLES):
    # the views of student and teacher are the same here: the whole image
    return dict(
        type='SingleViewDataset',
        data_source=dict(type='Digits', color_type='grayscale', num_images=count),
        pipeline=[dict(type='Resize', size=16)],
        prefetch=True)


@pytest.fixture(scope='module')
def stored(tmp_path_factory):
    """A teacher's checkpoint and the folder of its features."""
    folder = tmp_path_factory.mktemp('teacher')
    torch.manual_seed(3)
    model = build_algorithm(dict(type='Classification', backbone=NETWORK))
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), folder / 'teacher.pth')
    store_features(
        model.eval(),
        build_dataset(data()),
        folder / 'features',
        'train', {},
        layers=['pooled', 'stage1'],
        img_norm_cfg=NORM)
    return folder


def train(folder, cfg, teacher, count=SAMPLES, workflow=(('train', 1), ), **changes):
    cfg = Config(
        dict(
            model=dict(copy.deepcopy(cfg), backbone=STUDENT, teacher=teacher),
            data=dict(samples_per_gpu=10, workers_per_gpu=0, drop_last=True, train=data(count)),
            img_norm_cfg=NORM,
            optimizer=dict(type='SGD', lr=0.05),
            optimizer_config={},
            lr_config=dict(policy='fixed'),
            runner=dict(type='EpochBasedRunner', max_epochs=2),
            checkpoint_config=dict(interval=-1),
            log_config=dict(interval=1, hooks=[]),
            seed=1,
            workflow=[list(phase) for phase in workflow],
            work_dir=str(folder)))
    cfg.data.update(changes)
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    set_random_seed(0)  # a teacher that is built draws numbers too
    model.init_weights()
    train_model(model, [build_dataset(cfg.data.train) for _ in workflow], cfg)
    return model


@pytest.mark.parametrize('cfg', [SEED, SIMREG], ids=['SEED', 'SimReg'])
def test_training_equals_that_with_the_teacher(stored, cfg, tmp_path):
    live = train(tmp_path, cfg, dict(backbone=NETWORK, checkpoint=str(stored / 'teacher.pth')))
    read = train(tmp_path, cfg, dict(features=str(stored / 'features')))
    assert live.state_dict().keys() == read.state_dict().keys()
    for (name, a), b in zip(live.state_dict().items(), read.state_dict().values()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=lambda text: f'{name}: {text}')


def test_rows_follow_the_numbers_of_images(stored):
    model = build_algorithm(
        dict(copy.deepcopy(SIMREG), backbone=STUDENT, teacher=dict(features=str(stored / 'features'))))
    img, idx = torch.zeros(3, 1, 16, 16, dtype=torch.float64), torch.tensor([7, 0, 39])
    rows = model.teacher(img, idx)
    assert rows.dtype == torch.float64
    assert np.array_equal(rows.float().numpy(), np.load(stored / 'features' / 'train_pooled.npy')[[7, 0, 39]])


def test_an_image_that_could_not_be_read(stored, tmp_path):
    for path in (stored / 'features').iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    kept = np.delete(np.arange(SAMPLES), 5)
    for name in ('pooled', 'index'):
        np.save(tmp_path / f'train_{name}.npy', np.load(tmp_path / f'train_{name}.npy')[kept])
    model = build_algorithm(dict(copy.deepcopy(SIMREG), backbone=STUDENT, teacher=dict(features=str(tmp_path))))
    img = torch.zeros(2, 1, 16, 16)
    expected = np.load(stored / 'features' / 'train_pooled.npy')[[4, 6]]
    assert np.array_equal(model.teacher(img, torch.tensor([4, 6])).numpy(), expected)
    with pytest.raises(ConfigError, match='has no features of sample 5, which could not be read'):
        model.teacher(img, torch.tensor([4, 5]))


def test_what_is_wrong_is_said(stored, tmp_path):
    teacher = dict(features=str(stored / 'features'))
    with pytest.raises(
            ConfigError, match=r'model.teacher: .* has features of 40 images \(train\), the training data has 30'):
        train(tmp_path, SIMREG, teacher, count=30)
    narrow = dict(SIMREG, neck=dict(SIMREG['neck'], channels=[16, 32]))
    with pytest.raises(ConfigError, match='features of 64 dimensions, the neck projections of 32: set .* to 64'):
        train(tmp_path, narrow, teacher)
    with pytest.raises(ConfigError, match='has no layer neck of train; there are pooled, stage1'):
        train(tmp_path, SIMREG, dict(teacher, layer='neck'))
    with pytest.raises(FileNotFoundError, match='nowhere has no features of train'):
        train(tmp_path, SIMREG, dict(features=str(tmp_path / 'nowhere')))
    with pytest.raises(
            ConfigError, match='MixupCrops makes one image of several, and the stored teacher of SimReg has'):
        train(tmp_path, SIMREG, teacher, collate=dict(type='MixupCrops'))
    with pytest.raises(ConfigError, match='has a phase "val", of whose images model.teacher.features has no features'):
        train(tmp_path, SIMREG, teacher, workflow=[('train', 1), ('val', 1)])
    model = build_algorithm(dict(copy.deepcopy(SIMREG), backbone=STUDENT, teacher=teacher))
    model.teacher.open()
    with pytest.raises(ConfigError, match='other names, sizes or another order than those of data.train'):
        model.teacher.check_files('another')
