"""Images that are packed into tar shards: what becomes of files, names and labels, and of a run that is stopped."""
import io
import json
import tarfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import build_datasource
from mmssl.datasets.data_sources import decode_image
from mmssl.datasets.pack import encode, pack_images, shrink
from mmssl.datasets.shard_scan import index_shards
from mmssl.utils.errors import BrokenImageError, ConfigError


def folder_source(folder, kind='ImageNet', **options):
    return build_datasource(dict(type=kind, data_prefix=str(folder), **options))


def shards(folder, **options):
    return build_datasource(dict(type='Shards', data_prefix=str(folder), **options))


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(Path(folder).rglob('*')) if p.is_file()}


def encoded(img, kind='JPEG', **options):
    file = io.BytesIO()
    Image.fromarray(img).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def odd_folder(tmp_path, photographs):
    """Images of two classes with all kinds of names and forms."""
    root = tmp_path / "a user's images"
    photo = photographs[0][:96, :128]
    files = {
        'dogs/1.jpg': encoded(photo),
        'dogs/1.png': encoded(photo, 'PNG'),
        'dogs/a.b.c.JPEG': encoded(photo),
        'dogs/50%.jpeg': encoded(photo[:40]),
        'dogs/a.tar!b\n.jpg': encoded(photo[:50]),
        'dogs/really a png.jpg': encoded(photo, 'PNG'),
        'ca.ts/x/ä.webp': encoded(photo, 'WEBP'),
        'ca.ts/grey.png': encoded(photo[..., 0], 'PNG'),
        'ca.ts/deep.png': encoded(photo[..., 0].astype(np.uint16) * 257, 'PNG'),
        'ca.ts/clear.png': encoded(np.dstack([photo, photo[..., :1]]), 'PNG'),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root, files


def test_files_as_they_are(odd_folder, tmp_path):
    """Every byte, name, label and class, to us and to the webdataset library."""
    import webdataset
    root, files = odd_folder
    source = folder_source(root)
    told = pack_images(source, tmp_path / 'out', samples=4)
    assert told['samples'] == 10 and told['shards'] == 3 and not told['broken']
    packed = shards(tmp_path / 'out')
    assert packed.CLASSES == source.CLASSES == ('ca.ts', 'dogs')
    assert packed.labels.tolist() == source.labels.tolist()
    keys = []
    for i in range(10):
        name = source.samples[i]
        assert packed.get_bytes(i) == files[name]
        member = packed.samples[i].partition('!')[2]
        keys.append(member[:member.index('.', member.rindex('/'))])
        stem = str(Path(name).with_suffix(''))
        assert unquote(keys[-1]) in (stem, name) and not member[member.rindex('/'):].count('.') > 1
    assert len(set(keys)) == 10 and 'dogs/really a png%2ejpg' in keys
    paths = sorted(map(str, (tmp_path / 'out').glob('*.tar')))
    read = list(webdataset.WebDataset(paths, shardshuffle=False))
    assert [sample['__key__'] for sample in read] == keys
    for i, sample in enumerate(read):
        image, = (value for key, value in sample.items() if key not in ('cls', '__key__', '__url__', '__local_path__'))
        assert image == files[source.samples[i]] and int(sample['cls']) == source.labels[i]


def test_same_bytes_by_any_number_of_processes_and_after_an_interruption(photo_folder, tmp_path):
    source = folder_source(photo_folder)
    options = dict(shorter_side=64, samples=5, seed=3)
    pack_images(source, tmp_path / 'a', **options)
    pack_images(source, tmp_path / 'b', workers=2, **options)
    expected = contents(tmp_path / 'a')
    assert expected == contents(tmp_path / 'b') and len(expected) == 5 + 7
    labels = shards(tmp_path / 'a').labels
    assert sorted(labels.tolist()) == [0] * 12 + [1] * 12 and labels.tolist() != sorted(labels.tolist())

    class Stopped(Exception):
        pass

    def stop(done, seen=[0]):
        seen[0] += done
        if seen[0] > 16:
            raise Stopped

    with pytest.raises(Stopped):
        pack_images(source, tmp_path / 'c', progress=stop, **options)
    there = [p.name for p in sorted((tmp_path / 'c').iterdir())]
    assert there == ['images-000000.tar', 'images-000001.tar', 'images-000002.tar', 'unfinished']
    with pytest.raises(FileNotFoundError, match='no index of shards'):
        shards(tmp_path / 'c')
    with pytest.raises(ConfigError, match='beginning of a set that was packed with seed 3, and now it is 4'):
        pack_images(source, tmp_path / 'c', **dict(options, seed=4))
    first, second = tmp_path / 'c/images-000000.tar', tmp_path / 'c/images-000001.tar'
    (tmp_path / 'c/images-000003.tar.123.tmp').write_bytes(b'of a process that was killed')
    index = tmp_path / 'c/index.tmp'  # of one that was killed as it wrote the index
    index.mkdir()
    (index / 'lock').touch()
    (index / 'targets.npy').write_bytes(b'half of it')
    second.write_bytes(second.read_bytes()[:-512] + bytes(511) + b'x')  # damaged meanwhile
    before = first.stat().st_mtime_ns
    assert pack_images(source, tmp_path / 'c', **options)['kept'] == 10
    assert contents(tmp_path / 'c') == expected and first.stat().st_mtime_ns == before
    assert pack_images(source, tmp_path / 'c', **options)['kept'] == 24
    with pytest.raises(ConfigError, match='holds a set that was packed with quality 90, and now it is 80'):
        pack_images(source, tmp_path / 'c', quality=80, **options)
    first.unlink()
    with pytest.raises(FileNotFoundError, match='images-000000.tar'):
        pack_images(source, tmp_path / 'c', **options)


def test_shrunk_images(photographs):
    """Upright, of the asked size, and near Pillow's of the same size."""
    photo = photographs[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    data = encoded(photo, quality=95, exif=exif, icc_profile=b'profile')
    small = shrink(data, 100)
    img = Image.open(io.BytesIO(small))
    assert img.size == (100, 150) and 'icc_profile' not in img.info and not img.getexif()
    wanted = Image.open(io.BytesIO(data)).convert('RGB').transpose(Image.Transpose.ROTATE_270)
    wanted = np.asarray(wanted.resize((100, 150), Image.Resampling.BICUBIC), np.int16)
    theirs = decode_image(encoded(wanted.astype(np.uint8), quality=90))
    assert np.abs(np.asarray(img) - wanted).mean() < 1.1 * np.abs(theirs - wanted).mean() < 4.5
    assert shrink(data, 427) == data  # as large already
    assert len(shrink(data, 100, 50)) < len(small)
    grey = Image.open(io.BytesIO(shrink(encoded(photo[..., 0]), 50)))
    assert grey.mode == 'L' and grey.size == (75, 50)
    clear = Image.open(io.BytesIO(shrink(encoded(np.dstack([photo, photo[..., :1]]), 'PNG'), 50)))
    assert clear.mode == 'RGBA' and clear.format == 'PNG'
    narrow = np.repeat(photo[:300, :2], 20, 1)[:, :30]
    assert Image.open(io.BytesIO(shrink(encoded(narrow), 10))).size == (10, 100)


def test_deep_images_stay_as_they_are(photographs):
    deep = photographs[0][..., 0].astype(np.uint16) * 257
    file = io.BytesIO()
    np.save(file, deep)
    import cv2
    import tifffile
    rgb = cv2.imencode('.png', photographs[0].astype(np.uint16) * 257)[1].tobytes()
    tiff = cv2.imencode('.tiff', photographs[0].astype(np.uint16) * 257)[1].tobytes()
    bands = io.BytesIO()
    tifffile.imwrite(bands, np.dstack([photographs[0], photographs[0][..., :1]]), photometric='rgb', extrasamples=[0])
    for data in (bands.getvalue(), encoded(deep, 'PNG'), encoded(deep,
                                                                 'TIFF'), encoded(deep.astype(np.float32),
                                                                                  'TIFF'), file.getvalue(), rgb, tiff):
        assert shrink(data, 32) == data


def test_tiles_of_many_channels(tmp_path):
    """Read as they are stored from the folder, packed, and read as they are stored from the shards."""
    rng = np.random.default_rng(0)
    for i in range(3):
        np.save(tmp_path / f'{i}.npy', rng.integers(0, 60000, (40, 50, 13), dtype=np.uint16))
    source = folder_source(tmp_path, 'Folder', extensions=['.npy'])
    pack_images(source, tmp_path / 'out', shorter_side=16)
    packed = shards(tmp_path / 'out', depth='stored')
    assert [packed.samples[i].partition('!')[2] for i in range(3)] == ['0.npy', '1.npy', '2.npy']
    for i in range(3):
        tile = packed.get_array(i)
        assert tile.dtype == np.uint16 and np.array_equal(tile, np.load(tmp_path / f'{i}.npy'))


def test_several_labels_an_image(photo_folder, tmp_path):
    """1, 0 and -1 come back, also where the index has to be made anew from the shards."""
    targets = np.random.default_rng(0).integers(-1, 2, (24, 5)).astype(np.int8)
    targets[:, 4] = 0  # a class without an image
    np.save(tmp_path / 'labels.npy', targets)
    source = folder_source(photo_folder, 'Folder', labels=str(tmp_path / 'labels.npy'), classes=list('abcde'))
    pack_images(source, tmp_path / 'out', samples=9, seed=2)
    found = shards(tmp_path / 'out')
    order = np.random.default_rng(2).permutation(24)
    assert found.multi_label and tuple(found.CLASSES) == tuple('abcde') and (np.asarray(found.targets)
                                                                             == targets[order]).all()
    assert found.get_cat_ids(3) == source.get_cat_ids(order[3])
    part = shards(tmp_path / 'out', classes=['d', 'a'])  # by name, as of a single label
    assert part.CLASSES == ('d', 'a') and (part.targets == targets[order][:, [3, 0]]).all()
    with pytest.raises(ConfigError, match='several labels an image'):
        found.get_gt_labels()
    told = index_shards(tmp_path / 'out', label='json:labels')
    assert told['classes'] == 4 and (np.asarray(shards(tmp_path / 'out').targets) == targets[order][:, :4]).all()
    with pytest.raises(ConfigError, match='of 4 classes, and 3 are named'):
        shards(tmp_path / 'out', classes=['a', 'b', 'c'])
    with pytest.raises(ConfigError, match='label 3 is there, but there are only 2 classes'):
        index_shards(tmp_path / 'out', label='json:labels', classes=['a', 'b'])


def test_two_processes_do_not_pack_into_one_folder(photo_folder, tmp_path):
    source = folder_source(photo_folder)

    def again(done):
        if done:
            with pytest.raises(ConfigError, match='another process packs into'):
                pack_images(source, tmp_path, samples=12)

    assert pack_images(source, tmp_path, samples=12, progress=again)['samples'] == 24


def test_images_that_are_no_files(tmp_path):
    source = build_datasource(dict(type='Digits', num_images=20))
    pack_images(source, tmp_path, samples=8)
    packed = shards(tmp_path, color_type='grayscale')
    assert packed.CLASSES == source.CLASSES and packed.labels.tolist() == source.labels.tolist()
    for i in range(20):
        assert np.array_equal(packed.get_array(i)[..., 0], source.samples[i][..., 0])
    assert packed.samples[9] == 'images-000001.tar!00000009.png'


def test_broken_images(photo_folder, tmp_path):
    names = sorted(p.relative_to(photo_folder).as_posix() for p in photo_folder.rglob('*.jpg'))[:4]
    for name in names:
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'in' / name).write_bytes((photo_folder / name).read_bytes())
    (tmp_path / 'in' / names[1]).write_bytes((photo_folder / names[1]).read_bytes()[:3000])
    (tmp_path / 'in' / names[2]).write_bytes(b'')
    (tmp_path / 'list.txt').write_text('\n'.join([*names, 'absent.jpg', names[0]]))
    source = folder_source(tmp_path / 'in', 'ImageList', ann_file=str(tmp_path / 'list.txt'))
    told = pack_images(source, tmp_path / 'skip', shorter_side=50)
    assert told['samples'] == 3
    listed = json.loads((tmp_path / 'skip/broken.json').read_text())
    assert [Path(entry['file']).name for entry in listed] == ['01.jpg', '02.jpg', 'absent.jpg']
    members = [shards(tmp_path / 'skip').samples[i].partition('!')[2] for i in range(3)]
    assert members == ['china/00%2ejpg.jpg', 'china/03.jpg', 'china/00%2ejpg%231.jpg']  # one is listed twice
    with pytest.raises(BrokenImageError, match='01.jpg'):
        pack_images(source, tmp_path / 'stop', shorter_side=50, broken='stop')
    (tmp_path / 'list.txt').write_text('\n'.join(names))
    source = folder_source(tmp_path / 'in', 'ImageList', ann_file=str(tmp_path / 'list.txt'))
    assert pack_images(source, tmp_path / 'keep', shorter_side=50, broken='keep')['samples'] == 4
    kept = shards(tmp_path / 'keep')
    assert kept.get_bytes(2) == b'' and len(kept.get_bytes(1)) == 3000
    with pytest.raises(BrokenImageError, match=r'images-000000.tar!china/02.jpg: the file is empty'):
        kept.get_img(2)


def test_size_of_shards_and_demands_that_make_no_sense(photo_folder, tmp_path):
    source = folder_source(photo_folder)
    pack_images(source, tmp_path / 'a', megabytes=0.1, name='some')
    sizes = [p.stat().st_size for p in (tmp_path / 'a').glob('some-*.tar')]
    assert len(sizes) >= 3 and 50_000 < np.mean(sizes) < 150_000
    for options, message in [(dict(shorter_side=0), 'shorter_side is an integer of at least 1, got 0'),
                             (dict(quality=101), 'quality is 1 to 100, got 101'), (dict(megabytes=0), 'more than 0'),
                             (dict(megabytes=float('inf')), 'finite, got inf'),
                             (dict(seed=-1), 'seed is an integer of at least 0, got -1'),
                             (dict(workers=-1), 'workers is an integer of at least 0, got -1'),
                             (dict(name='a/b'), "got 'a/b'"), (dict(broken='replace'), "'skip' or 'stop' or 'keep'")]:
        with pytest.raises(ConfigError, match=message):
            pack_images(source, tmp_path / 'b', **options)
    with tarfile.open(tmp_path / 'c.tar', 'w'):
        pass
    with pytest.raises(ConfigError, match='holds shards, and no note how they were packed'):
        pack_images(source, tmp_path)


def test_shards_can_be_packed_again(photo_folder, tmp_path):
    """Smaller, and in another order; names stay those of the first."""
    pack_images(folder_source(photo_folder), tmp_path / 'a', samples=7)
    first = shards(tmp_path / 'a')
    pack_images(first, tmp_path / 'b', shorter_side=40, seed=1)
    second = shards(tmp_path / 'b')
    by_name = {first.samples[i].partition('!')[2]: i for i in range(24)}
    order = [by_name[second.samples[i].partition('!')[2]] for i in range(24)]
    assert sorted(order) == list(range(24)) and order != sorted(order)
    assert second.labels.tolist() == first.labels[order].tolist()
    assert decode_image(second.get_bytes(0)).shape == (40, 52, 3)


def test_reduced_decode_of_large_photographs_hardly_changes_the_copy(photographs):
    """A JPEG of more than four times the size is decoded at a fraction of it; the copy stays within a grey level."""
    data = encoded(np.asarray(Image.fromarray(photographs[0]).resize((800, 600), Image.Resampling.BICUBIC)))
    whole = encode(decode_image(data))  # PNG, which is decoded in full
    copies = [decode_image(shrink(file, 64, 100)).astype(int) for file in (data, whole)]
    assert copies[0].shape == (64, 85, 3) and 0 < np.abs(copies[0] - copies[1]).mean() < 1


@pytest.mark.long
def test_benchmark_case(photo_folder):
    from mmssl.benchmarks.data_cases import run_case
    result = run_case('shards', None, photo_folder, 5)
    assert [row['what'].rpartition(': ')[2] for row in result['rows']] == ['folder', 'shards'] * 3
    assert [row['ratio'] for row in result['rows'][::2]] == [1] * 3 and result['images'] == 5
    decoding, reading = (result['rows'][i]['images_per_second'] for i in (3, 1))
    assert reading > decoding
