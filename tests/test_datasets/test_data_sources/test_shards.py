"""Tar shards against the webdataset library: what is in them, how they are indexed and read, and how they break."""
import io
import json
import os
import pickle
import shutil
import signal
import tarfile

import numpy as np
import pytest

from mmssl.datasets import MultiViewDataset, build_dataloader, build_datasource, shard_scan
from mmssl.datasets.shard_scan import index_shards, members
from mmssl.utils.errors import BrokenImageError, ConfigError
from mmssl.utils.shard_index import ShardIndex


def write_tar(path, files, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, 'w', format=form) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def source(folder, **options):
    return build_datasource(dict(type='Shards', data_prefix=str(folder), **options))


@pytest.fixture(scope='module')
def original(photo_folder, tmp_path_factory):
    """24 photographs in three shards that the webdataset library has written, labels 0 and 1; and their list."""
    import webdataset
    folder = tmp_path_factory.mktemp("a user's shards")
    samples = []
    with webdataset.ShardWriter(str(folder / 't-%06d.tar'), maxcount=10, verbose=0) as writer:
        for i, path in enumerate(sorted(photo_folder.glob('*/*.jpg'))):
            sample = {'__key__': f'{path.parent.name}/{path.stem}', 'jpg': path.read_bytes(), 'cls': i // 12}
            writer.write(sample)
            samples.append((sample['__key__'], sample['jpg'], sample['cls']))
    index_shards(folder)
    return folder, samples


@pytest.fixture
def shards(original, tmp_path):
    folder = tmp_path / 'set'
    shutil.copytree(original[0], folder)
    return folder


def test_same_samples_as_webdataset(original):
    folder, samples = original
    found = source(folder)
    assert len(found) == 24 and found.blocks.tolist() == [10, 20, 24]
    for i, (key, image, label) in enumerate(samples):
        assert found.get_bytes(i) == image
        assert found.get_cat_ids(i) == label
        assert found.get_filename(i) == f'{folder}/t-{i // 10:06d}.tar!{key}.jpg'
    assert found.samples[-1] == found.samples[23]
    with pytest.raises(IndexError):
        found.get_bytes(24)


def test_more_shards_than_maps(original, monkeypatch):
    monkeypatch.setattr('mmssl.utils.shard_files.MAX_MAPS', 2)
    found = source(original[0])
    for i in (0, 12, 23, 1, 13, 22):
        assert found.get_bytes(i) == original[1][i][1] and len(found.files.maps) <= 2


def test_pickles_by_path_and_keeps_no_descriptor(original):
    folder, samples = original
    found = source(folder)
    before = len(os.listdir('/proc/self/fd'))
    for i in (0, 12, 23):
        found.get_bytes(i)
    assert len(os.listdir('/proc/self/fd')) == before
    pickled = pickle.dumps(found)
    assert len(pickled) < 2500
    other = pickle.loads(pickled)
    assert other.get_bytes(23) == samples[23][1] and other.labels.tolist() == found.labels.tolist()


def test_selected_classes_are_a_view(original, tmp_path):
    folder, samples = original
    copy = tmp_path / 'named'
    shutil.copytree(folder, copy)
    index_shards(copy, classes=['china', 'flower'])
    found = source(copy, classes=['flower'])
    assert found.CLASSES == ('flower', ) and len(found) == 12 and set(found.labels.tolist()) == {0}
    assert [found.get_bytes(i) for i in range(12)] == [image for _, image, label in samples if label == 1]
    assert found.blocks.tolist() == [0, 8, 12]
    with pytest.raises(ConfigError, match="'roses'.*no such class"):
        source(copy, classes=['roses'])
    with pytest.raises(ConfigError, match='only 1 classes are named'):
        index_shards(copy, classes=['china'])
    assert source(copy).CLASSES == ('china', 'flower')  # what failed has left the index as it was


@pytest.mark.parametrize('form', [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_of_all_kinds_of_tar(form, tmp_path):
    long = 'x' * 60 + '/' + 'y' * 90 + '.jpg'
    names = [long, 'ä b/1.jpg'] + [] if form == tarfile.USTAR_FORMAT else [long, 'ä b/1.jpg', 'z' * 300 + '.jpg']
    files = [(name, os.urandom(100 * i + 1)) for i, name in enumerate(names)]
    write_tar(tmp_path / 'a.tar', files, form)
    data = (tmp_path / 'a.tar').read_bytes()
    assert [(name, data[at:at + size]) for name, at, size in members(str(tmp_path / 'a.tar'))] == files


def test_labels_of_other_members(tmp_path):
    files = []
    for i, name in enumerate(['dog', 'cat', 'dog']):
        files += [(f'{i}.png', b'png'), (f'{i}.json', json.dumps(dict(meta=dict(id=i, of=[name]))).encode()),
                  (f'{i}.txt', name.encode()), (f'{i}.seg.png', b'mask')]
    write_tar(tmp_path / 'a.tar', files)
    cases = dict(auto=None, txt=[1, 0, 1])
    cases.update({'json:meta.id': [0, 1, 2], 'json:meta.of.0': [1, 0, 1]})
    for label, wanted in cases.items():
        index_shards(tmp_path, label=label)
        found = source(tmp_path)
        assert found.labels.tolist() == (wanted or [-1] * 3)
        assert found.get_bytes(1) == b'png'
        if label == 'txt':
            assert found.CLASSES == ('cat', 'dog')
    index_shards(tmp_path, image='seg.png')
    assert source(tmp_path).get_bytes(2) == b'mask'
    with pytest.raises(ConfigError, match=r'0.json has no label meta.name: KeyError'):
        index_shards(tmp_path, label='json:meta.name')
    write_tar(tmp_path / 'b.tar', [('4.jpg', b'a'), ('4.txt', b' \n')])
    with pytest.raises(ConfigError, match='b.tar!4.txt has no label: ValueError: it is empty'):
        index_shards(tmp_path, label='txt')
    write_tar(tmp_path / 'b.tar', [('4.jpg', b'a'), ('4.txt', b'17')])
    with pytest.raises(ConfigError, match='b.tar has the label 17, and others are names'):
        index_shards(tmp_path, label='txt')
    (tmp_path / 'b.tar').unlink()
    with pytest.raises(ConfigError, match='no sample has a member .cls; there are: 3 .json'):
        index_shards(tmp_path, label='cls')
    with pytest.raises(ConfigError, match='no sample of .* has an image .jpg'):
        index_shards(tmp_path, image='jpg')


def test_samples_without_image_and_same_keys_twice(tmp_path):
    write_tar(tmp_path / 'a.tar', [('._1.jpg', b'mac'), ('1.jpg', b'A'), ('1.cls', b'3'), ('2.cls', b'4'),
                                   ('README', b'x')])
    write_tar(tmp_path / 'b.tar', [])
    write_tar(tmp_path / 'c.tar', [('1.jpg', b'C'), ('1.jpg', b'D'), ('1.cls', b'5\n')])
    found = index_shards(tmp_path)
    assert found['samples'] == 3 and found['left_out'] == ['a.tar!2']
    read = source(tmp_path)
    assert [read.get_bytes(i) for i in range(3)] == [b'A', b'C', b'D']
    assert read.labels.tolist() == [3, -1, 5] and read.blocks.tolist() == [1, 1, 3]


def test_members_that_lie_apart_do_not_lose_their_labels(tmp_path):
    write_tar(tmp_path / 'a.tar', [('1.jpg', b'A'), ('2.jpg', b'B'), ('1.cls', b'3'), ('2.cls', b'4')])
    with pytest.raises(ConfigError, match='a.tar: 1.jpg and other members of its sample do not follow each other'):
        index_shards(tmp_path)
    assert index_shards(tmp_path, image='.JPG', label=None)['samples'] == 2


def test_sparse_members_are_refused(tmp_path):
    member = tarfile.TarInfo('1.jpg')
    member.type = tarfile.GNUTYPE_SPARSE
    member.size = 512
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410] = b'%011o\0' % 0, b'%011o\0' % 512  # one piece
    header[483:495] = b'%011o\0' % 2**20  # its length with the gaps
    header[148:156] = b'%06o\0 ' % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    (tmp_path / 'a.tar').write_bytes(header + bytes(512) + bytes(1024))
    with pytest.raises(ConfigError, match='a.tar: 1.jpg is sparse, and its bytes do not lie together'):
        index_shards(tmp_path)


def test_same_index_by_any_number_of_processes(original, tmp_path):
    folder = original[0]
    for workers in (1, 2):
        shutil.copytree(folder, tmp_path / str(workers), ignore=shutil.ignore_patterns('index'))
        index_shards(tmp_path / str(workers), workers=workers)
    files = sorted(p.name for p in (folder / 'index').iterdir())
    assert files == [
        'index.json', 'label.npy', 'name_ends.npy', 'names.npy', 'offset.npy', 'shard_ends.npy', 'size.npy'
    ]
    for name in files:
        assert (tmp_path / '1/index' / name).read_bytes() == (tmp_path / '2/index' / name).read_bytes()


def test_two_processes_do_not_write_one_index(shards):

    def again(done):
        with pytest.raises(ConfigError, match='another process writes the index .*index at this moment'):
            index_shards(shards)

    before = sorted(path.name for path in shards.iterdir())
    index_shards(shards, progress=again)
    assert sorted(path.name for path in shards.iterdir()) == before
    index_shards(shards)


def test_a_full_disk_leaves_the_index_as_it_was(shards, monkeypatch):
    import mmssl.utils.shard_index
    before = source(shards).get_bytes(3)

    def full(path, dtype):
        file = array_file(path, dtype)
        file.file.close()
        file.file = open('/dev/full', 'wb')
        return file

    array_file = mmssl.utils.shard_index._ArrayFile
    monkeypatch.setattr(mmssl.utils.shard_index, '_ArrayFile', full)
    with pytest.raises(OSError, match='index could not be written: no space left on device'):
        index_shards(shards)
    assert source(shards).get_bytes(3) == before and not (shards / 'index.tmp').exists()


def test_what_is_no_set_of_shards(tmp_path, original):
    with pytest.raises(FileNotFoundError, match='no such folder'):
        index_shards(tmp_path / 'absent')
    with pytest.raises(FileNotFoundError, match='no .tar file in .*; there are some in .*sub'):
        (tmp_path / 'sub').mkdir()
        (tmp_path / 'sub/a.tar').touch()
        index_shards(tmp_path)
    with pytest.raises(ConfigError, match='a.tar is empty'):
        index_shards(tmp_path / 'sub')
    (tmp_path / 'sub/a.tar').write_bytes(b'\x1f\x8b' + bytes(1000))
    with pytest.raises(ConfigError, match='a.tar is compressed: .*gunzip'):
        index_shards(tmp_path / 'sub')
    (tmp_path / 'sub/a.tar').write_bytes(b'no tar' * 1000)
    with pytest.raises(ConfigError, match='a.tar is cut off or damaged, or no tar file'):
        index_shards(tmp_path / 'sub')
    (tmp_path / 'sub/a.tar').rename(tmp_path / 'sub/a.tar.gz')
    with pytest.raises(ConfigError, match='a.tar.gz is compressed'):
        index_shards(tmp_path / 'sub')


@pytest.mark.parametrize('cut', [512 * 20 + 77, 512 * 400, 'between members', 'in a header'])
def test_cut_off_shard_is_not_indexed(shards, cut):
    path = shards / 't-000001.tar'
    message = 't-000001.tar is cut off'
    if isinstance(cut, str):
        _, offset, size = list(members(str(path)))[3]
        end = -(-(offset + size) // 512) * 512
        cut, message = end + 300 * (cut == 'in a header'), f'{message}: at byte {end} there is neither'
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ConfigError, match=message):
        index_shards(shards)


def test_joined_tar_files_are_refused(tmp_path, original):
    parts = [(original[0] / f't-00000{i}.tar').read_bytes() for i in range(2)]
    (tmp_path / 'a.tar').write_bytes(b''.join(parts))
    with pytest.raises(ConfigError, match='a.tar has more bytes behind the end of the tar file'):
        index_shards(tmp_path)


@pytest.mark.parametrize('form', [tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_damaged_header_is_not_taken_for_the_end(form, tmp_path):
    path = tmp_path / 'a.tar'
    write_tar(path, [(f'{i}.jpg', b'x' * 600)
                     for i in range(3)] + [('z' * 300 + '.jpg', b'')][form == tarfile.USTAR_FORMAT:], form)
    second = list(members(str(path)))[1][1] - 512
    data = bytearray(path.read_bytes())
    data[second + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(
            ConfigError, match=f'a.tar is damaged: at byte {second} there is neither the header of a member'):
        index_shards(tmp_path)


def test_shards_that_are_not_those_of_the_index(shards):
    first, second = shards / 't-000000.tar', shards / 't-000001.tar'
    whole = first.read_bytes()
    first.write_bytes(whole[:-512])
    with pytest.raises(
            ConfigError, match=f't-000000.tar is not the shard .*has {len(whole) - 512} bytes.*index_shards.py'):
        source(shards)
    changed = bytearray(whole)
    changed[600] ^= 1
    first.write_bytes(changed)
    with pytest.raises(ConfigError, match='t-000000.tar is not the shard that was indexed: its first or last 64 KiB'):
        source(shards).get_bytes(3)
    first.write_bytes(whole)
    found = source(shards)
    found.get_bytes(3)
    os.truncate(first, 4096)  # while it is in use
    with pytest.raises(ConfigError, match='t-000000.tar is not the shard'):
        found.get_bytes(9)
    first.write_bytes(whole)
    found.files.close()
    second.unlink()
    with pytest.raises(ConfigError, match='the shard .*t-000001.tar cannot be read: No such file'):
        found.get_bytes(12)
    with pytest.raises(FileNotFoundError, match='names a shard that is not there: .*t-000001.tar'):
        source(shards)


def test_shards_that_came_after_the_index_are_told(shards, warnings_of_data):
    source(shards)
    assert not warnings_of_data
    shutil.copy(shards / 't-000000.tar', shards / 't-000003.tar')
    assert len(source(shards)) == 24
    assert 'knows 3 shards and not t-000003.tar, which is left out' in warnings_of_data[0]


def test_damaged_index(shards):
    index = shards / 'index'
    facts = json.loads((index / 'index.json').read_text())
    outside = [dict(facts['shards'][0], name='../x.tar'), *facts['shards'][1:]]
    (index / 'index.json').write_text(json.dumps(dict(facts, shards=outside)))
    with pytest.raises(ConfigError, match="names the shard '../x.tar', which is not in its folder"):
        ShardIndex(index)
    (index / 'index.json').write_text(json.dumps(dict(facts, version=9)))
    with pytest.raises(ConfigError, match='version 9, and this release reads version 1'):
        ShardIndex(index)
    (index / 'index.json').write_text(json.dumps(dict(facts, samples=23)))
    with pytest.raises(ConfigError, match='samples of the shards are 24, and 23'):
        ShardIndex(index)
    (index / 'index.json').write_text(json.dumps(facts))
    np.save(index / 'size.npy', np.zeros(3, np.uint32))
    with pytest.raises(ConfigError, match=r'size.npy has uint32 of the shape \(3,\), and uint32 of \(24,\) belongs'):
        ShardIndex(index)
    (index / 'size.npy').write_bytes(b'')
    with pytest.raises(ConfigError, match='size.npy is damaged'):
        ShardIndex(index)
    shutil.rmtree(index)
    with pytest.raises(FileNotFoundError, match='no index of shards, .*index_shards.py'):
        source(shards)


def test_damaged_member_is_a_broken_image(shards):
    place = ShardIndex(shards / 'index').locate(5)
    data = bytearray((shards / 't-000000.tar').read_bytes())
    data[place[1]:place[1] + place[2]] = os.urandom(place[2])
    (shards / 't-000000.tar').write_bytes(data)
    index_shards(shards)
    with pytest.raises(BrokenImageError, match='t-000000.tar!china/05.jpg'):
        source(shards).get_img(5)


def views(data_source, workers, **options):
    """All that two epochs of a loader give: index and bytes of each view."""
    steps = [dict(type='RandomResizedCrop', size=16), dict(type='RandomHorizontalFlip')]
    loader = build_dataloader(
        MultiViewDataset(data_source, [2], [steps], prefetch=True),
        samples_per_gpu=5,
        workers_per_gpu=workers,
        dist=False,
        seed=7,
        **options)
    seen = [(batch['idx'].tolist(), *(view.numpy().tobytes() for view in batch['img'])) for _ in range(2)
            for batch in loader]
    return seen, loader


def test_same_batches_as_of_the_folder(original, photo_folder):
    """Packed in the order of the folder, shards give the same views of the same images in the same order."""
    expected = views(dict(type='Folder', data_prefix=str(photo_folder)), 0)[0]
    for workers in (0, 2):
        assert views(dict(type='Shards', data_prefix=str(original[0])), workers)[0] == expected


def test_shard_that_goes_missing_is_no_broken_image(shards):
    """The run ends, where replacements would hide that a third of the images is gone."""
    found = source(shards)
    (shards / 't-000001.tar').unlink()
    for workers in (0, 2):
        with pytest.raises(ConfigError, match='the shard .*t-000001.tar cannot be read: No such file'):
            views(found, workers)


def test_damaged_members_are_replaced_and_listed(shards, photo_folder, call_tool):
    """A damage in the middle of a shard that both its ends, and its size, say nothing of."""
    index = ShardIndex(shards / 'index')
    number, offset, size = index.locate(4)
    assert 2**16 < offset < index.shards[0].bytes - 2**16 - size
    with open(shards / 't-000000.tar', 'r+b') as file:
        file.seek(offset)
        file.write(bytes(size // 2))
    config = dict(type='Shards', data_prefix=str(shards))
    whole = views(dict(type='Folder', data_prefix=str(photo_folder)), 0)[0]
    found, loader = views(config, 0, broken_images=dict(max_share=0.1))
    assert (loader.broken, loader.replaced) == (1, 2) and loader.met[-1][1].endswith('t-000000.tar!china/04.jpg')
    other = [(i, n) for i, batch in enumerate(whole) for n, idx in enumerate(batch[0]) if idx == 4]
    assert [i for i, (a, b) in enumerate(zip(found, whole)) if a != b] == [i for i, _ in other] and len(other) == 2
    assert views(config, 2, broken_images=dict(max_share=0.1))[0] == found
    done = call_tool('tools/analysis_tools/find_broken_images.py', shards, '--workers', 0, check=False)
    assert done.returncode == 1 and '1 of 24 images cannot be read' in done.stdout
    assert 't-000000.tar!china/04.jpg: ' in done.stdout


def test_tools_in_a_folder_with_an_apostrophe(photo_folder, tmp_path, run_tool, call_tool):
    folder = tmp_path / "a user's data"
    folder.mkdir()
    packed = folder / 'packed'
    options = (photo_folder, packed, '--type', 'ImageNet', '--samples', 7, '--shorter-side', 32, '--shuffle')
    done = run_tool('tools/data_converters/pack_images.py', *options, cwd=folder)
    assert '24 images in 4 shards' in done.stdout
    labels = source(packed).labels.tolist()
    assert sorted(labels) == [0] * 12 + [1] * 12 and labels != sorted(labels)
    assert '24 of them were there already' in call_tool('tools/data_converters/pack_images.py', *options).stdout
    shutil.rmtree(packed / 'index')
    done = call_tool('tools/data_converters/pack_images.py', *options, check=False)
    assert done.returncode == 1 and 'holds shards, and no note how they were packed' in done.stderr
    done = call_tool('tools/data_converters/index_shards.py', 'packed', '--workers', 1, cwd=folder)
    assert 'packed: 24 images in 4 shards, 24 have labels, 2 classes' in done.stdout
    assert source(packed).labels.tolist() == labels
    done = call_tool('tools/analysis_tools/find_broken_images.py', packed, '--workers', 0)
    assert '0 of 24 images cannot be read' in done.stdout


def end_here(path, image, label):
    os.kill(os.getpid(), signal.SIGKILL)


def test_worker_that_is_ended_from_outside(shards, monkeypatch):
    """One line, where multiprocessing.Pool would wait without end."""
    monkeypatch.setattr(shard_scan, 'scan_shard', end_here)
    with pytest.raises(ConfigError, match='a process that reads shards was ended from outside'):
        index_shards(shards, workers=2)
