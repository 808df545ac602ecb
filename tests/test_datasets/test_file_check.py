# Copyright (c) mmssl contributors. All rights reserved.
import json
import logging

import pytest
from mmcv import Config

from mmssl.core.training import build_loader
from mmssl.datasets import ConcatDataset, Folder, ImageList, RepeatDataset, SampleDataset, SingleViewDataset, file_check
from mmssl.datasets.file_check import check_files, find_absent
from mmssl.utils.errors import ConfigError


@pytest.fixture
def lists(tmp_path):
    """Lists: of 1200 files of which 24 are absent, one a link to nowhere; of files that are there; of one absent."""
    (tmp_path / 'a b').mkdir()
    names = [f'a b/{i}.jpg' for i in range(1200)]
    for i, name in enumerate(names):
        if i % 50:
            (tmp_path / name).touch()
    (tmp_path / names[50]).symlink_to(tmp_path / 'nowhere')
    for file, entries in (('some.txt', names), ('all.txt', names[1:2] * 1200), ('few.txt',
                                                                                [*names[1:50] * 24, names[0]])):
        (tmp_path / file).write_text('\n'.join(entries))
    return {
        kind: SingleViewDataset(ImageList(str(tmp_path), ann_file=str(tmp_path / f'{kind}.txt')), [], prefetch=True)
        for kind in ('some', 'all', 'few')
    }


def test_every_absent_file_is_found(lists, monkeypatch):
    some, whole = lists['some'], lists['all']
    absent, looked = find_absent(some, 'all')
    assert [idx for idx, _, _ in absent] == list(range(0, 1200, 50)) and looked == 1200
    assert {reason for _, _, reason in absent} == {'No such file or directory'}
    assert absent[1][1] == some.data_source.get_filename(50)
    told = []
    monkeypatch.setattr(file_check, '_SECONDS', 0)
    both = ConcatDataset([whole, RepeatDataset(some, 2)])
    absent, looked = find_absent(both, 'all', lambda *numbers: told.append(numbers))
    assert looked == 3600 and [idx for idx, _, _ in absent] == list(range(1200, 3600, 50))
    assert told[0] == (1000, 0) and told[-1] == (3600, 48)
    # what is repeated is looked for once
    assert find_absent(RepeatDataset(whole, 3), 'all') == ([], 1200)
    # a sample is spread over the list
    absent, looked = find_absent(some)
    assert looked == 300 and [idx for idx, _, _ in absent] == list(range(0, 1200, 100))
    # both images of a sample
    sources = dict(a=whole.data_source, b=some.data_source)
    assert len(find_absent(SampleDataset(sources, [], prefetch=True), 'all')[0]) == 24


def test_what_is_no_list_is_not_looked_for(lists, photo_folder):
    for data in (SingleViewDataset(Folder(str(photo_folder)), []), SingleViewDataset(dict(type='Digits'), []), [1, 2]):
        assert find_absent(data, 'all') == ([], 0)


@pytest.mark.parametrize('kind, how, options, testing, message', [
    ('some', 'all', {}, False,
     r'24 of the 1200 listed files that were looked for are absent: .*a b/0.jpg \(No such file'),
    ('some', 'all', {}, True, '24 of the 1200 listed files'),
    ('some', 'sample', {}, False, "12 of the 300 .* data.check_files='all' looks for every file"),
    ('some', 'sample', dict(max_share=0.02), False, None),
    ('some', 'sample', dict(policy='stop', max_share=1), False, '12 of the 300'),
    ('some', 'sample', {}, True, None),
    ('some', 'sample', dict(policy='stop'), True, '12 of the 300'),
    ('few', 'sample', {}, False, ''),
    ('few', 'all', {}, False, '1 of the 1177 listed files'),
    ('all', 'all', {}, False, ''),
    ('some', False, {}, False, ''),
])
def test_verdicts(lists, tmp_path, caplog, monkeypatch, kind, how, options, testing, message):
    monkeypatch.setattr(logging.getLogger('mmssl'), 'propagate', True)
    (tmp_path / 'absent_train.json').write_text('of an earlier run')
    arguments = lists[kind], how, options, testing, str(tmp_path)
    if message:
        with pytest.raises(ConfigError, match=message):
            check_files(*arguments)
    else:
        check_files(*arguments)
        warned = 'are absent: ' in caplog.text and ('others stand in', 'are left out')[testing] in caplog.text
        assert warned == (message is None)
    if how and not testing:
        path = tmp_path / 'absent_train.json'
        found = json.loads(path.read_text()) if path.exists() else []
        assert len(found) == dict(some=24 if how == 'all' else 12, few=how == 'all', all=0)[kind]
        assert all(entry['file'].endswith('.jpg') for entry in found)
    if how == 'all' and kind == 'all':
        assert 'all 1200 listed files are there' in caplog.text


def test_one_process_looks_for_all(lists, monkeypatch):
    """The others wait for its verdict, and share it."""
    monkeypatch.setattr(file_check, 'get_rank', lambda: 1)
    monkeypatch.setattr(file_check, 'find_absent', None)
    monkeypatch.setattr(file_check, 'broadcast_object', lambda verdict, patient: ('that of rank 0', None))
    with pytest.raises(ConfigError, match='that of rank 0'):
        check_files(lists['all'], 'all')
    monkeypatch.undo()
    monkeypatch.setattr(file_check, 'find_absent', lambda *args: 1 / 0)
    with pytest.raises(ConfigError, match="data.check_files='all' fails: ZeroDivisionError"):
        check_files(lists['all'], 'all')


def test_a_loader_looks_for_the_files(lists):
    cfg = Config(dict(data=dict(samples_per_gpu=2, workers_per_gpu=0), img_norm_cfg=dict(mean=[0], std=[1])))
    with pytest.raises(ConfigError, match='12 of the 300 listed files'):
        build_loader(lists['some'], cfg)
    cfg.data.check_files = False
    assert len(build_loader(lists['some'], cfg)) == 600
    cfg.data.check_files = 'each'
    with pytest.raises(ConfigError, match="data.check_files is 'sample', 'all' or False, got 'each'"):
        build_loader(lists['all'], cfg)
