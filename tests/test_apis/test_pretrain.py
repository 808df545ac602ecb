# Copyright (c) mmssl contributors. All rights reserved.
"""mmssl.train in a process that lives on, as that of a notebook does."""
import json
import logging
import multiprocessing

import numpy as np
import pytest
import torch
from mmcv.runner import Hook
from PIL import Image

import mmssl
from mmssl.apis import pretrain
from mmssl.apis.image_sources import data_in_files
from mmssl.apis.start import _TRAINING
from mmssl.core.builder import HOOKS
from mmssl.evaluation.run_record import read_run
from mmssl.utils.errors import ConfigError
from mmssl.utils.rng import get_rng_state
from mmssl.utils.run_dir import LOCK, _held

SMALL = dict(model='resnet10-narrow', epochs=2, overwrite=True, quiet=True)


class Breaking(Hook):
    """Breaks the second epoch, whose workers are there."""

    def after_train_iter(self, runner):
        if runner.epoch == 1:
            assert torch.get_num_threads() == 3
            assert multiprocessing.active_children()
            raise KeyError('broken')


def test_a_training_that_fails_leaves_nothing_behind(photo_folder, tmp_path, monkeypatch):
    """Images in memory; no lock, no log, no worker is left, the page says so, and random numbers go on as before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(HOOKS._module_dict, 'Breaking', Breaking)
    images = [Image.open(path).resize((32, 32)) for path in sorted(photo_folder.rglob('*.jpg'))]
    settings = {
        'data.workers_per_gpu': 1,
        'torch_num_threads': 3,
        'data.samples_per_gpu': 12,
        'custom_hooks': [dict(type='ReportHook'), dict(type='Breaking')]
    }
    before, threads = str(get_rng_state()), torch.get_num_threads()
    with pytest.raises(ConfigError, match='Breaking: KeyError'):
        mmssl.train(images, out='run', settings=settings, **SMALL)
    assert str(get_rng_state()) == before and np.load('run/images.npy').shape == (24, 32, 32, 3)
    assert not _held and (tmp_path / 'run' / LOCK).stat().st_size == 0
    assert read_run('run').state == 'stopped' and 'Stopped before its end' in (tmp_path / 'run/report.html').read_text()
    assert not multiprocessing.active_children() and torch.get_num_threads() == threads
    logger = logging.getLogger('mmssl')
    assert not any(isinstance(handler, logging.FileHandler) for handler in logger.handlers)

    with _TRAINING, pytest.raises(ConfigError, match='another thread of this process is training'):
        mmssl.train(images, out='run', settings={'data.workers_per_gpu': 0}, **SMALL)
    with pytest.raises(ConfigError, match='images in memory are written .*: give it as out='):
        mmssl.train(images, **SMALL)
    with pytest.raises(ConfigError, match='what mmssl.train takes; got tensor.*, 0'):
        mmssl.train(torch.zeros(9, 8, 8), out='run', **SMALL)


def test_images_of_a_run_that_is_put_away_stay(tmp_path):
    """Its config names them."""
    zeros, ones = np.zeros((2, 8, 8), np.uint8), np.ones((2, 8, 8), np.uint8)
    for images, name in ((zeros, 'images.npy'), (ones, 'images_2.npy'), (zeros, 'images.npy'),
                         (ones[:1], 'images_3.npy')):  # yapf: disable
        found = data_in_files(images, tmp_path)
        assert found == dict(type='Arrays', data_prefix=str(tmp_path / name))
        assert np.array_equal(np.load(tmp_path / name), images)
    for names, name in ((['a.jpg'], 'images.json'), (['b.jpg'], 'images_2.json'), (['a.jpg'], 'images.json')):
        assert data_in_files(names, tmp_path) == str(tmp_path / name)
    (tmp_path / 'images.npy').write_bytes(b'of the user')
    assert data_in_files(zeros, tmp_path)['data_prefix'] == str(tmp_path / 'images_4.npy')
    assert (tmp_path / 'images.npy').read_bytes() == b'of the user' and len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize('values, said', [((0.5, 0.5), True), ((0.5, 0.6), False), ((1., 1.), False), ((0.5, ), False)])
def test_no_better_than_random_weights(values, said, tmp_path):
    """It is said after the training, unless random weights leave nothing to learn."""
    lines = [dict(mode='val', epoch=epoch, iter=epoch, knn_top1=value) for epoch, value in enumerate(values)]
    (tmp_path / '20260101_000000.log.json').write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    found = pretrain.outcome(tmp_path)
    assert any('accuracy of nearest neighbours' in line for line in found)
    assert any('no better than those of random weights' in line for line in found) == said
