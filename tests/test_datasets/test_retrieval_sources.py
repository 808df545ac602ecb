"""Benchmarks of instance retrieval, written in their own formats around crops of real photographs."""
import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmssl.datasets import build_datasource
from mmssl.utils.errors import ConfigError


def write(photo, path, box=(0, 0, 120, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).crop(box).save(path, quality=95)


def sources(kind, root, **kwargs):
    return [build_datasource(dict(type=kind, data_prefix=str(root), queries=q, **kwargs)) for q in (False, True)]


def lists(source, protocol='all'):
    return [(e['ok'].tolist(), e['junk'].tolist()) for e in source.ground_truth[protocol]]


@pytest.fixture
def oxford(photographs, tmp_path):
    names = [f'all_souls_{i:06d}' for i in range(5)]
    for i, name in enumerate(names):
        write(photographs[i % 2], tmp_path / f'images/{name}.jpg')
    gnd = tmp_path / 'groundtruth'
    gnd.mkdir()
    (gnd / 'all_souls_1_query.txt').write_text(f'oxc1_{names[2]} 9.6 20.2 110.4 80\n')
    for part, listed in dict(good=[2, 0], ok=[4], junk=[1]).items():
        (gnd / f'all_souls_1_{part}.txt').write_text('\n'.join(names[i] for i in listed) + '\n')
    return tmp_path


@pytest.mark.parametrize('kind', ['Oxford5k', 'Paris6k'])
def test_oxford(oxford, kind):
    database, queries = sources(kind, oxford)
    assert len(database) == 5 and len(queries) == 1 and lists(queries) == lists(database) == [([0, 2, 4], [1])]
    assert queries.get_filename(0) == f'{oxford}/images/all_souls_000002.jpg' == database.get_filename(2)
    np.testing.assert_array_equal(queries.get_array(0), database.get_array(2)[20:80, 10:110])
    _, queries = sources(kind, oxford, exclude=['all_souls_000000'])
    assert lists(queries) == [([1, 3], [0])]


def test_a_part_of_the_database(oxford):
    database, queries = sources('Oxford5k', oxford, num_samples=4)
    assert len(database) == 4 and len(queries) == 1 and lists(queries) == lists(database) == [([0, 2], [1])]
    gnd = oxford / 'groundtruth'
    (gnd / 'a_query.txt').write_text('oxc1_all_souls_000004 0 0 110.4 80')
    for part, name in dict(good='all_souls_000004', ok='', junk='').items():
        (gnd / f'a_{part}.txt').write_text(name)
    database, queries = sources('Oxford5k', oxford, num_samples=4)  # the query that finds nothing came first
    assert len(queries) == 1 and queries.boxes == [(9.6, 20.2, 110.4, 80)] and lists(queries) == [([0, 2], [1])]
    assert len(sources('Oxford5k', oxford)[1]) == 2
    for number, message in ((6, 'num_samples is 6, Oxford5k has 5 images'), (0,
                                                                             'num_samples is an integer of at least')):
        with pytest.raises(ConfigError, match=message):
            sources('Oxford5k', oxford, num_samples=number)
    (gnd / 'all_souls_1_good.txt').write_text('all_souls_000004')
    with pytest.raises(ConfigError, match='no query of Oxford5k finds an image among the first num_samples=2'):
        sources('Oxford5k', oxford, num_samples=2)
    with pytest.raises(ConfigError, match='which a subset would not fit: it takes num_samples instead'):
        sources('Oxford5k', oxford, subset=dict(num=2))


def test_oxford_with_faults(oxford):
    gnd = oxford / 'groundtruth'
    query = gnd / 'all_souls_1_query.txt'
    for text, message in [('all_souls_000002 1 2 3', 'four numbers'), ('nothing 1 2 3 4', 'lists nothing')]:
        query.write_text(text)
        with pytest.raises((ConfigError, FileNotFoundError), match=message):
            sources('Oxford5k', oxford)
    query.write_text('all_souls_000002 300 2 400 4')
    with pytest.raises(ConfigError, match='box .* holds nothing of its 120 x 90 pixels'):
        sources('Oxford5k', oxford)[1].get_array(0)
    (gnd / 'all_souls_1_ok.txt').unlink()
    with pytest.raises(FileNotFoundError, match='all_souls_1_ok.txt'):
        sources('Oxford5k', oxford)
    query.unlink()
    with pytest.raises(FileNotFoundError, match='no files NAME_query.txt'):
        sources('Oxford5k', oxford)
    with pytest.raises(FileNotFoundError, match='no ground truth absent in .*ann_file'):
        sources('Oxford5k', oxford, ann_file='absent')


class Evil:

    def __reduce__(self):
        return print, ('code of a pickle', )


@pytest.mark.parametrize('kind', ['ROxford5k', 'RParis6k'])
def test_revisited(photographs, tmp_path, kind, capsys):
    for i in range(6):
        write(photographs[i % 2], tmp_path / f'jpg/image_{i}.jpg')
    write(photographs[0], tmp_path / 'jpg/query_0.jpg')
    entry = dict(bbx=[10.0, np.float64(20), 110, 80], easy=[3, 1], hard=np.array([5]), junk=np.array([0]))
    found = dict(imlist=[f'image_{i}' for i in range(6)], qimlist=['query_0'], gnd=[entry])
    path = tmp_path / f'gnd_{kind.lower()}.pkl'
    path.write_bytes(pickle.dumps(found, protocol=2))
    database, queries = sources(kind, tmp_path)
    assert len(database) == 6 and len(queries) == 1
    assert lists(queries, 'easy') == [([1, 3], [0, 5])]
    assert lists(queries, 'medium') == [([1, 3, 5], [0])]
    assert lists(queries, 'hard') == [([5], [0, 1, 3])]
    assert queries.get_array(0).shape == (60, 100, 3) and database.get_array(0).shape == (90, 120, 3)
    found['gnd'][0]['hard'] = [6]
    path.write_bytes(pickle.dumps(found))
    with pytest.raises(ConfigError, match='query jpg/query_0.jpg .* beyond the 6'):
        sources(kind, tmp_path)
    found['gnd'] = [dict(easy=[1])]
    path.write_bytes(pickle.dumps(found))
    with pytest.raises(ConfigError, match='easy, hard and junk'):
        sources(kind, tmp_path)
    found['imlist'][0] = 'absent'
    found['gnd'] = [entry]
    path.write_bytes(pickle.dumps(found))
    with pytest.raises(FileNotFoundError, match='1 of 6 listed images .*absent.jpg'):
        sources(kind, tmp_path)
    path.write_bytes(pickle.dumps(dict(found, gnd=Evil())))
    with pytest.raises(ConfigError, match='no ground truth.*print'):
        sources(kind, tmp_path)
    assert 'code of a pickle' not in capsys.readouterr().out
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f'no ground truth {path.name}'):
        sources(kind, tmp_path)


@pytest.mark.parametrize('number', [1, 2])
def test_instre(photographs, tmp_path, number):
    """In MATLAB's form positions count from 1; one query alone is no list there."""
    names = [f'INSTRE-S1/01a_book/{i:03d}.jpg' for i in range(4)]
    for name in names:
        write(photographs[0], tmp_path / name)
    truth = [([0, 3], [10, 20, 110, 80]), ([2], [0, 0, 50, 40])][:number]
    kind = np.dtype([('ok', object), ('bbx', object)])
    gnd = np.array([(np.array(ok) + 1, np.array(box)) for ok, box in truth], kind)
    lists_of = dict(imlist=np.array(names, object), qimlist=np.array(names[:number], object))
    savemat(tmp_path / 'gnd_instre.mat', dict(lists_of, gnd=gnd))
    database, queries = sources('Instre', tmp_path)
    assert len(database) == 4 and len(queries) == number
    assert lists(queries) == [(ok, []) for ok, _ in truth] and queries.get_array(0).shape == (60, 100, 3)
    (tmp_path / 'gnd_instre.mat').unlink()
    plain = dict(imlist=names, qimlist=names[:number], gnd=[dict(ok=ok, bbx=box) for ok, box in truth])
    (tmp_path / 'gnd_instre.pkl').write_bytes(pickle.dumps(plain))
    again = sources('Instre', tmp_path)[1]
    assert lists(again) == lists(queries)
    np.testing.assert_array_equal(again.get_array(0), queries.get_array(0))


def test_copydays_and_holidays(photographs, tmp_path):
    for name in ('original/200000', 'original/200100', 'crops/50/200001', 'jpegqual/3/200101', 'strong/200102'):
        write(photographs[0], tmp_path / f'a/{name}.jpg')
    database, queries = sources('Copydays', tmp_path / 'a')
    assert list(database.samples) == ['original/200000.jpg', 'original/200100.jpg']
    assert list(queries.samples) == ['crops/50/200001.jpg', 'jpegqual/3/200101.jpg', 'strong/200102.jpg']
    assert lists(queries) == [([0], []), ([1], []), ([1], [])] and queries.get_array(0).shape == (90, 120, 3)
    for name in ('100000', '100001', '100002', '100100'):
        write(photographs[0], tmp_path / f'b/{name}.jpg')
    database, queries = sources('Holidays', tmp_path / 'b')
    assert len(database) == 4 and lists(queries) == [([1, 2], [0]), ([], [3])]
    database, queries = sources('Copydays', tmp_path / 'b')
    assert len(database) == 2 and lists(queries) == [([0], []), ([0], [])]
    write(photographs[0], tmp_path / 'b/cat.jpg')
    with pytest.raises(ConfigError, match='cat.jpg .* has no number'):
        sources('Holidays', tmp_path / 'b')
    (tmp_path / 'c').mkdir()
    with pytest.raises(FileNotFoundError, match='Copydays: no images in'):
        sources('Copydays', tmp_path / 'c')
