# Copyright (c) mmssl contributors. All rights reserved.
"""The features of a run where its config has the section `features`."""
import shutil

import numpy as np

import mmssl
from mmssl.apis.preprocessing import preprocessing_of
from mmssl.evaluation.descriptor import Descriptor
from mmssl.evaluation.whitening import Whitening
from mmssl.utils.config import load_config


def test_features_by_the_config(finished_run, photo_folder, tmp_path):
    """Stages side by side, whitened by the images of the training; the whitening is kept until the weights change."""
    folder = shutil.copytree(finished_run, tmp_path / 'run')
    cfg = load_config(folder / 'small.py')
    cfg.features = dict(layers=['stage3', 'stage4'], pool_type='grid:2', power=0.1)
    run = mmssl.Run(folder, config=cfg)
    found = run.features(photo_folder).features

    dataset, norm = run.dataset()
    joined = Descriptor.of(cfg).extract(run.model(), dataset, img_norm_cfg=norm)['descriptor']
    expected = Whitening.partial(joined, 0.1).apply(joined)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # all images of the training are in the folder
    assert not np.allclose(found, joined, atol=1e-2)
    kept = folder / 'whitening_epoch_2.pth.npz'
    whitening = Whitening.load(kept)
    np.testing.assert_array_equal(mmssl.Run(folder, config=cfg).features(photo_folder).features, found)

    Whitening(whitening.mean + 1, whitening.projection).save(kept)
    assert not np.allclose(
        mmssl.Run(folder, config=cfg).features(photo_folder).features, found, atol=1e-2)  # it is read
    (folder / 'epoch_2.pth').touch()
    np.testing.assert_array_equal(mmssl.Run(folder, config=cfg).features(photo_folder).features, found)

    pooled = mmssl.load(finished_run).features(photo_folder).features
    np.testing.assert_array_equal(run.features(photo_folder, layer='pooled').features, pooled)


def test_images_without_steps(finished_run):
    """An evaluation whose images need no step has them whole; images of another size get that of the training."""
    cfg, model = load_config(finished_run / 'small.py'), mmssl.load(finished_run).model()
    dataset = dict(type='SingleViewDataset', data_source=dict(type='Folder'), pipeline=[], prefetch=True)
    cfg.custom_hooks = [dict(type='KNNEvalHook', train_dataset=dataset, val_dataset=dataset)]
    transform = preprocessing_of(cfg, model)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    expected = (image / 255 - cfg.img_norm_cfg.mean) / cfg.img_norm_cfg.std
    np.testing.assert_allclose(transform(image).permute(1, 2, 0), expected, atol=1e-5)
    assert transform(np.zeros((50, 70, 3), np.uint8)).shape == (3, 32, 32)
