"""Shards on servers, S3 and HTTP, against the same shards on disk: samples, order, resume, requests and faults."""
import io
import os
import pickle
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.benchmarks.range_server import RangeServer
from mmssl.datasets import build_dataloader, build_dataset, build_datasource
from mmssl.datasets.read_ahead import ReadAhead
from mmssl.datasets.samplers import BlockShuffleSampler
from mmssl.datasets.shard_scan import index_shards
from mmssl.utils import remote_files
from mmssl.utils.checkpoint import read_checkpoint
from mmssl.utils.errors import BrokenImageError, ConfigError, RemoteFileError

SHARDS, EACH = 6, 20


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1,0.0.0.0')
    monkeypatch.setattr(remote_files, '_LONGEST_PAUSE', 0.01)


@pytest.fixture(scope='module')
def folder(photographs, tmp_path_factory):
    """120 crops of photographs in six shards, with their index."""
    folder = tmp_path_factory.mktemp("a bucket's content")
    rng = np.random.default_rng(0)
    for shard in range(SHARDS):
        with tarfile.open(folder / f's-{shard}.tar', 'w') as tar:
            for number in range(EACH):
                top, left = rng.integers(300, size=2)
                file = io.BytesIO()
                Image.fromarray(photographs[number % 2][top:top + 64, left:left + 64]).save(file, 'JPEG', quality=95)
                for name, content in ((f'{shard}-{number:02d}.jpg', file.getvalue()), (f'{shard}-{number:02d}.cls',
                                                                                       str(number % 2).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    index_shards(folder)
    return folder


@pytest.fixture
def server(folder):
    with RangeServer(folder) as server:
        yield server


def remote(address, cache, **options):
    place = dict(type='Shards', data_prefix=address, cache_dir=str(cache))
    return dict(place, **dict(dict(chunk_size=0.03, cache_size=0.01), **options))


def loader_of(data_source, workers=0, **options):
    dataset = build_dataset(
        dict(
            type='MultiViewDataset',
            data_source=data_source,
            num_views=[1],
            pipelines=[[dict(type='RandomResizedCrop', size=16)]],
            prefetch=True))
    return build_dataloader(
        dataset,
        **dict(
            dict(
                samples_per_gpu=8,
                workers_per_gpu=workers,
                dist=False,
                seed=3,
                sampler=dict(type='BlockShuffleSampler', window=2)), **options))


def epoch(loader, number=1, start=0):
    loader.set_epoch(number, start)
    return [(batch['idx'].tolist(), batch['img'][0]) for batch in loader]


def same(batches, expected):
    assert [idx for idx, _ in batches] == [idx for idx, _ in expected]
    return all(torch.equal(one, other) for (_, one), (_, other) in zip(batches, expected))


@pytest.mark.parametrize('workers, options', [(0, {}), (2, {}), (1, dict(multiprocessing_context='forkserver')),
                                              (0, dict(sampler=None))])
def test_batches_are_those_of_local_shards_and_each_chunk_is_fetched_once(folder, server, tmp_path, forkserver, workers,
                                                                          options):
    expected = epoch(
        loader_of(
            dict(type='Shards', data_prefix=str(folder)),
            sampler=options.get('sampler', dict(type='BlockShuffleSampler', window=2))))
    loader = loader_of(remote(server.address, tmp_path), workers, **options)
    assert same(epoch(loader), expected)
    chunks = [
        request[1:] for request in server.requests
        if request[1].endswith('.tar') and request[2] % 30_000 == 0 and request[3] - request[2] != 2**16
    ]
    source = loader.dataset.data_source
    needed = {chunk for idx in range(len(source)) for chunk in source.files.chunks(*source.part(idx))}
    assert len(chunks) == len(set(chunks)) == len(needed) > 12
    before = len(server.requests)
    epoch(loader, 2)
    assert len(server.requests) == before  # all of it is there
    assert not any(thread.name == 'read ahead' for thread in threading.enumerate())


def test_resume_and_shares_are_those_of_the_whole_epoch(server, tmp_path):
    whole = epoch(loader_of(remote(server.address, tmp_path / 'a')), 4)
    # with a cache that does not hold the set
    rest = epoch(loader_of(remote(server.address, tmp_path / 'b', cache_size=0.00049)), 4, start=9)
    assert same(rest, whole[9:])
    seen = []
    for split in ('all', 'process'):
        shares = []
        for rank in range(2):
            loader = loader_of(
                remote(server.address, tmp_path / 'c'),
                samples_per_gpu=4,
                sampler=dict(type='BlockShuffleSampler', window=2, split=split, num_replicas=2, rank=rank))
            shares.append([idx for batch, _ in epoch(loader, 4) for idx in batch])
        assert len(shares[0]) == len(shares[1]) == SHARDS * EACH // 2
        assert sorted(shares[0] + shares[1]) == list(range(SHARDS * EACH))
        seen.append(shares)
    halves = [iter(share) for share in seen[0]]
    assert [[next(halves[i // 4]) for i in range(8)] for _ in whole] == [idx for idx, _ in whole]


def test_a_set_larger_than_the_cache_is_fetched_once_an_epoch(server, tmp_path):
    source = remote(server.address, tmp_path, chunk_size=0.015, cache_size=0.00025)
    loader = loader_of(source, sampler=dict(type='BlockShuffleSampler', window=1))
    for number in range(3):
        server.requests.clear()
        epoch(loader, number)
        chunks = [
            request for request in server.requests
            if request[1].endswith('.tar') and request[2] % 15_000 == 0 and request[3] - request[2] != 2**16
        ]
        assert 10 < len(chunks) == len(set(chunks))
    assert sum(f.stat().st_size for f in tmp_path.glob('*/*.chunk')) <= 250_000


def test_what_comes_next_is_fetched_as_far_as_there_is_room(server, tmp_path):
    source = build_datasource(remote(server.address, tmp_path, cache_size=0.00049))  # 16 chunks, 6 of them ahead
    dataset = build_dataset(
        dict(type='SingleViewDataset', data_source=source, pipeline=[dict(type='CenterCrop', size=16)], prefetch=True))
    sampler = BlockShuffleSampler(dataset, window=1, num_replicas=1, rank=0)
    order = [source.part(idx) for idx in sampler]
    needed = list(dict.fromkeys(chunk for part in order for chunk in source.files.chunks(*part)))

    def fetched():
        return [(int(r[1][2]), r[2] // 30_000) for r in server.requests
                if r[1].endswith('.tar') and r[2] % 30_000 == 0 and r[3] - r[2] != 2**16]

    def wait_for(count):
        end = time.monotonic() + 5
        while len(fetched()) < count and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)
        return fetched()

    ahead = ReadAhead(dataset, sampler, 0)
    try:
        assert sorted(wait_for(6)) == sorted(needed[:6])
        reached = next(i for i, part in enumerate(order) if needed[3] in source.files.chunks(*part))
        ahead.advance(reached)
        assert sorted(wait_for(9)) == sorted(needed[:9])
    finally:
        start = time.monotonic()
        ahead.stop()
    assert time.monotonic() - start < 0.5 and not any(thread.is_alive() for thread in ahead._threads)
    assert sum(f.stat().st_size for f in tmp_path.glob('*/*.chunk')) <= 0.00049e9


def test_a_fault_of_the_network_is_no_broken_image(folder, server, tmp_path):
    down = threading.Event()
    server.answer = lambda handler, *_: down.is_set() and (server.send(handler, 503, b'') or True)
    for workers in (0, 2):
        down.clear()
        loader = loader_of(remote(server.address, tmp_path / str(workers), tries=2, cache_size=0.00049), workers)
        batches = iter(loader)
        next(batches)
        down.set()
        start = time.monotonic()
        with pytest.raises(
                RemoteFileError,
                match=r'http://.*/s-\d.tar: the server answers 503 Service Unavailable; .* in '
                '2 tries of up to 60 s each; data_source.timeout and data_source.tries'):
            list(batches)
        assert time.monotonic() - start < 10 and loader.broken == 0
    # an image that is damaged in its shard is one, wherever the shard is
    copy = tmp_path / 'damaged'
    copy.mkdir()
    source = build_datasource(dict(type='Shards', data_prefix=str(folder)))
    shard, offset, size = source.part(50)
    for path in folder.glob('*.tar'):
        data = bytearray(path.read_bytes())
        if path.name == source.index.shards[shard].name:
            data[offset:offset + size] = bytes(size)
        (copy / path.name).write_bytes(data)
    index_shards(copy)
    with RangeServer(copy) as other:
        source = build_datasource(remote(other.address, tmp_path / 'other'))
        with pytest.raises(BrokenImageError, match='s-2.tar!2-10.jpg: no known kind of image'):
            source.get_array(50)
        with pytest.raises(ConfigError, match=r'broken .*max_share allows 0.001.*s-2.tar!2-10.jpg'):
            loader = loader_of(remote(other.address, tmp_path / 'other'), broken_images=dict(max_share=0.001))
            for number in range(3):
                epoch(loader, number)


def test_several_sources_parts_of_them_and_samples_in_order(folder, server, tmp_path):
    read = {}
    for name, source in (('disk', dict(type='Shards',
                                       data_prefix=str(folder))), ('server', remote(server.address, tmp_path))):
        dataset = build_dataset([
            dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(
                    type='SampleDataset',
                    data_source=dict(a=dict(source, subset=dict(num=30)), b=dict(source, subset=dict(num=30))),
                    pipeline=[dict(type='CenterCrop', size=16)],
                    prefetch=True)),
        ])
        loader = build_dataloader(dataset, samples_per_gpu=8, workers_per_gpu=1, dist=False, seed=3)
        read[name] = [(batch['idx'], batch['img'][part]) for batch in (*loader, *loader.in_order(range(30)))
                      for part in ('a', 'b')]
    assert len(read['disk']) == 2 * (8 + 4)
    for one, other in zip(*read.values()):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_options_and_words(server, tmp_path, caplog):
    for options, message in ((dict(cache_size=1e-5), 'enough for 16 chunks of chunk_size=0.03 MB or 0; got 1e-05'),
                             (dict(chunk_size=0, cache_size=1),
                              'from 0.01 to 1000, got 0'), (dict(parallel=0),
                                                            'parallel is an integer of at least 1, got 0'),
                             (dict(timeout=-1), 'timeout is a number of seconds above 0, got -1'),
                             (dict(tries=0), 'tries is a whole number above 0, got 0'),
                             (dict(storage_options=dict(secret='mine')),
                              'storage_options.secret is a secret'), (dict(data_prefix='nowhere://a/b'),
                                                                      'Protocol not known: nowhere'),
                             (dict(data_prefix='/data/shards'),
                              'cache_dir, cache_size, chunk_size: for shards on a server alone')):
        with pytest.raises(ConfigError, match=message):
            build_datasource(dict(remote(server.address, tmp_path), **options))
    with pytest.raises(RemoteFileError, match='/other/index/index.json: there is no such file .* need their index'):
        build_datasource(remote(f'{server.address}/other', tmp_path))
    small = remote(server.address, tmp_path, cache_size=0.00049)
    loader_of(small, sampler=None)
    assert 'the order is a full shuffle' in caplog.text and 'BlockShuffleSampler' in caplog.text
    caplog.clear()
    loader_of(small, sampler=dict(type='BlockShuffleSampler', window=4))
    assert '4 blocks of' in caplog.text and 'take a smaller window' in caplog.text
    caplog.clear()
    loader_of(small, sampler=None, shuffle=False)
    loader_of(small, sampler=dict(type='BlockShuffleSampler', window=1))
    loader_of(remote(server.address, tmp_path))
    assert not caplog.text
    assert len(pickle.dumps(build_datasource(small))) < 5000


def _share(rank, world_size, address, cache):
    loader = loader_of(remote(address, cache), dist=True, samples_per_gpu=4)
    return [idx for batch, _ in epoch(loader, 4) for idx in batch]


@pytest.mark.long
def test_two_processes_share_the_images_and_the_cache(server, tmp_path, run_distributed):
    one = [idx for batch, _ in epoch(loader_of(remote(server.address, tmp_path / 'own')), 4) for idx in batch]
    alone = len(server.requests)
    shares = run_distributed(_share, server.address, tmp_path / 'shared')
    assert np.array_equal(np.stack([np.reshape(share, (-1, 4)) for share in shares], 1).reshape(-1), one)
    asked = server.requests[alone:]
    assert len(asked) == alone + 1  # index.json is looked at by each
    assert sorted(set(asked)) == sorted(set(server.requests[:alone]))


TRAINING = """
_base_ = '{base}'
model = dict(backbone=dict(in_channels=1))
img_norm_cfg = dict(mean=[0.3], std=[0.3])
pipeline = [dict(type='RandomResizedCrop', size=16), dict(type='RandomHorizontalFlip')]
data = dict(
    samples_per_gpu=10,
    workers_per_gpu=0,
    sampler=dict(type='BlockShuffleSampler', window=2),
    train=dict(
        data_source=dict(
            type='Shards', color_type='grayscale', data_prefix='{address}', cache_dir='{cache}', cache_size=0.00025,
            chunk_size=0.015, tries=2),
        pipelines=[pipeline]))
checkpoint_config = dict(interval=5, by_epoch=False)
"""


def test_a_training_that_the_server_ends_goes_on_where_it_was(server, tmp_path, call_tool):
    base = Path(__file__).parents[2] / 'configs/digits_moco.py'
    states = {}
    for name in ('whole', "it's cut off"):
        (tmp_path / name).mkdir()
        config = tmp_path / name / 'config.py'
        config.write_text(
            TRAINING.format(base=base, address=server.address, cache=f'{tmp_path}/cache of {name}'.replace("'", "\\'")))
        options = '--work-dir', tmp_path / name / 'run'
        if name == 'whole':
            call_tool('tools/train.py', config, *options)
        else:
            # two thirds of the images are still to come, and the cache has room for one third
            server.answer = lambda handler, path, *_: (tmp_path / name / 'run/iter_15.pth').exists() and path.endswith(
                '.tar') and (server.send(handler, 503, b'') or True)
            failed = call_tool('tools/train.py', config, *options, check=False)
            assert failed.returncode == 1, failed.stderr
            assert '.tar: the server answers 503 Service Unavailable; ' in failed.stderr.splitlines()[-1]
            assert not (tmp_path / name / 'run/iter_24.pth').exists()
            server.answer = None
            done = call_tool('tools/train.py', config, *options, '--auto-resume', '--cfg-options',
                             'data.workers_per_gpu=2')
            assert 'iter_15.pth at epoch 2, batch 3, iteration 15' in done.stderr
        states[name] = read_checkpoint(tmp_path / name / 'run/iter_24.pth')
    whole, resumed = states.values()
    assert all(torch.equal(value, resumed['state_dict'][key]) for key, value in whole['state_dict'].items())
    assert whole['meta']['iter'] == resumed['meta']['iter'] == 24


@pytest.fixture(scope='module')
def bucket(folder):
    """The set in a bucket of moto's object server; its address and the options that lead there."""
    import boto3
    from moto.server import ThreadedMotoServer
    names = dict(AWS_ACCESS_KEY_ID='me', AWS_SECRET_ACCESS_KEY='mine', AWS_DEFAULT_REGION='us-east-1')
    kept = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f'http://{host}:{port}'
    client = boto3.client('s3', endpoint_url=endpoint)
    client.create_bucket(Bucket='bucket')
    for path in [*folder.glob('*.tar'), *folder.glob('index/*')]:
        client.upload_file(str(path), 'bucket', f'sets/photos/{path.relative_to(folder)}')
    yield 's3://bucket/sets/photos', dict(client_kwargs=dict(endpoint_url=endpoint))
    server.stop()
    for name, value in kept.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_s3(folder, bucket, tmp_path, monkeypatch):
    address, options = bucket
    expected = epoch(loader_of(dict(type='Shards', data_prefix=str(folder))))
    source = remote(address, tmp_path, storage_options=options)
    assert same(epoch(loader_of(source, workers=1)), expected)
    assert same(epoch(loader_of(dict(source, cache_size=0))), expected)
    assert build_datasource(source).get_filename(3) == 's3://bucket/sets/photos/s-0.tar!0-03.jpg'
    with pytest.raises(RemoteFileError, match='s3://bucket/sets/absent/index/index.json: there is no such file'):
        build_datasource(dict(source, data_prefix='s3://bucket/sets/absent'))
