"""Configs: options of the command line, typos, places of errors."""
import argparse
import subprocess
import sys

import pytest

from mmssl.utils.config import add_cfg_options, check_sections, config_section, load_config, parse_value
from mmssl.utils.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'base.py').write_text('num_classes = 7\n'
                                      'model = dict(type="A", neck=dict(type="N", num_layers=2), head=dict(k=1))\n')
    (tmp_path / 'top.py').write_text('_base_ = ["base.py"]\n'
                                     'custom_imports = dict(imports=["colorsys"], allow_failed_imports=False)\n'
                                     'model = dict(neck=dict(_delete_=True, type="M"), '
                                     'head=dict(k={{_base_.num_classes}}))\n'
                                     'optimizer = dict(type="SGD", lr=0.1)\n'
                                     'data = dict(train=dict(pipeline=[dict(p=0.1), dict(p=0.2)]))\n')
    return tmp_path / 'top.py'


def test_inheritance(config):
    """Rows CFG-03, CFG-04, CFG-05, CFG-08."""
    sys.modules.pop('colorsys', None)
    cfg = load_config(config)
    assert cfg.model == dict(type='A', neck=dict(type='M'), head=dict(k=7))
    assert 'colorsys' in sys.modules


@pytest.mark.parametrize('text, value', [('1', 1), ('1e-3', 1e-3), ('true', True), ('False', False), ('None', None),
                                         ('a/b.txt', 'a/b.txt'), ('1,2', [1, 2]), ('[1,2]', [1, 2]), ('(1,)', (1, )),
                                         ('[]', []), ('[(train,1),(val,1)]', [('train', 1), ('val', 1)]),
                                         ('"1,2"', '1,2'), ('[a,[b,c]]', ['a', ['b', 'c']])])
def test_values(text, value):
    """Row CFG-07."""
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


def test_options(config):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    options = parser.parse_args([
        '--cfg-options', 'data.train.pipeline.1.p=0.0', 'model.neck.width=3', '--cfg-options',
        'workflow=[(train,1),(val,1)]', 'seed=0'
    ]).cfg_options
    cfg = load_config(config, options)
    assert cfg.data.train.pipeline == [dict(p=0.1), dict(p=0.0)]
    assert cfg.model.neck.width == 3 and cfg.workflow == [('train', 1), ('val', 1)] and cfg.seed == 0


def test_options_for_single_values_of_a_list(config):
    cfg = load_config(config, {'optimizer.betas': [0.9, 0.99]})
    cfg = load_config(cfg, {'optimizer.betas.1': 0.95, 'optimizer.betas.0': 0.8, 'data.train.pipeline.0.p': 0.3})
    assert cfg.optimizer.betas == [0.8, 0.95]
    assert cfg.data.train.pipeline == [dict(p=0.3), dict(p=0.2)]
    assert load_config(cfg, {'data.val.steps.0': 1}).data.val.steps == {'0': 1}  # no such list: a dict, as in mmcv
    with pytest.raises(ConfigError, match='--cfg-options optimizer.betas.2=1: list assignment index out of range'):
        load_config(cfg, {'optimizer.betas.2': 1})


@pytest.mark.parametrize('options, message', [
    ({
        'optimzer.lr': 1
    }, "unknown key 'optimzer.lr'; did you mean 'optimizer'"),
    ({
        'channel_last': True
    }, "did you mean 'channels_last'"),
    ({
        'data.train.pipeline.5.p': 1
    }, 'data.train.pipeline.5.p=1'),
    ({
        'optimizer.lr.value': 1
    }, 'optimizer.lr.value=1'),
])
def test_wrong_options(config, options, message):
    """PITFALLS: a wrong config key raises and names the nearest valid key."""
    with pytest.raises(ConfigError, match=message):
        load_config(config, options)


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='config file .*nowhere.py does not exist'):
        load_config(tmp_path / 'nowhere.py')
    (tmp_path / 'a.py').write_text('model = dict(\n')
    with pytest.raises(ConfigError, match='a.py: There are syntax errors'):
        load_config(tmp_path / 'a.py')


def test_absent_sections(config):
    cfg = load_config(config)
    check_sections(cfg, ['model', 'data.train'])
    with pytest.raises(ConfigError, match="no 'runner'"):
        check_sections(cfg, ['runner'])
    with pytest.raises(ConfigError, match="no 'optimizers'; did you mean .*'optimizer'"):
        check_sections(cfg, ['optimizers'])


def test_place_of_an_error(config):
    cfg = load_config(config)
    with pytest.raises(ConfigError, match=r'wrong \(at model.neck in the config\)'):
        with config_section(cfg, 'model'):
            raise ConfigError('wrong', cfg.model.neck)
    with pytest.raises(ConfigError, match=r'wrong \(at optimizer in the config\)'):
        with config_section(cfg, 'optimizer'):
            raise ConfigError('wrong', dict(cfg.optimizer))


def test_helpers_are_cheap_to_import():
    code = ('import sys; from mmssl.utils import ConfigError, run_tool, DictAction; import mmssl.utils.config; '
            'sys.exit("torch" in sys.modules or "mmcv" in sys.modules)')
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


class Unsquare:

    def __len__(self):
        return 1

    def __getitem__(self, idx):
        raise ConfigError('only square images can be turned')


def test_an_error_of_a_worker_process_is_one_line(monkeypatch):
    from torch.utils.data import DataLoader

    from mmssl.utils.misc import run_tool
    monkeypatch.delenv('MMSSL_DEBUG', raising=False)
    with pytest.raises(SystemExit, match='^error: only square images can be turned$'):
        run_tool(lambda: next(iter(DataLoader(Unsquare(), num_workers=1))))
