"""Copies near the compute: whole or not at all, once a machine."""
import os
import shutil
import signal
import threading
import time
import zipfile
from pathlib import Path

import pytest

from mmssl.datasets import build_datasource
from mmssl.utils.errors import ConfigError
from mmssl.utils.local_copy import LocalCopy, copy_to_local, get_local_path

NAMES = [
    "class's one/1.jpg", 'class two/deep/er/2.jpg', 'empty.bin', b'\xff\xfe.jpg'.decode('utf-8', 'surrogateescape')
]


@pytest.fixture
def source(tmp_path):
    """A folder of 4 odd files, a link to a file and one to a folder above, which leads round."""
    root = tmp_path / 'somewhere else' / 'train'
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(70000 * number) if name != 'empty.bin' else b'')
    (root / 'link.jpg').symlink_to(root / NAMES[1])
    (root / 'round').symlink_to(root)
    return root


@pytest.fixture
def many(tmp_path):
    root = tmp_path / 'many'
    root.mkdir()
    for number in range(60):
        (root / f'{number}.bin').write_bytes(bytes([number]) * 100)
    return root


def contents(root):
    return {
        str(Path(here, name).relative_to(root)): Path(here, name).read_bytes()
        for here, _, names in os.walk(root)
        for name in names
    }


def test_a_folder_arrives_whole(source, tmp_path):
    lines = []
    assert get_local_path(source, tmp_path / 'local') == str(source)
    path = copy_to_local(source, tmp_path / 'local', workers=3, tell=lines.append)
    assert contents(path) == contents(source) and len(contents(path)) == 5 and Path(path).name == 'train'
    assert not os.path.islink(f'{path}/link.jpg') and 'complete 5 files' in lines[-1]
    assert get_local_path(source, tmp_path / 'local') == path
    assert LocalCopy(source, tmp_path / 'local').complete()['files'] == 5
    # another folder of this name has a place of its own
    shutil.copytree(source / 'class two', tmp_path / 'train')
    assert copy_to_local(tmp_path / 'train', tmp_path / 'local') != path

    # the marker is believed until it is asked again
    (source / 'new.jpg').write_bytes(b'new')
    (source / 'empty.bin').unlink()
    (source / NAMES[0]).write_bytes(b'changed')
    assert copy_to_local(source, tmp_path / 'local', tell=lines.append) == path and len(contents(path)) == 5
    copy_to_local(source, tmp_path / 'local', refresh=True, tell=lines.append)
    assert contents(path) == contents(source) and 'of which 2 were copied now' in lines[-1]


def test_a_single_file_and_variables(source, tmp_path, monkeypatch):
    monkeypatch.setenv('JOB_TMP', str(tmp_path / 'job'))
    path = copy_to_local(source / NAMES[1], '$JOB_TMP', tell=print)
    assert path.startswith(str(tmp_path / 'job')) and path.endswith('2.jpg')
    assert Path(path).read_bytes() == (source / NAMES[1]).read_bytes()


def test_what_is_wrong_is_named(source, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r'are to lie in \$NO_SUCH/x, and there is no such variable'):
        copy_to_local(source, '$NO_SUCH/x')
    monkeypatch.setenv('EMPTY', '')
    with pytest.raises(ConfigError, match=r"are to lie in '\$EMPTY', which names no folder"):
        copy_to_local(source, '$EMPTY')
    with pytest.raises(FileNotFoundError, match='no such folder or file: .*gone'):
        copy_to_local(tmp_path / 'gone', tmp_path / 'local')
    with pytest.raises(ConfigError, match='not s3://bucket/x'):
        copy_to_local('s3://bucket/x', tmp_path / 'local')
    with pytest.raises(ConfigError, match='copies of .*train cannot lie in it'):
        copy_to_local(source, source / 'round' / 'local')
    (tmp_path / 'bare').mkdir()
    with pytest.raises(ConfigError, match='no files in'):
        copy_to_local(tmp_path / 'bare', tmp_path / 'local')
    (source / 'nowhere.jpg').symlink_to('/does/not/exist')
    with pytest.raises(FileNotFoundError, match='nowhere.jpg'):
        copy_to_local(source, tmp_path / 'local')
    assert get_local_path(source, tmp_path / 'local') == str(source)
    (source / 'nowhere.jpg').unlink()

    def grows(source, target):
        Path(target).write_bytes(b'more than there was' * 30000)

    monkeypatch.setattr(shutil, 'copyfile', grows)
    with pytest.raises(OSError, match='bytes, and 570000 arrived'):
        copy_to_local(source, tmp_path / 'local2')


def _copy_slowly(source, folder, seconds, lines):
    """Copy in another process, each file taking a while; the lines it tells, and each file, go to a file."""

    def tell(line):
        with open(lines, 'a') as file:
            file.write(f'{line}\n')

    def slow(source, target, copyfile=shutil.copyfile):
        time.sleep(seconds)
        copyfile(source, target)
        tell(f'copied {source}')

    shutil.copyfile = slow
    copy_to_local(source, folder, workers=2, tell=tell)


def _wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_kill_half_way_leaves_no_complete_copy_and_the_rest_is_copied_later(many, tmp_path, forkserver):
    lines = tmp_path / 'lines'
    process = forkserver.Process(target=_copy_slowly, args=(many, tmp_path / 'local', 0.05, lines))
    process.start()
    _wait_for(lambda: lines.exists() and len(lines.read_text().splitlines()) >= 5)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    copy = LocalCopy(many, tmp_path / 'local')
    half = len(os.listdir(copy.path))
    assert 5 <= half < 60 and copy.complete() is None and get_local_path(many, tmp_path / 'local') == str(many)
    Path(copy.path, '7.bin.~copying').write_bytes(b'half')  # as a kill in the middle of a file leaves it
    Path(copy.path, '99.bin.~copying').write_bytes(b'half')

    told = []
    copy_to_local(many, tmp_path / 'local', tell=told.append)
    assert contents(copy.path) == contents(many)
    copied = int(told[-1].split('of which ')[1].split()[0])
    assert 60 - half <= copied <= 60 - 5, told


def test_two_at_once_copy_once(many, tmp_path, forkserver):
    lines = [tmp_path / 'first', tmp_path / 'second']
    processes = [forkserver.Process(target=_copy_slowly, args=(many, tmp_path / 'local', 0.01, file)) for file in lines]
    processes[0].start()
    _wait_for(lines[0].exists)
    processes[1].start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    first, second = (file.read_text() for file in lines)
    assert first.count('copied /') == 60
    assert second.splitlines()[0].startswith(f'process {processes[0].pid} copies') and 'copied /' not in second
    assert len(second.splitlines()) == 1


def test_a_holder_that_died_frees_the_lock(many, tmp_path):
    place = Path(LocalCopy(many, tmp_path / 'local').place)
    place.mkdir(parents=True)
    (place / 'lock').write_text('process 999999\n')
    done = threading.Thread(target=copy_to_local, args=(many, tmp_path / 'local'))
    done.start()
    done.join(30)
    assert not done.is_alive() and get_local_path(many, tmp_path / 'local') != str(many)


def test_a_source_reads_from_its_copy(photo_folder, tmp_path, monkeypatch):
    monkeypatch.setenv('JOB_TMP', str(tmp_path))
    cfg = dict(type='ImageNet', data_prefix=str(photo_folder))
    there, here = build_datasource(cfg), build_datasource(dict(cfg, copy_to='$JOB_TMP'))
    assert here.data_prefix == get_local_path(photo_folder, tmp_path) != str(photo_folder)
    assert list(here.samples) == list(there.samples) and (here.get_array(3) == there.get_array(3)).all()
    with zipfile.ZipFile(tmp_path / 'photos.zip', 'w') as file:
        for name in there.samples:
            file.write(photo_folder / name, f'train/{name}')
    cfg['data_prefix'] = f'{tmp_path}/photos.zip/train'
    zipped = build_datasource(dict(cfg, copy_to='$JOB_TMP'))
    (tmp_path / 'photos.zip').unlink()
    assert zipped.get_bytes(5) == there.get_bytes(5)
    with pytest.raises(ConfigError, match='copy_to copies data_prefix, a folder or a file, which is None'):
        build_datasource(dict(type='Digits', copy_to='$JOB_TMP'))


@pytest.mark.long
def test_the_tool_prints_the_place(source, tmp_path, call_tool):
    done = call_tool('tools/data_converters/copy_to_local.py', source, tmp_path / 'a disk', '--workers', 4)
    assert done.stdout.strip() == get_local_path(source, tmp_path / 'a disk') and 'complete 5 files' in done.stderr
