"""Files on servers: ranges, faults of servers, chunks on the local disk."""
import asyncio
import gc
import os
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from mmssl.benchmarks.range_server import RangeServer
from mmssl.utils import remote_files
from mmssl.utils.chunk_cache import ChunkCache
from mmssl.utils.errors import ConfigError, RemoteFileError
from mmssl.utils.misc import atomic_write
from mmssl.utils.remote_files import RemoteFolder, check_no_secrets, is_remote
from mmssl.utils.remote_shards import RemoteShards, fetch_index, in_parallel
from mmssl.utils.shard_index import IndexWriter, ShardIndex, shard_digest

CHUNK = 64 << 10


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(remote_files, '_LONGEST_PAUSE', 0.01)


@pytest.fixture(scope='module')
def shards(tmp_path_factory):
    """A folder with three files of random bytes in the place of shards, and an index of 30 parts of them."""
    folder = tmp_path_factory.mktemp("a set's shards")
    rng = np.random.default_rng(0)
    writer = IndexWriter(folder / 'index')
    for number, size in enumerate((300_000, 262_144, 70_001)):
        data = rng.bytes(size)
        (folder / f's-{number}.tar').write_bytes(data)
        offsets = np.arange(10) * (size // 10)
        digest = shard_digest(lambda offset, length: data[offset:offset + length], size)
        writer.add(f's-{number}.tar', size, digest, offsets, np.full(10, size // 10), b'x' * 10, np.arange(1, 11),
                   np.arange(10))
    writer.finish()
    return folder


def opened(server, cache, timeout=5, tries=2, **options):
    folder = RemoteFolder(server.address, timeout=timeout, tries=tries)
    path, key = fetch_index(folder, cache)
    return RemoteShards(folder, ShardIndex(path).shards, key, cache, chunk_bytes=CHUNK, **options)


def test_parts_are_those_of_the_files_and_each_chunk_is_fetched_once(shards, tmp_path):
    files = [(shards / f's-{number}.tar').read_bytes() for number in range(3)]
    chunks = sum(-(-len(data) // CHUNK) for data in files)
    rng = np.random.default_rng(1)
    parts = [(0, 0, 300_000), (1, CHUNK - 1, 2), (1, CHUNK, CHUNK), (2, 70_000, 1), (2, 0, 0)]
    for shard in rng.integers(3, size=60).tolist():
        start, stop = sorted(rng.integers(len(files[shard]), size=2).tolist())
        parts.append((shard, start, stop - start))
    with RangeServer(shards) as server:
        first = opened(server, ChunkCache(tmp_path / 'cache', 10**7))
        first.read_ahead(parts[:8])
        for part in parts:
            assert first.read(*part) == files[part[0]][part[1]:part[1] + part[2]], part
        index = 1 + len(os.listdir(shards / 'index')) - 1
        # both ends of each shard are compared with the index
        assert len(server.requests) == index + chunks + 2 * 3
        assert server.sent == sum(map(len, files)) + 2 * 3 * 2**16 + sum(f.stat().st_size
                                                                         for f in (shards / 'index').iterdir())
        before = len(server.requests)
        second = opened(server, ChunkCache(tmp_path / 'cache', 10**7))  # as another process, or a later run
        assert b''.join(second.read(2, at, 1000) for at in range(0, 70_000, 1000)) == files[2][:70_000]
        assert [request[1] for request in server.requests[before:]] == ['index/index.json']
        third = pickle.loads(pickle.dumps(second))
        assert third.read(0, 5, 7) == files[0][5:12]
        with pytest.raises(ValueError, match='bytes 70000 to 70002 of 70001'):
            third.read(2, 70_000, 2)


def test_without_a_cache_just_the_bytes_are_asked_for(shards, tmp_path):
    data = (shards / 's-1.tar').read_bytes()
    with RangeServer(shards) as server:
        remote = opened(server, ChunkCache(tmp_path, 0))
        remote.read(1, 0, 10)
        before, sent = len(server.requests), server.sent
        parts = [(1, 1000 * i, 500) for i in range(20)]
        remote.read_ahead(parts)
        assert [remote.read(*part) for part in parts] == [data[at:at + size] for _, at, size in parts]
        assert (len(server.requests) - before, server.sent - sent) == (20, 10_000)
        assert not list(tmp_path.glob('*/*.chunk'))


def test_a_full_disk_ends_nothing(shards, tmp_path, monkeypatch, caplog):
    with RangeServer(shards) as server:
        remote = opened(server, ChunkCache(tmp_path, 10**7))
        monkeypatch.setattr(ChunkCache, '_free', lambda self: 100)
        data = (shards / 's-0.tar').read_bytes()
        for at in range(0, 300_000, 30_000):
            assert remote.read(0, at, 30_000) == data[at:at + 30_000]
        remote.bring((1, 0))
        assert not remote.cached
    assert len(caplog.messages) == 1 and 'nothing more is kept in cache_dir' in caplog.messages[0]


def test_a_cache_that_is_deleted_or_cut_off_under_way_is_made_anew(shards, tmp_path, caplog):
    place = tmp_path / 'cache'
    data = (shards / 's-0.tar').read_bytes()
    with RangeServer(shards) as server:
        folder, cache = RemoteFolder(server.address), ChunkCache(place, 10**7)
        target, key = fetch_index(folder, cache)
        remote = opened(server, cache)
        assert remote.read(0, 0, 10) == data[:10]
        place.rename(tmp_path / 'away')
        assert remote.read(0, 0, 10) == data[:10] and remote.read(0, 200_000, 9) == data[200_000:200_009]
        assert remote.cached and len(list(place.glob('*/*.chunk'))) == 2
        whole = Path(fetch_index(folder, cache)[0], 'offset.npy').read_bytes()
        with open(Path(target, 'offset.npy'), 'r+b') as file:
            file.truncate(100)
            assert fetch_index(folder, cache) == (target, key)
            assert len(file.read()) == 100  # what is in use stays as it is
        assert Path(target, 'offset.npy').read_bytes() == whole
        shutil.rmtree(place)
        place.write_text('in its place')
        assert remote.read(0, 0, 10) == data[:10] and not remote.cached
    assert len(caplog.messages) == 1 and 'nothing more is kept in cache_dir' in caplog.messages[0]
    with pytest.raises(ConfigError, match='cache cannot be made or written: Not a directory'):
        ChunkCache(place, 10**7)


def test_an_answer_without_end_is_not_read_to_it(shards):

    def endless(handler, *_):
        handler.send_response(206)
        handler.send_header('Transfer-Encoding', 'chunked')
        handler.end_headers()
        while True:
            handler.wfile.write(b'10000\r\n' + bytes(65536) + b'\r\n')

    with RangeServer(shards, answer=endless) as server:
        with pytest.raises(RemoteFileError, match=r': \d+ bytes came; 1000 bytes from 5 on were asked for, in 1 tries'):
            RemoteFolder(server.address, tries=1).read('s-0.tar', 5, 1005)


def test_the_cache_keeps_to_its_bound_and_what_was_used_last(tmp_path):
    cache = ChunkCache(tmp_path / 'c', 100_000)
    for number in range(9):
        cache.write(f'set/{number}.chunk', bytes([number]) * 10_000)
        os.utime(cache.path(f'set/{number}.chunk'), (1000 + number, 1000 + number))
    assert cache.read('set/0.chunk', 10_000, 5, 8) == bytes(3)  # which makes it a recent one
    assert cache.read('set/1.chunk', 10_001, 0, 1) is None  # of another length: cut off, or of another set
    for number in range(9, 12):
        cache.write(f'set/{number}.chunk', bytes([number]) * 10_000)
    there = sorted(int(p.stem) for p in (tmp_path / 'c/set').iterdir())
    assert there == [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    left = tmp_path / 'c/set/20.chunk.123.tmp'
    left.write_bytes(b'of a process that was killed')
    ChunkCache(tmp_path / 'c', 100_000)
    assert left.exists()  # it may be at work
    os.utime(left, (0, 0))
    ChunkCache(tmp_path / 'c', 50_000)
    assert not left.exists()
    assert sorted(int(p.stem) for p in (tmp_path / 'c/set').iterdir()) == [0, 9, 10, 11]


def test_what_others_are_just_writing_counts(tmp_path):
    cache = ChunkCache(tmp_path / 'c', 100_000)
    for number in range(9):
        cache.write(f'set/{number}.chunk', bytes(10_000))
    with atomic_write(cache.path('set/9.chunk'), 'wb') as file:
        cache._take_room(file, 10_000)
        assert cache.write('set/10.chunk', bytes(10_000))  # which looks what is there, since it would be too much
        file.write(bytes(10_000))
    assert cache.write('set/11.chunk', bytes(10_000))
    assert cache.has('set/9.chunk', 10_000) and cache.has('set/11.chunk', 10_000)
    assert sum(p.stat().st_size for p in (tmp_path / 'c/set').iterdir()) <= 100_000


def test_one_at_a_time_holds_a_chunk_and_a_child_does_not_keep_it_held(tmp_path):
    cache = ChunkCache(tmp_path, 1000)
    with cache.hold('a') as held:
        assert held
        pid = os.fork()  # has the file of the lock open as well
        if pid == 0:
            time.sleep(60)
        with cache.hold('a', wait=False) as again:
            assert not again
    try:
        with cache.hold('a', wait=False) as again:
            assert again
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _body(server, status, body, **headers):
    return lambda handler, *_: server().send(handler, status, body, **headers) or True


def _hang(handler, *_):
    time.sleep(1.5)


def _trickle(handler, path, start, stop):
    handler.send_response(206)
    handler.send_header('Content-Length', str(stop - start))
    handler.end_headers()
    for _ in range(15):
        handler.wfile.write(b'x')
        time.sleep(0.1)
    handler.close_connection = True
    return True


def _cut(handler, path, start, stop):
    handler.send_response(206)
    handler.send_header('Content-Length', str(stop - start))
    handler.end_headers()
    handler.wfile.write(bytes(10))
    handler.close_connection = True
    return True


FAULTS = {
    'nothing': (_hang, 'no whole answer within 0.2 s', 2),
    'slow': (_trickle, 'no whole answer within 0.2 s', 2),
    'cut off': (_cut, 'ClientPayloadError', 2),
    'no ranges': ((200, bytes(300_000)), '200 with 300000 bytes of no kind to a request for a range', 2),
    'a page': ((200, b'<html>sign in', {
        'Content-Type': 'text/html; charset=utf-8'
    }), '200 with 13 bytes of text/html', 2),
    'too short': ((206, b'ab'), ': 2 bytes came; 1000 bytes from 5 on were asked for', 2),
    'other bytes': ((206, bytes(1000), {
        'Content-Range': 'bytes 0-999/300000'
    }), 'bytes from 0 on', 2),
    'busy': ((503, b''), 'answers 503 Service Unavailable', 2),
    'failing': ((500, b''), 'answers 500 Internal Server Error', 2),
    'denied': ((403, b''), 'answers 403 Forbidden', 1),
    'absent': ((404, b''), 'there is no such file (404)', 1),
}


@pytest.mark.parametrize('name', FAULTS)
def test_a_server_at_fault_is_told_in_time(name, shards):
    fault, message, tries = FAULTS[name]
    with RangeServer(shards) as server:
        if isinstance(fault, tuple):
            status, body, *headers = fault
            server.answer = lambda handler, *_: server.send(handler, status, body, **(headers or [{}])[0]) or True
        else:
            server.answer = fault
        folder = RemoteFolder(server.address, timeout=0.2 if 'within' in message else 5, tries=2)
        start = time.monotonic()
        with pytest.raises(RemoteFileError) as told:
            folder.read('s-0.tar', 5, 1005)
        assert time.monotonic() - start < 3
        assert message in str(told.value) and f'{server.address}/s-0.tar' in str(told.value)
        assert ('data_source.timeout' in str(told.value)) == (tries == 2)
        assert len(server.requests) == tries


def test_s3_at_fault_is_told_in_time(shards, tmp_path, monkeypatch):
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
        monkeypatch.setenv(name, 'mine')
    (tmp_path / 'bucket').symlink_to(shards)
    with RangeServer(tmp_path) as server:
        options = dict(client_kwargs=dict(endpoint_url=server.address))
        folder = RemoteFolder('s3://bucket', options, timeout=2, tries=2)
        assert folder.read('s-0.tar', 5, 1005).body == (shards / 's-0.tar').read_bytes()[5:1005]
        folder.timeout = 0.2
        for name, words in (('nothing', None), ('busy', 'Service Unavailable'), ('too short', None), ('other bytes',
                                                                                                      None),
                            ('no ranges', '300000 bytes came'), ('denied', 'access is denied'), ('absent', None)):
            fault, message, tries = FAULTS[name]
            server.answer = fault if callable(
                fault) else lambda handler, *_: server.send(handler, *fault[:2],
                                                            **(fault[2:] or [{}])[0]) or True
            before = len(server.requests)
            with pytest.raises(RemoteFileError) as told:
                folder.read('s-0.tar', 5, 1005)
            assert (words or message) in str(told.value), told.value
            assert len(server.requests) - before == tries


def test_one_fault_is_made_up_for_and_no_server_is_told(shards, free_port):
    with RangeServer(shards) as server:
        server.answer = lambda handler, *_: len(server.requests) == 1 and (server.send(handler, 503, b'') or True)
        answer = RemoteFolder(server.address, tries=2).read('s-0.tar', 5, 1005)
        assert answer.body == (shards / 's-0.tar').read_bytes()[5:1005] and answer.total == 300_000
    with pytest.raises(RemoteFileError, match='Cannot connect to host .* asked for, in 1 tries of up to 60 s each'):
        RemoteFolder(f'http://127.0.0.1:{free_port()}', tries=1).read('s-0.tar')


def test_passwords_come_from_netrc(shards, tmp_path, monkeypatch):
    (tmp_path / '.netrc').write_text('machine 127.0.0.1 login me password mine\n')
    (tmp_path / '.netrc').chmod(0o600)
    monkeypatch.setenv('NETRC', str(tmp_path / '.netrc'))
    with RangeServer(shards) as server:
        server.answer = lambda handler, *_: handler.headers.get('Authorization') != 'Basic bWU6bWluZQ==' and (
            server.send(handler, 401, b'') or True)
        assert RemoteFolder(server.address).read('s-0.tar', 0, 5).body == (shards / 's-0.tar').read_bytes()[:5]
        monkeypatch.setenv('NETRC', str(tmp_path / 'none'))
        with pytest.raises(RemoteFileError, match='the server answers 401 Unauthorized; 5 bytes'):
            RemoteFolder(server.address).read('s-0.tar', 0, 5)


def test_other_file_systems_of_fsspec(shards):
    import fsspec
    from fsspec.asyn import AsyncFileSystem

    class Cloud(AsyncFileSystem):  # as that of Google's storage, which is not installed here
        protocol = 'cloud'

        async def _cat_file(self, path, start=None, end=None, **kwargs):
            if path.endswith('slow'):
                await asyncio.sleep(30)
            with open(shards / path.rpartition('/')[2], 'rb') as file:
                return file.read()[start:end]

    fsspec.register_implementation('cloud', Cloud, clobber=True)
    memory = fsspec.filesystem('memory')
    memory.pipe('/set/s-0.tar', (shards / 's-0.tar').read_bytes())
    for protocol in ('cloud', 'memory'):
        folder = RemoteFolder(f'{protocol}://set', timeout=0.2, tries=1)
        assert folder.read('s-0.tar', 7, 100).body == (shards / 's-0.tar').read_bytes()[7:100]
        assert len(folder.read('s-0.tar').body) == 300_000
        with pytest.raises(RemoteFileError, match='300001 were asked for|299999 bytes came'):
            folder.read('s-0.tar', 1, 300_001)
        with pytest.raises(RemoteFileError, match='there is no such file'):
            folder.read('absent')
    with pytest.raises(RemoteFileError, match='no whole answer within 0.2 s; the file was asked for, in 1 tries'):
        RemoteFolder('cloud://set', timeout=0.2, tries=1).read('slow')


def test_another_set_and_a_set_that_changes_are_told(shards, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(shards, copy)
    with RangeServer(copy) as server:
        remote = opened(server, ChunkCache(tmp_path / 'cache', 10**7))
        remote.read(0, 0, 10)
        (copy / 's-0.tar').write_bytes(bytes(300_000))  # of the same length
        with pytest.raises(
                RemoteFileError, match='s-0.tar is not the shard that was indexed: its first or last 64 KiB'):
            remote.read(0, 299_000, 10)
        os.utime(copy / 's-1.tar')
        (copy / 's-2.tar').write_bytes(bytes(60_000))
        remote = opened(server, ChunkCache(tmp_path / 'cache', 10**7))
        assert remote.read(1, 299, 10) == (shards / 's-1.tar').read_bytes()[299:309]
        with pytest.raises(RemoteFileError, match='s-2.tar: it has 60000 bytes; 65536 bytes from 0 on'):
            remote.read(2, 0, 10)
        os.utime(copy / 's-1.tar', (5, 5))  # copied there anew, the same bytes
        assert remote.read(1, 250_000, 10) == (shards / 's-1.tar').read_bytes()[250_000:250_010]
        (copy / 'index/offset.npy').write_bytes(b'short')
        (copy / 'index/index.json').write_text((copy / 'index/index.json').read_text() + ' ')
        with pytest.raises(RemoteFileError, match='offset.npy: it has 5 bytes; '):
            opened(server, ChunkCache(tmp_path / 'cache', 10**7))
        (copy / 'index/index.json').write_text('<html>')
        with pytest.raises(RemoteFileError, match="is no index of shards: b'<html>'"):
            opened(server, ChunkCache(tmp_path / 'cache', 10**7))
        (copy / 'index/index.json').unlink()
        with pytest.raises(RemoteFileError, match='need their index beside them'):
            opened(server, ChunkCache(tmp_path / 'cache', 10**7))


def _read_all(address, folder, out):
    with open(out, 'wb') as file:
        try:
            remote = RemoteFolder(address)
            cache = ChunkCache(folder, 10**7)
            path, key = fetch_index(remote, cache)
            shards = RemoteShards(remote, ShardIndex(path).shards, key, cache, chunk_bytes=CHUNK)
            for number, shard in enumerate(shards.shards):
                file.write(shards.read(number, 0, shard.bytes))
        except BaseException as error:
            file.write(repr(error).encode())


def test_forked_processes_fetch_each_chunk_once(shards, tmp_path):
    with RangeServer(shards, latency=0.01) as server:
        own = opened(server, ChunkCache(tmp_path / 'other', 10**7))
        own.read(0, 0, 10)  # the file system of this process is in use, and its thread runs
        before = len(server.requests)
        gc.collect()  # else the children end the connections of other tests
        children = []
        for number in range(2):
            pid = os.fork()
            if pid == 0:
                _read_all(server.address, tmp_path / 'cache', tmp_path / f'{number}.out')
                assert own.read(0, 200_000, 10)
                os._exit(0)
            children.append(pid)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        whole = b''.join((shards / f's-{number}.tar').read_bytes() for number in range(3))
        assert (tmp_path / '0.out').read_bytes() == (tmp_path / '1.out').read_bytes() == whole
        mine = [r for r in server.requests[before:] if r[1:] != ('s-0.tar', 3 * CHUNK, 4 * CHUNK)]
        chunks = [r for r in mine if r[1].endswith('.tar') and r[2] % CHUNK == 0 and r[3] - r[2] != 2**16]
        assert sorted(set(mine)) and len(chunks) == len(set(chunks))
        assert sum(r[1] == 'index/offset.npy' for r in mine) == 1


def test_parallel_calls_end_at_the_first_error():
    done = []

    def work(item):
        if item == 3:
            raise ValueError('three')
        time.sleep(0.01)
        done.append(item)

    with pytest.raises(ValueError, match='three'):
        in_parallel(work, range(1000), 4)
    assert len(done) < 20
    in_parallel(done.append, range(2000, 2100), 4)
    assert sorted(done)[-100:] == list(range(2000, 2100))


def test_addresses_and_options():
    assert is_remote('s3://bucket/a') and is_remote('https://host/a') and not is_remote('file:///a')
    assert not is_remote('a/b') and not is_remote('C:\\a') and not is_remote(None)
    for options in (dict(secret='x'), dict(client_kwargs=dict(aws_secret_access_key='x')), dict(token='abc')):
        with pytest.raises(ConfigError, match='is a secret') as told:
            check_no_secrets(options)
        assert "'x'" not in str(told.value)
    check_no_secrets(dict(token='anon', anon=True, client_kwargs=dict(endpoint_url='http://localhost')))
    with pytest.raises(ConfigError, match='https://host/set has a query') as told:
        RemoteFolder('https://me:mine@host/set?signature=abc')
    assert 'abc' not in str(told.value) and 'mine' not in str(told.value)
    with pytest.raises(ConfigError, match='pip install fsspec gcsfs|gcsfs'):
        RemoteFolder('gs://bucket/set')
    with pytest.raises(ConfigError, match='Protocol not known: sx'):
        RemoteFolder('sx://bucket/set')
    for changes, message in ((dict(timeout=0), 'a number of seconds above 0, got 0'), (dict(tries=1.5), 'got 1.5'),
                             (dict(timeout='5'), "got '5'")):
        with pytest.raises(ConfigError, match=message):
            RemoteFolder('http://host', **changes)
