"""Versions of configs: old ones are told what has changed, newer ones are refused."""
import inspect
import warnings

import pytest

from mmssl.utils.config import OptionText, load_config
from mmssl.utils.config_text import config_text
from mmssl.utils.config_version import CHANGES, CONFIG_VERSION, with_version
from mmssl.utils.errors import ConfigError

TEXT = "model = dict(type='NPID', neck=[dict(out_indices=None)])\nload_from = None\n"


@pytest.fixture
def read(tmp_path):

    def read(text, options=None):
        """The words that a config is told."""
        (tmp_path / 'a.py').write_text(text)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            load_config(tmp_path / 'a.py', options)
        return [str(w.message) for w in said if 'config_version' in str(w.message)]  # mmcv warns at its import

    return read


def test_old_configs_are_told_what_concerns_them(read):
    words, = read(f'config_version = 1\n{TEXT}')
    assert 'a.py has config_version=1' in words and words.count('\n') == 1 and 'negatives of NPID' in words
    words, = read("config_version = 1\ndata = dict(train=dict(pipeline=[dict(type='ColorJitter')]))\n"
                  "load_from = 'a.pth'")
    assert words.count('\n') == 2 and 'up to 5 grey levels' in words and 'load_from_mismatch' in words
    assert read(TEXT) == read(f'config_version = {CONFIG_VERSION}\n{TEXT}') == []
    assert read(f'config_version = 1\n{TEXT}', {'config_version': OptionText(CONFIG_VERSION)}) == []
    for value, told in (('[1, 2]', 0), ('[2, 1]', 1), ('None', 0)):
        text = TEXT.replace('NPID', 'MoCo').replace('None)', f'{value})')
        assert len(read(f'config_version = 1\n{text}')) == told


def test_wrong_versions(read):
    """The newer one comes before what is unknown in it."""
    newer = CONFIG_VERSION + 1
    with pytest.raises(ConfigError, match=f'a.py has config_version={newer}, .* up to {CONFIG_VERSION}: update mmssl'):
        read(f'config_version = {newer}\nsetting_of_tomorrow = 1\n')
    for value in ('0', '"2"', 'True'):
        with pytest.raises(ConfigError, match='config_version is an integer of at least 1, got'):
            read(f'config_version = {value}\n')


def test_saved_configs_have_the_present_version(read):
    text = config_text(with_version(dict(seed=1, config_version=1)))
    assert text == f'config_version = {CONFIG_VERSION}\nseed = 1\n' and read(text) == []


def test_the_table():
    """Each change is of a version that is there, concerns names that are there, and is told in one line."""
    from mmssl.core import hooks  # noqa: F401 the registries are filled
    from mmssl.core.hooks import CheckpointHook
    from mmssl.datasets import PIPELINES
    from mmssl.models import ALGORITHMS, ResNet
    arguments = {*inspect.signature(CheckpointHook).parameters, *inspect.signature(ResNet).parameters}
    settings = {'load_from', 'init_cfg', 'evaluation', 'IterBasedRunner'}
    for change in CHANGES:
        assert 1 < change.version <= CONFIG_VERSION and change.what and change.adapt
        assert '\n' not in change.what + change.adapt
        for name in change.names:
            assert name in arguments or name in settings or ALGORITHMS.get(name) or PIPELINES.get(name), name
    assert {change.version for change in CHANGES} == {*range(2, CONFIG_VERSION + 1)}
