"""Configs as text: what is written reads back equal, whatever strings are in it."""
import math
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv import Config, ConfigDict

from mmssl.utils.config_file import read_plain
from mmssl.utils.config_text import config_text, differences
from mmssl.utils.errors import ConfigError

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # with surrogates, as file names of other bytes have
TEXT = ANY_TEXT | st.sampled_from(
    ["John's photos", r'(bn|gn)(\d+)?.(weight|bias)\\', '{{ fileDirname }}', '{{{_base_.model}}', '"""\'\'\'', '照片\n'])
NUMBERS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary(max_size=8)
VALUES = st.recursive(
    TEXT | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.tuples(inner, inner)
    | st.dictionaries(TEXT | st.sampled_from(['class', 'lr', 'ﬁ']), inner, max_size=4),
    max_leaves=8)
NAMES = st.sampled_from(['model', 'data', 'a b', 'class', 'dict', 'ﬁ', "it's"]) | st.from_regex(r'\A[a-z]{1,3}\Z')


def read(text, folder):
    path = folder / 'saved.py'
    path.write_text(text, encoding='utf-8')
    return Config.fromfile(str(path))._cfg_dict


@pytest.mark.long
@settings(max_examples=150, deadline=None, database=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_config_reads_back_equal(tmp_path_factory, content):
    content.pop('filename', None)
    found = read(config_text(content), tmp_path_factory.getbasetemp())
    assert found == ConfigDict(content)
    assert repr(found) == repr(ConfigDict(content)) or 'dict' in content  # tuples are no lists, 1 is not 1.0 nor True
    assert not list(differences(content, found))
    assert read_plain(config_text(content)) == content  # as the config in a checkpoint is read, without running it


def test_numbers_of_numpy_and_paths_become_plain(tmp_path):
    given = dict(
        lr=np.float32(0.5),
        sizes=np.arange(3),
        name=np.str_("a'b"),
        root=Path("/data/John's photos"),
        pair=namedtuple('Pair', 'a b')(1, np.int64(2)),
        order=OrderedDict(b=1, a={3, 1}),
        limits=[math.inf, -math.inf])
    found = read(config_text(given), tmp_path)
    assert found == dict(
        lr=0.5,
        sizes=[0, 1, 2],
        name="a'b",
        root="/data/John's photos",
        pair=(1, 2),
        order=dict(b=1, a={1, 3}),
        limits=[math.inf, -math.inf])
    assert type(found['lr']) is float and type(found['pair'][1]) is int
    assert math.isnan(read(config_text(dict(x=math.nan)), tmp_path)['x'])


def test_what_has_no_text_is_refused_with_its_place():
    with pytest.raises(ConfigError, match=r"custom_hooks\.0\.type is <class '.*Config'>, of type type: .*registered"):
        config_text(dict(custom_hooks=[dict(type=Config)]))


def test_differences_name_the_very_settings():
    old = dict(optimizer=dict(lr=0.1, type='SGD'), steps=[1, 2], pipeline=[dict(p=0.5), dict(p=1)], amp=None, gone=1)
    new = dict(optimizer=dict(lr=0.2, type='SGD'), steps=[1, 2, 3], pipeline=[dict(p=0.5), dict(p=True)], amp=None)
    assert list(differences(old, new)) == [('optimizer.lr', '0.1', '0.2'), ('steps', '[1, 2]', '[1, 2, 3]'),
                                           ('pipeline.1.p', '1', 'True'), ('gone', '1', '(absent)')]
    assert list(differences(Config(old), old)) == []
