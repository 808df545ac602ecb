"""Files that tools write."""
import json
from pathlib import Path

import numpy as np
import pytest

from mmssl.utils import misc
from mmssl.utils.misc import write_json


def no_constants(name):
    raise ValueError(name)


def test_json_has_no_nan(tmp_path):
    """null stands for what is not finite, and a list says where it was and what."""
    value = {'a': [1, float('nan')], 'b': dict(c=np.float32('inf')), 3: (np.int64(2), np.arange(2)), 'd': None}
    write_json(tmp_path / 'x.json', value)
    found = json.loads((tmp_path / 'x.json').read_text(), parse_constant=no_constants)
    assert found == {'a': [1, None], 'b': dict(c=None), '3': [2, [0, 1]], 'd': None,
                     'not_finite': ['a[1]: nan', 'b.c: inf']}  # yapf: disable
    with pytest.raises(TypeError):
        write_json(tmp_path / 'x.json', dict(a=object()))
    assert json.loads((tmp_path / 'x.json').read_text()) == found


def test_warnings_of_the_package_are_one_line(monkeypatch):
    """A warning of ours has no place in the code and no line of it; those of others stay as they are."""
    text = misc._format_warning(UserWarning('k 200 is too many'), UserWarning, misc.__file__, 3, 'warnings.warn(')
    assert text == 'warning: k 200 is too many\n'
    text = misc._format_warning(UserWarning('theirs'), UserWarning, '/lib/torch/x.py', 3, 'code')
    assert text.startswith('/lib/torch/x.py:3: UserWarning: theirs')
    for name, value in dict(RANK='1', WORLD_SIZE='2').items():
        monkeypatch.setenv(name, value)
    assert not misc._format_warning(UserWarning('k'), UserWarning, misc.__file__, 3)


def test_the_commit_is_that_of_the_clone(tmp_path, monkeypatch, capfd):
    """From another folder there was an error of git, or the commit of another project."""
    from mmssl.utils.collect_env import _commit
    root = Path(__file__).resolve().parents[2]
    here = _commit()
    assert (here == 'unknown') == (not (root / '.git').exists())
    monkeypatch.chdir(tmp_path)
    assert _commit() == here and capfd.readouterr().err == ''
