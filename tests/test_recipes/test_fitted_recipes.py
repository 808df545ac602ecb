# Copyright (c) mmssl contributors. All rights reserved.
"""A recipe is fitted to data, machine and time: it is a config that trains, and says why it is as it is."""
import dataclasses
import json
import math
import random
import re
import shutil

import numpy as np
import pytest
import torch
from mmcv import Config
from PIL import Image

from mmssl.cli import main
from mmssl.core.lr_scaling import global_batch
from mmssl.recipes import choose, fit, fitting, parse_time
from mmssl.recipes.check import check
from mmssl.recipes.data import find_data
from mmssl.recipes.facts import MachineFacts, build_source, survey
from mmssl.recipes.measure import Measured, _evaluation, _per_iteration, measure
from mmssl.recipes.methods import METHODS
from mmssl.recipes.networks import wrapped_config
from mmssl.utils.config import OptionText, load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.setup_env import torch_threads_of
from mmssl.utils.times import format_time

CPU = MachineFacts('cpu', 2, 8., bfloat16=True)
GPU = MachineFacts('cuda', 16, 80., gpu='GPU', gpus=1, bfloat16=True)
FIGURES = Measured(0.5, 0.5, 10., 0.001, 9, 1., 5., 10**6, 0.1)


@pytest.fixture(autouse=True)
def _same_machine(monkeypatch):
    monkeypatch.setattr(fitting, 'look_at_machine', lambda: CPU)


@pytest.fixture(scope='module')
def tiles(tmp_path_factory, photographs):
    """48 arrays of 13 channels and 16 bits in two class folders, mixed of the colours of photographs."""
    root, mix = tmp_path_factory.mktemp('tiles'), np.random.default_rng(0).random((3, 13)) * 20
    for name, photo in zip('ab', photographs):
        (root / name).mkdir()
        for i in range(24):
            part = photo[8 * i:8 * i + 96, 9 * i:9 * i + 96]
            np.save(root / name / f'{i}.npy', (part @ mix).astype(np.uint16))
    return root


@pytest.mark.parametrize('text, seconds', [('90s', 90), ('10m', 600), ('2h', 7200), ('1h30m', 5400), ('1.5h', 5400),
                                           ('45', 45), (7, 7), ('1d', 86400)])
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize('text', ['', '2x', 'h', '-3m', '0', '1h30', True])
def test_no_times(text):
    with pytest.raises(ConfigError, match='such as 90s, 10m'):
        parse_time(text)


def test_times_in_words():
    assert [format_time(s) for s in (3.2, 59, 125, 5400, 7200, 400000)] == \
        ['3.2 s', '59 s', '2 min', '1 h 30 min', '2 h', '4.6 days']


def test_forms_of_data(photo_folder, tiles, tmp_path):
    (tmp_path / 'list.txt').write_text(''.join(f'{p.relative_to(photo_folder)} 1\n' for p in photo_folder.glob('*/*')))
    with pytest.raises(FileNotFoundError, match='neither in the current folder'):
        find_data(tmp_path / 'list.txt')
    flat, parts = tmp_path / 'flat', tmp_path / 'parts'
    shutil.copytree(photo_folder / 'china', flat / 'all')
    for part in ('train', 'val'):
        shutil.copytree(photo_folder, parts / part)
    shutil.copy(tmp_path / 'list.txt', parts / 'train')
    shutil.copy(photo_folder / 'china' / '00.jpg', tmp_path / 'one.jpg')
    (tmp_path / 'tars').mkdir(), (tmp_path / 'tars/a.tar').touch()
    np.save(tmp_path / 'images.npy', np.zeros((4, 8, 8, 3), np.uint8))
    np.save(tmp_path / 'planes.npy', np.zeros((4, 3, 8, 8), np.uint8))
    found = {
        name: find_data(place)
        for name, place in dict(
            classes=photo_folder,
            flat=flat,
            tiles=tiles,
            parts=parts,
            list=parts / 'train' / 'list.txt',
            array=tmp_path / 'images.npy',
            digits='digits',
            split='digits:test',
            config=dict(type='Digits')).items()
    }
    assert {
        name: data.source['type']
        for name, data in found.items()
    } == dict(
        classes='ImageNet',
        flat='Folder',
        tiles='ImageNet',
        parts='ImageNet',
        list='ImageList',
        array='Arrays',
        digits='Catalog',
        split='Catalog',
        config='Digits')
    assert found['tiles'].source['depth'] == 'stored' and found['tiles'].source['extensions'] == ['.npy']
    assert found['parts'].val['data_prefix'] == str(parts / 'val') and found['classes'].val is None
    assert found['digits'].val['split'] == 'test' and found['split'].val is None
    assert len(build_source(found['list'].source)) == 24
    for data, error, words in (('digitz', ConfigError, "did you mean 'digits'"), ('digits:tast', ConfigError,
                                                                                  "did you mean 'test'"),
                               (str(tmp_path / 'no'), FileNotFoundError, 'no such file or folder'),
                               (tmp_path / 'planes.npy', ConfigError, 'looks like N x C x H x W'),
                               (tmp_path / 'one.jpg', ConfigError, 'is one image'), (tmp_path / 'tars', ConfigError,
                                                                                     'tar shards without an index'),
                               (3, ConfigError, 'got 3'), (dict(data_prefix='a'), ConfigError, 'a dict with its type')):
        with pytest.raises(error, match=words):
            find_data(data)


def test_survey(photo_folder, tiles, tmp_path):
    """Mean and deviation are those of all pixels; classes, grey images and broken ones are counted."""
    facts = survey(build_source(find_data(photo_folder).source))
    pixels = np.concatenate([np.asarray(Image.open(p)).reshape(-1, 3) for p in photo_folder.glob('*/*')]) / 255
    assert (facts.images, facts.looked, facts.classes, facts.labelled) == (24, 24, 2, 24)
    assert facts.sizes == (200, 200, 200) and facts.channels == 3 and facts.coloured and facts.broken == 0
    np.testing.assert_allclose(facts.norm['mean'], pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(facts.norm['std'], pixels.std(0), rtol=1e-5)
    deep = survey(build_source(find_data(tiles).source))
    assert (deep.channels, deep.dtype, deep.deep, deep.coloured, deep.norm['max_value']) == (13, 'uint16', True, False,
                                                                                             1)
    for i in range(3):
        Image.open(photo_folder / 'china' / f'{i:02d}.jpg').convert('L').save(tmp_path / f'{i}.jpg')
    shutil.copy(tmp_path / '0.jpg', tmp_path / 'copy.jpg')
    (tmp_path / 'x.jpg').write_bytes(b'no image')
    grey = survey(build_source(find_data(tmp_path).source))
    assert grey.grey and not grey.coloured and (grey.looked, grey.classes) == (5, 0)
    assert grey.broken == 1 / 5 and 'x.jpg' in grey.first_broken and grey.alike == 2 / 4


def test_a_recipe_is_a_config(tmp_path):
    """Its text reads back equal, so that tools/train.py does the same; it is the same each time; choices say why."""
    recipe, again = (fit('digits', epochs=3, out=tmp_path / 'run') for _ in range(2))
    assert recipe.text() == again.text()
    path = tmp_path / 'mine.py'
    path.write_text(recipe.text())
    loaded = load_config(path)
    assert dict(
        loaded._cfg_dict.to_dict(), config_version=None) == dict(
            recipe.cfg._cfg_dict.to_dict(), config_version=None)
    assert all(choice.reason for choice in recipe.choices) and len(recipe.lines()) == len(recipe.choices) > 12
    assert '# learning rate' in recipe.text() and recipe.cfg.work_dir == str(tmp_path / 'run')
    cfg = recipe.cfg
    assert cfg.model.backbone.in_channels == 1 and cfg.data.train.data_source.color_type == 'grayscale'
    assert cfg.runner.max_epochs == 3 and [hook.type for hook in cfg.custom_hooks
                                           ] == ['KNNEvalHook', 'CollapseMonitorHook', 'ReportHook']
    assert cfg.auto_scale_lr.base_batch_size == global_batch(cfg, 1)
    steps = [step.type for step in cfg.data.train.pipelines[0]]
    assert 'RandomGrayscale' not in steps and 'RandomHorizontalFlip' in steps


def test_what_the_user_fixes():
    """Settings win, are marked, and what depends on them follows; numbers of the command line are read as such."""
    free = fit('digits', 'simclr', epochs=1)
    recipe = fit(
        'digits',
        'simclr',
        epochs=1,
        settings={
            'data.samples_per_gpu': OptionText('64'),
            'amp.dtype': OptionText('bfloat16'),  # where it may have been None
            'custom_hooks': None,
            'model.head.temperature': OptionText('0.25'),
            'image_size': '48',
            'flip': 'false'
        })
    fixed = {choice.name: choice for choice in recipe.choices if choice.fixed}
    assert {
        'method', 'batch size', 'model.head.temperature', 'image size', 'flips', 'epochs', 'amp.dtype', 'evaluation'
    } == set(fixed)
    assert fixed['batch size'].value == 64 and recipe.cfg.model.head.temperature == 0.25
    assert recipe.cfg.optimizer.lr == pytest.approx(
        free.cfg.optimizer.lr * math.sqrt(64 / free.cfg.data.samples_per_gpu), rel=1e-2)
    steps = {step.type: step for step in recipe.cfg.data.train.pipelines[0]}
    assert steps['RandomResizedCrop'].size == 48 and 'RandomHorizontalFlip' not in steps
    wide = fit('digits', epochs=1, settings={'model.backbone.base_channels': 64})
    assert wide.cfg.model.neck.in_channels == 512  # the neck follows the user's backbone
    few = dict(type='Digits', num_images=40)
    for settings, words in (({
            'image_size': 'big'
    }, 'image_size is an integer'), ({
            'flip': 3
    }, 'flip is true or false'), ({
            'color_jitter': 'no'
    }, "color_jitter is true or false, got 'no'"), ({
            'optimiser.lr': 1
    }, 'optimizer'), ({
            'optimizer': OptionText('5')
    }, 'optimizer must be dict, got 5'), ({
            'model': None
    }, 'model is None in the config, and is needed'), ({
            'data.samples_per_gpu': OptionText('0')
    }, 'data.samples_per_gpu is an integer of at least 1, got 0'), ({
            'runner.max_epochs': OptionText('3')
    }, 'the length is given twice: by the setting runner.max_epochs and by the epochs'), ({
            'image_size': '100000'
    }, 'image_size is at most 4096, got 100000'), ({
            'log_level': 'LOUD'
    }, "log_level is 'DEBUG'.*got 'LOUD'"), ({
            'model.neck': OptionText('NonLinearNeck')
    }, "model.neck is a dict of settings, got 'NonLinearNeck'"), ({
            'work_dir': 'there'
    }, 'the folder of the run is here or there')):
        with pytest.raises(ConfigError, match=words):
            fit(few, epochs=1, settings=settings, out='here')
    with pytest.raises(ConfigError, match="runner.max_epochs is an integer of at least 1, got 'many'"):
        fit(few, settings={'runner.max_epochs': OptionText('many')})
    for how, words in ((dict(method=None), "method is a name, or 'auto', got None"), (dict(model=3), 'model is a name'),
                       (dict(settings=['a=1']), r"settings are a dict.*got \['a=1'\]"), (dict(settings={3: 1}),
                                                                                         'settings are')):
        with pytest.raises(ConfigError, match=words):
            fit('digits', epochs=1, **how)
    labels = np.arange(40) % 4
    labelled = fit(few, epochs=1, labels=labels)
    assert labelled.facts['data'].classes == 4
    assert f'labels={labels.tolist()}'.replace(' ', '') in re.sub(r'\s', '', labelled.text())
    with pytest.raises(ConfigError, match='one image is there'):
        fit(dict(type='Digits', num_images=1))


@pytest.mark.parametrize('method', ['simclr', 'byol', 'swav', 'dino'])
def test_colours_that_stay(method, photo_folder):
    """Where colours tell images apart, no view changes them."""
    steps = {}
    for keep in (False, True):
        recipe = fit(str(photo_folder), method, epochs=1, settings={'color_jitter': 'false'} if keep else {})
        steps[keep] = str(recipe.cfg.data.train.pipelines)
        assert [c.value for c in recipe.choices if c.name == 'colours'] == ['as they are'] * keep
    colours = 'ColorJitter', 'RandomGrayscale', 'Solarization'
    assert 'ColorJitter' in steps[False] and not any(step in steps[True] for step in colours)
    assert 'RandomResizedCrop' in steps[True]


def test_epochs_by_the_time(monkeypatch):
    """So many as fit behind start and evaluations; too short a time is said, and what would do."""
    monkeypatch.setattr(fitting, 'measure', lambda cfg: FIGURES)
    recipe = fit('digits', time='10m')
    used = recipe.cfg.runner.max_epochs * (1437 // recipe.cfg.data.samples_per_gpu) * 0.5
    assert 0.85 * 600 < used < 0.98 * 600 - 10
    short = fit('digits', time=11)
    words = next(words for words in short.warnings if 'too short for one epoch' in words)
    enough = re.search('A time of ([0-9]+) min would make 20 epochs', words)
    assert short.cfg.runner.max_epochs == 1
    assert fit('digits', time=f'{enough[1]}m').cfg.runner.max_epochs >= 20
    # so many iterations, of other images each, as end in time; what goes by the number of images follows
    part = fit('digits', 'mocov2', time=15, settings={'data.samples_per_gpu': 64}).cfg
    assert part.data.train.data_source.subset.num == 10 * 64 or 64 * 7 < part.data.train.data_source.subset.num < 640
    assert part.model.queue_len <= part.data.train.data_source.subset.num / 2
    whole = fit('digits', time='10m').cfg
    slow = dataclasses.replace(FIGURES, between=20., evaluation=0.01)
    monkeypatch.setattr(fitting, 'measure', lambda cfg: slow)
    clusters = fit('digits', time='10m').cfg
    steps = 1437 // clusters.data.samples_per_gpu
    assert clusters.runner.max_epochs < 0.95 * 600 / (steps * 0.5 + 20) < whole.runner.max_epochs
    looks = clusters.runner.max_epochs / clusters.custom_hooks[0].interval + 1
    assert looks * 0.01 * (1437 + 360) < 0.25 * 600  # not more than about a fifth of the time is for evaluations
    with pytest.raises(ConfigError, match='not both'):
        fit('digits', time=3, epochs=3)


def test_iterations_and_what_is_between_epochs():
    """The gap at the end of an epoch is no iteration; where none was seen, the clustering that is known counts."""
    assert _per_iteration([0, 1, 2, 7, 8, 13], [0, 0, 0, 1, 1, 2], 9.) == (1., 4.)
    assert _per_iteration([0, 1, 2], [0, 0, 0], 9.) == (1., 9.)
    assert _per_iteration([0, 3, 6], [0, 1, 2], 9.) == (3., 0.)
    assert FIGURES.epoch(4) == 2. and dataclasses.replace(FIGURES, between=3.).epoch(4) == 5.


def test_batches_on_a_gpu(monkeypatch):
    """Half the batch, and its learning rate, until a step fits; what the user fixed is not changed."""
    sizes = []

    def limited(cfg):
        sizes.append(cfg.data.samples_per_gpu)
        if sizes[-1] > 64:
            raise ConfigError('iteration 1 fails: CUDA out of memory')
        return FIGURES

    monkeypatch.setattr(fitting, 'measure', limited)
    monkeypatch.setattr(fitting, 'look_at_machine', lambda: GPU)
    recipe = fit('digits', 'simclr', epochs=2)
    assert sizes == [256, 128, 64] and recipe.cfg.optimizer.lr == pytest.approx(1e-3, rel=0.01)
    assert recipe.cfg.auto_scale_lr.base_batch_size == 64
    with pytest.raises(ConfigError, match='out of memory'):
        fit('digits', epochs=2, settings={'data.samples_per_gpu': 256})


@pytest.mark.parametrize('load, fewer, seconds, chosen', [(0., 1, 0.01, None), (1.5, 2, 0.1, 2), (1.5, 2, 0.45, None),
                                                          (9., 1, 0.1, 1)])
def test_threads_beside_other_programs(load, fewer, seconds, chosen, monkeypatch):
    """Fewer threads are measured where the cores are busy, and taken where a step is faster so; the time follows."""
    tried = []

    def measured(cfg):
        tried.append(cfg.get('torch_num_threads'))
        return FIGURES if tried[-1] is None else dataclasses.replace(FIGURES, iteration=seconds)

    monkeypatch.setattr(fitting, 'measure', measured)
    monkeypatch.setattr(fitting, 'look_at_machine', lambda: dataclasses.replace(CPU, load=load))
    monkeypatch.setattr('torch.get_num_threads', lambda: 4)
    recipe = fit('digits', time='10m')
    assert tried == ([None, fewer] if load else [None]) and recipe.cfg.get('torch_num_threads') == chosen
    words = [choice.reason for choice in recipe.choices if choice.name == 'threads']
    assert [f'{1e3 * seconds:.0f} ms so, and 500 with 4' in each for each in words] == [True] * bool(chosen)
    assert recipe.facts['measured'].iteration == (seconds if chosen else 0.5)
    if load:
        tried.clear()
        fit('digits', time='10m', settings=dict(torch_num_threads=3))
        assert tried == [3]


def test_threads_of_a_config():
    """They hold where the config asks for them, and are those of before afterwards."""
    before = torch.get_num_threads()
    with torch_threads_of(Config(dict(torch_num_threads=before + 1))):
        assert torch.get_num_threads() == before + 1
    with torch_threads_of(Config(dict())):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
    with pytest.raises(ConfigError, match='torch_num_threads'), torch_threads_of(Config(dict(torch_num_threads=0))):
        pass


def test_what_follows_from_settings(monkeypatch):
    """Accumulation, part of the images, another optimizer; an optimizer that is not known is said."""

    def fitted(settings, method='simclr'):
        return fit('digits', method, epochs=1, settings=settings)

    assert fitted({'optimizer_config.update_interval': 4, 'data.samples_per_gpu': 64}).cfg.optimizer.lr == 2e-3
    part = fitted({'data.train.data_source.subset.num': 40, 'image_size': 96}, 'deepcluster').cfg
    extractor = part.custom_hooks[0].extractor.dataset.data_source
    assert part.data.samples_per_gpu == 16 and extractor.subset.num == 40
    assert part.custom_hooks[0].clustering.pca_dim == 10  # 256 would be more than there are images
    for kind, lr in dict(SGD=0.1, LARS=0.15).items():
        optimizer = fitted({'optimizer.type': kind, 'data.samples_per_gpu': 128}).cfg.optimizer
        assert (optimizer.type, optimizer.lr, optimizer.momentum) == (kind, lr, 0.9)
    assert any('learning rate of NAdam' in words for words in fitted({'optimizer.type': 'NAdam'}).warnings)
    given = {choice.name: choice for choice in fitted({'optimizer': dict(type='SGD', lr=0.3)}).choices}
    assert given['learning rate'].value == 0.3 and given['learning rate'].reason == given['optimizer'].reason == 'given'
    with pytest.raises(ConfigError, match='recipes count epochs, here of 5 iterations'):
        fitted({'runner.max_iters': 7})
    # a step has to fit into half of the memory, and a few images make few steps
    monkeypatch.setattr(fitting, 'look_at_machine', lambda: dataclasses.replace(CPU, memory=0.05))
    choices = {choice.name: choice for choice in fitted({}).choices}
    assert choices['batch size'].value < 64 and 'half of the 0.05 GB' in choices['batch size'].reason
    monkeypatch.setattr(fitting, 'look_at_machine', lambda: dataclasses.replace(CPU, cores=64))
    choices = {choice.name: choice for choice in fitted({'data.train.data_source.subset.num': 72}).choices}
    assert choices['batch size'].reason == 'an epoch of 72 images has 2 steps' and choices['workers'].value == 8


def test_networks_of_timm_and_the_sizes_of_views():
    """A vision transformer takes small crops too; what cannot is refused, and too coarse a network is said."""
    recipe = fit('digits', 'dino', 'timm:test_vit', epochs=1)
    assert recipe.cfg.model.backbone.dynamic_img_size and recipe.cfg.model.backbone.img_size == 32
    assert any('makes a map of 2 x 2 of an image of 32 pixels' in words for words in recipe.warnings)
    with pytest.raises(ConfigError, match='takes images of one size, and jigsaw has views of several'):
        fit('digits', 'jigsaw', 'timm:mixer_s32_224', epochs=1)
    for name, size, words in (('vit_b_16', 40, 'patches of 16 pixels, and the views have 40: --set image_size=32'),
                              ('vit_b_19', 38, 'torchvision has no network')):
        with pytest.raises(ConfigError, match=words):
            wrapped_config(f'torchvision:{name}', 3, size)
    assert wrapped_config('torchvision:vit_b_16', 3, 48)['image_size'] == 48


def test_copies_are_no_negatives(photo_folder, tmp_path):
    """What copies of images do depends on the method, and so does what helps."""
    for i in range(8):
        shutil.copy(photo_folder / 'china' / '00.jpg', tmp_path / f'{i}.jpg')
    for method, words in dict(simclr='negatives of an image hold copies of it', vicreg='show nothing new').items():
        recipe = fit(tmp_path, method, epochs=1)
        assert recipe.name.startswith(f'{method}_resnet10-narrow_')  # of 200 pixels, seen in views of 64
        warning = next(w for w in recipe.warnings if '100% of the images have a near-duplicate' in w)
        assert words in warning and ('--method byol' in warning) == (method == 'simclr')


def test_cae_on_small_images(photo_folder):
    """The grid of words, of patches and of the mask is the same, and the user's tokenizer takes the place of ours."""
    cfg = fit(photo_folder, 'cae', epochs=1, settings={'model.head.tokenizer_path': 'dalle.pth'}).cfg
    steps = {step.type: step for step in cfg.data.train.pipeline}
    crop, mask = steps['RandomResizedCropAndInterpolationWithTwoPic'], steps['BEiTMaskGenerator']
    side = crop.size // cfg.model.backbone.patch_size
    assert (crop.size, crop.second_size, mask.input_size) == (64, 8 * side, side)
    assert cfg.model.neck.mask_tokens_num == mask.num_masking_patches == side**2 // 2
    assert cfg.model.head.tokenizer_path == 'dalle.pth' and 'random_tokenizer' not in cfg.model.head
    assert 'num_classes' not in cfg.model.neck


def test_methods_and_their_needs(photo_folder, tmp_path):
    for method, words in dict(supcon='learns from labels', seed='needs a teacher', cae='needs a tokenizer').items():
        data = tmp_path / 'flat'
        if not data.exists():
            shutil.copytree(photo_folder / 'china', data)
        with pytest.raises(ConfigError, match=words):
            fit(data, method)
    for arguments, words in ((dict(method='simclrr'), "did you mean 'simclr'"), (dict(model='resnet19'),
                                                                                 'there is no network'),
                             (dict(model='timm:resnet999'), 'timm has no'), (dict(method='mae', model='resnet18'),
                                                                             'take --model vit_mini')):
        with pytest.raises(ConfigError, match=words):
            fit('digits', **arguments)
    cfg = fit('digits', 'MoCo', epochs=1).cfg
    assert (cfg.model.type, cfg.model.queue_len, 512 % cfg.data.samples_per_gpu) == ('MoCo', 512, 0)
    # 143 of 1437 images are held out, and are none to learn from
    assert fit(dict(type='Digits'), 'swav', epochs=1).cfg.model.head.num_prototypes == (1437 - 143) // 24
    cfg = fit('digits', 'odc', epochs=1).cfg
    assert cfg.model.head.num_classes == cfg.model.memory_bank.num_classes == cfg.custom_hooks[
        0].clustering.k == 1437 // 70


def test_images_of_many_channels(tiles):
    cfg = fit(tiles, epochs=1).cfg
    assert cfg.model.backbone.in_channels == 13 and len(cfg.img_norm_cfg.mean) == 13
    steps = {step.type: step for step in cfg.data.train.pipelines[0]}
    jitter = steps['RandomAppliedTrans'].transforms[0]
    assert jitter.hue == jitter.saturation == 0 and 'RandomGrayscale' not in steps
    # what is held out is not trained on, and both are all
    train, val = cfg.data.train.data_source, cfg.custom_hooks[0].val_dataset.data_source
    parts = [set(build_source(source).indices.tolist()) for source in (train, val)]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 48


@pytest.mark.long
def test_measuring_leaves_no_trace(monkeypatch):
    """Some real iterations: the config and the random numbers are as before, and the figures are of them."""
    recipe = fit('digits', 'dino', epochs=1, settings={'data.samples_per_gpu': 16, 'data.workers_per_gpu': 0})
    before = recipe.text()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    found = measure(recipe.cfg, 0, 1)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected and recipe.text() == before
    assert found.iterations >= 1 and 0 < found.iteration < 60 and found.parameters > 10**6
    assert found.loss == pytest.approx(math.log(256), rel=0.2) and found.evaluation > 0


def test_the_report_alone_takes_no_time_of_evaluations():
    """Of few images, neither neighbours nor label-free figures are measured, and ReportHook names no images."""
    assert _evaluation(None, dict(type='ReportHook')) == 0 == _evaluation(None, None)


@pytest.mark.long
def test_checks(photo_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fitting, 'measure', lambda cfg: FIGURES)
    good = check(photo_folder, out=tmp_path / 'run')
    assert not good.problems and any('few' in words for words in good.recipe.warnings)
    assert {'data', 'readable', 'labels', 'memory', 'time', 'disk'} <= {name for name, _ in good.found}
    main(['check', str(photo_folder), '--epochs', '3'])
    assert capsys.readouterr().out.endswith(f'it can train: mmssl train {photo_folder} --epochs 3\n')
    for i in range(4):
        (photo_folder / 'china' / f'x{i}.jpg').write_bytes(b'no image')
    (tmp_path / 'list.txt').write_text(''.join(f'{p}\n' for p in photo_folder.glob('*/0*')) + f'{tmp_path}/no.jpg\n')
    try:
        assert 'cannot be read' in check(photo_folder).problems[0]
        assert 'cannot be read' in check(tmp_path / 'list.txt').problems[0]
        assert 'listed files are absent' in check(tmp_path / 'list.txt').problems[1]
        with pytest.raises(SystemExit) as end:
            main(['check', str(tmp_path / 'list.txt')])
        assert end.value.code == 1 and 'problem: ' in capsys.readouterr().out
    finally:
        for i in range(4):
            (photo_folder / 'china' / f'x{i}.jpg').unlink()


def test_commands(tmp_path, capsys):
    main([
        'config', 'digits', '--method', 'byol', '--epochs', '2', '--set', 'optimizer.lr=0.01', '--out',
        str(tmp_path / 'byol.py')
    ])
    assert '0.01' in capsys.readouterr().out
    cfg = load_config(tmp_path / 'byol.py')
    assert (cfg.model.type, cfg.optimizer.lr, cfg.runner.max_epochs) == ('BYOL', 0.01, 2)
    main(['recipes', 'simclr-resnet18_folder', '--json'])  # the option is none of the words
    assert [row['name'] for row in json.loads(capsys.readouterr().out)] == ['simclr-resnet18_folder']
    main(['recipes', 'simclr-resnet18_folder'])
    assert '\n1 config, below ' in capsys.readouterr().out
    main(['recipes', 'simclr', 'resnet50', 'vissl'])
    out = capsys.readouterr().out
    assert 'vissl-simclr_resnet50_64xb64-coslr-100e_in1k ' in out and '64.4 top 1, linear evaluation' in out
    with pytest.raises(SystemExit):
        main(['recipes', 'nosuchword'])
    assert 'no config has the words nosuchword' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('size', [32, 96])
@pytest.mark.parametrize('name', [name for name, method in METHODS.items() if method.needs in ('', 'labels')])
def test_each_method_trains(name, size, photo_folder):
    settings = {'data.samples_per_gpu': 8, 'data.workers_per_gpu': 0, 'image_size': size}
    recipe = fit(photo_folder if size == 96 else 'digits', name, epochs=1, settings=settings)
    assert np.isfinite(measure(recipe.cfg, 0, 1).loss)
    assert choose.METHODS[name].recipe_config
