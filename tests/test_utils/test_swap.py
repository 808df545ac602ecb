"""Components of a config that the command line takes from other files."""
import argparse
import copy
import warnings
from pathlib import Path

import pytest

from mmssl.utils.config import add_cfg_options, load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.swap import swap_notes

ROOT = Path(__file__).resolve().parents[2]
RECIPE = 'configs/selfsup/simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py'


def options(*args):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(args).cfg_options


@pytest.fixture(scope='module')
def plain():
    return load_config(RECIPE)


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


def test_a_file_or_a_part_of_it_replaces_what_is_there(plain, tmp_path, monkeypatch):
    """Nothing of the old component stays, all else does; --cfg-options come after, in whatever order."""
    monkeypatch.chdir(tmp_path)
    schedule = load_config('configs/selfsup/_base_/schedules/adamw_coslr-300e_in1k.py')
    cfg = load_config(RECIPE, options('--swap', 'adamw_coslr-300e_in1k'))
    assert dict(cfg) == {**plain, **schedule} and cfg.optimizer.type == 'AdamW' and 'momentum' not in cfg.optimizer
    for order in ([2, 3, 0, 1], [0, 1, 2, 3]):
        words = ['--swap', 'optimizer=adamw_coslr-300e_in1k', '--cfg-options', 'optimizer.lr=3']
        given = options(*(words[i] for i in order))
        cfg = load_config(RECIPE, given)
        assert dict(cfg) == {**plain, 'optimizer': {**schedule.optimizer, 'lr': 3}}
        assert cfg.runner == plain.runner and cfg.optimizer.lr == 3
    assert swap_notes(given) == [
        f'--swap: optimizer is that of {ROOT}/configs/selfsup/_base_/schedules/adamw_coslr-300e_in1k.py'
    ]
    for words in (['--cfg-options', 'lr_config=None', '--swap'], ['--swap']):
        after = [] if len(words) > 1 else ['--cfg-options', 'lr_config=None']
        cfg = load_config(RECIPE, options(*words, 'adamw_coslr-300e_in1k', *after))
        assert cfg.lr_config is None and cfg.optimizer == schedule.optimizer
    cfg = load_config(RECIPE, options('--swap', 'model.backbone=models/mae_vit-base-p16', 'model.neck=MoCoV2Neck'))
    assert cfg.model.backbone.type == 'MAEViT' and 'depth' not in cfg.model.backbone
    assert cfg.model.neck == dict(type='MoCoV2Neck') and cfg.model.head == plain.model.head
    cfg = load_config(
        RECIPE,
        options('--swap', 'data.train.pipelines.0.0=CenterCrop', '--cfg-options', 'data.train.pipelines.0.0.size=8'))
    steps = cfg.data.train.pipelines[0]
    assert steps == [dict(type='CenterCrop', size=8), *plain.data.train.pipelines[0][1:]]


def test_files_and_modules_of_ones_own(tmp_path, plain):
    """Variables of the file stay there, and its modules are imported."""
    (tmp_path / 'swapped_module.py').write_text('imported = []\n')
    (tmp_path / 'mine.py').write_text('width = 8\ncustom_imports = dict(imports=["swapped_module"])\n'
                                      'optimizer = dict(type="Mine", lr=width)\n')
    cfg = load_config(RECIPE, options('--swap', f'optimizer={tmp_path}/mine.py'))
    assert cfg.optimizer == dict(type='Mine', lr=8) and 'width' not in cfg and 'custom_imports' not in cfg
    import swapped_module
    assert swapped_module.imported == []
    cfg = load_config(RECIPE, options('--swap', f'{tmp_path}/mine.py'))
    assert cfg.custom_imports.imports == ['swapped_module']


@pytest.mark.parametrize('text, message', [
    ('lars_coslr-200e_in1', "no config 'lars_coslr-200e_in1' below configs; did you mean 'lars_coslr-200e_in1k'?"),
    ('mocov2', "several configs are called 'mocov2': .*configs/selfsup/_base_/models/mocov2.py"),
    ('LARS', '--swap LARS is no config file; .*--swap optimizer=LARS'),
    ('optimizr=LARS', "nothing reads 'optimizr'; did you mean 'optimizer'"),
    ('model.backbon.x=ResNet', "model has no 'backbon'; did you mean 'backbone'"),
    ('data.train.pipelines.7.0=CenterCrop', 'data.train.pipelines has no 7; it has: 0'),
    ('model.queue=mae_vit-base-p16', "has no 'model.queue'; it has: backbone, head"),
    ('optimizer.lr=LARS', 'optimizer.lr is 0.3, which no class takes the place of'),
])
def test_what_cannot_be_swapped(text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(RECIPE, options('--swap', text))


def test_one_place_from_two_files_and_no_change(plain):
    with pytest.raises(ConfigError, match="takes 'optimizer' from lars_coslr-200e_in1k and from SGD"):
        options('--swap', 'lars_coslr-200e_in1k', '--swap', 'optimizer=SGD')
    given = options('--swap', 'models/simclr')
    with pytest.warns(UserWarning, match='--swap models/simclr changes nothing'):
        cfg = load_config(RECIPE, given)
    assert dict(cfg) == dict(plain)
    load_config(RECIPE, given)  # as a run does that goes on


def test_each_shipped_component_changes_a_config(plain):
    """VISSL has components without effect: written one level too high, or below a name that nobody reads."""
    folder = ROOT / 'configs/selfsup/_base_'
    files = sorted(folder.rglob('*.py'))
    assert len(files) > 70
    other = load_config('configs/selfsup/odc/odc_resnet50_8xb64-steplr-440e_in1k.py')
    warnings.simplefilter('ignore')
    for file in files:
        name = file.relative_to(folder).with_suffix('')
        given = options('--swap', f'selfsup/_base_/{name}')
        changed = [dict(load_config(copy.deepcopy(cfg), given)) != dict(cfg) for cfg in (plain, other)]
        assert any(changed) or file.stem == 'default_runtime', f'{name} has no effect'
