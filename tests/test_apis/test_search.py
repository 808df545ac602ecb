"""Similar images: against a plain loop, and what is kept for the next search."""
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import mmssl
from mmssl.apis import search as searching
from mmssl.apis.search import find_run, open_bank, search
from mmssl.apis.sheet import write_sheet
from mmssl.cli import main
from mmssl.utils.errors import BrokenImageError, ConfigError


@pytest.fixture
def place(finished_run, photo_folder, tmp_path, monkeypatch):
    """A folder with `work_dirs/photos`, a run on the `photos` beside it, as the current one."""
    shutil.copytree(photo_folder, tmp_path / 'photos')
    shutil.copytree(finished_run, tmp_path / 'work_dirs/photos')
    for config in (tmp_path / 'work_dirs/photos').glob('*.py'):
        config.write_text(config.read_text().replace(str(photo_folder), 'photos'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_against_a_loop(place):
    run = mmssl.load('work_dirs/photos')
    found = run.features('photos')
    unit = found.features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    similarity = unit @ unit.T
    queries = [3, 17]
    for number, hits in zip(queries, search(run, [f'photos/{found.files[i]}' for i in queries], 'photos', 5)):
        order = [i for i in np.argsort(-similarity[number]) if i != number][:5]  # without itself
        assert [hit.file for hit in hits] == [found.files[i] for i in order]
        np.testing.assert_allclose([hit.similarity for hit in hits], similarity[number][order], atol=1e-5)
        assert [hit.path.name for hit in hits] == [hit.file.split('/')[1] for hit in hits] and hits.searched == 24
    whole = run.search(
        Image.open(f'photos/{found.files[3]}'), k=50)  # of the training's images, as no file: it is found
    assert len(whole) == 24 and whole[0].file == found.files[3] and whole[0].similarity > 0.999
    assert repr(whole).startswith('image 0, most similar of 24 images:\n  1.000  ')
    html = whole._repr_html_()
    assert html.count('<img ') == 25 and 'http' not in html and found.files[5] in html
    given = run.search(f'photos/{found.files[3]}', [f'photos/{name}' for name in found.files[10:]], k=2)
    assert len(given) == 2 and given.searched == 14


def test_what_is_kept(place, monkeypatch):
    """A second search computes nothing; then one file is new, one has changed, one is gone, one is broken."""
    run = mmssl.load('work_dirs/photos')
    first = open_bank(run, 'photos')
    assert first.computed == 24
    again = open_bank(mmssl.load('work_dirs/photos'), 'photos')
    assert again.computed == 0 and again.names == first.names
    np.testing.assert_array_equal(again.features, first.features)
    Image.open('photos/flower/00.jpg').rotate(90).save('photos/china/04.jpg')
    shutil.copy('photos/flower/01.jpg', 'photos/new.jpg')
    os.remove('photos/flower/07.jpg')
    with open('photos/china/05.jpg', 'w') as file:
        file.write('no image')
    changed = open_bank(run, 'photos')
    fresh = run.features('photos')
    assert changed.computed == 3 and changed.names == fresh.files and changed.broken == fresh.broken
    assert list(changed.broken) == ['china/05.jpg']
    np.testing.assert_allclose(changed.features, fresh.features, rtol=1e-5, atol=1e-6)
    assert open_bank(run, 'photos').computed == 0  # the broken one is not tried again
    assert open_bank(run, 'photos').broken == fresh.broken
    # other weights, another layer, another size: nothing of it counts
    assert open_bank(mmssl.load('work_dirs/photos/epoch_1.pth'), 'photos').computed == 24
    assert open_bank(run, 'photos', layer='neck').computed == 24
    assert open_bank(run, 'photos', size=48).computed == 24
    for file in (place / 'work_dirs/photos/features').iterdir():
        file.write_bytes(file.read_bytes()[:100])  # torn
    assert open_bank(run, 'photos').computed == 24
    for path in (place / 'photos').rglob('*.jpg'):
        path.write_bytes(b'')
    with pytest.raises(ConfigError, match='all images are broken, such as china/00.jpg'):
        open_bank(run, 'photos')


def test_the_commands(place, capsys):
    main(['search', 'photos', 'photos/china/03.jpg', 'photos/flower/02.jpg', '--k', '3', '--workers', '0'])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == 'photos/china/03.jpg, by work_dirs/photos, the most similar of 24 images:' and len(told) == 9
    assert told[8] == 'similar.html: the pictures' and (place / 'similar.html').read_text().count('<img ') == 8
    assert 'href="file:///' in (place / 'similar.html').read_text()
    main(['features', 'work_dirs/photos', 'photos', 'out.npy', '--layer', 'neck', '--workers', '0'])
    assert capsys.readouterr().out == 'out.npy: 24 images, 8 dimensions; 0 broken\n'
    np.testing.assert_array_equal(
        np.load('out.npy'),
        mmssl.load('work_dirs/photos').features('photos', layer='neck').features)
    main(['features', 'work_dirs/photos/epoch_1.pth', 'photos', 'maps.npy', '--layer', 'patches', '--workers', '0'])
    assert np.load('maps.npy').shape == (24, 4, 4, 64)
    for command, words in ((['search', 'photos', 'photos/none.jpg'], 'none.jpg'),
                           (['search', 'photos/china', 'photos/china/03.jpg'],
                            'no run in work_dirs was trained on photos/china: name one by --run'),
                           (['search', 'photos', 'photos/china/03.jpg', '--out', 'a.gif'], 'a.gif: a sheet ends with'),
                           (['features', 'work_dirs/photos', 'photos', 'out.csv'], 'written as .npy or .parquet'),
                           (['features', 'work_dirs/photos', 'photos', 'out.npy', '--layer', 'neck,head'], 'one layer'),
                           (['features', 'photos', 'photos', 'out.npy'], 'photos is no run')):  # yapf: disable
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 1 and words in capsys.readouterr().err


def test_which_run(place):
    """The last one that was trained on the data, by whatever path that is named."""
    assert str(find_run('photos')) == str(find_run(place / 'photos')) == 'work_dirs/photos'
    shutil.copytree('work_dirs/photos', 'work_dirs/later')
    saved = place / 'work_dirs/later/20260101_000000_small.py'
    os.utime(saved, (2e9, 2e9))
    assert str(find_run('./photos')) == 'work_dirs/later'
    saved.write_text(saved.read_text().replace("'photos'", "'photos/train'"))
    os.utime(saved, (2e9, 2e9))
    assert str(find_run('photos')) == 'work_dirs/later'
    saved.write_text(saved.read_text().replace("type='Folder'", "type='Catalog', name='digits', split='train'"))
    assert [str(find_run(name)) for name in ('digits', 'digits:train')] == ['work_dirs/later'] * 2
    with pytest.raises(ConfigError, match='trained on digits:test'):
        find_run('digits:test')


def test_sheets_of_all_kinds(place, monkeypatch):
    """Grey, deep and many-channelled images are shown; a sheet that is a picture has all of them."""
    run = mmssl.load('work_dirs/photos')
    hits = run.search('photos/china/00.jpg', k=3)
    hits.save('sheet.png')
    assert Image.open('sheet.png').width > 400
    deep = np.random.default_rng(0).random((20, 30, 13)).astype(np.float32)
    deep[0, 0] = np.nan
    for picture in (deep, np.arange(99, dtype=np.uint8).reshape(9, 11, 1)):
        hits.picture = picture
        write_sheet([hits], 'sheet.html')
        write_sheet([hits], 'sheet.png')
    with pytest.raises(BrokenImageError, match='broken.jpg'):
        (place / 'broken.jpg').write_bytes(b'no image')
        run.search('broken.jpg')
    with pytest.raises(ConfigError, match='a search compares vectors'):
        run.search('photos/china/00.jpg', layer='patches')
    with pytest.raises(ConfigError, match='k is an integer of at least 1, got 0'):
        run.search('photos/china/00.jpg', k=0)
    monkeypatch.setattr(searching, 'atomic_write', _no_space)
    assert len(run.search('photos/china/00.jpg', size=40)) == 9  # nothing is kept, and that is said


def _no_space(*args, **kwargs):
    raise OSError('no space left')
