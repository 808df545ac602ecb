"""Checkpoints: torn, foreign, renamed, latest; atomic files."""
import argparse
import hashlib
import http.server
import logging
import os
import pickle
import re
import sys
import threading
import time
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmssl.models import build_algorithm, build_backbone
from mmssl.utils import sharded_checkpoint
from mmssl.utils.checkpoint import (CheckpointError, find_latest_checkpoint, get_state_dict, load_weights,
                                    read_checkpoint, save_checkpoint, training_checkpoints)
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import atomic_symlink, atomic_write, file_digest, sync_folder, tensor2imgs
from mmssl.utils.sharded_checkpoint import finish_folder, temporary_folder


class Bomb:
    """A pickle that runs code when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path), ))


@pytest.mark.parametrize('new_format', [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path, new_format):
    """Loading never runs code from a checkpoint."""
    torch.save(
        dict(state_dict={}, extra=Bomb(tmp_path / 'ran')),
        tmp_path / 'a.pth',
        _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match='could run foreign code|is torn or no checkpoint'):
        read_checkpoint(tmp_path / 'a.pth')
    (tmp_path / 'b.pth').write_bytes(pickle.dumps(Bomb(tmp_path / 'ran')))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / 'b.pth')
    assert not (tmp_path / 'ran').exists()


def test_harmless_foreign_types_are_read(tmp_path):
    """Best scores as numpy numbers, arguments of a command line: other toolboxes save them."""
    meta = dict(best=np.float64(0.5), n=np.int64(3), args=argparse.Namespace(lr=0.1))
    torch.save(dict(meta=meta, model=dict(w=torch.ones(2))), tmp_path / 'a.pth')
    found = read_checkpoint(tmp_path / 'a.pth')
    assert found['meta'] == meta and get_state_dict(found).keys() == {'w'}


def test_logs_of_mmengine_are_passed_over(tmp_path, monkeypatch):
    """Objects of other packages become placeholders: no package is imported, methods and their arguments stay inert."""
    package = types.ModuleType('mmengine.logging')

    class HistoryBuffer:

        def __init__(self):
            self.history, self.methods = np.arange(3.), dict(mean=HistoryBuffer.mean)

        def mean(self):
            raise AssertionError

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = package.__name__, 'HistoryBuffer'
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = package.__name__, 'HistoryBuffer.mean'
    package.HistoryBuffer = HistoryBuffer
    monkeypatch.setitem(sys.modules, 'mmengine', types.ModuleType('mmengine'))
    monkeypatch.setitem(sys.modules, 'mmengine.logging', package)
    weights = dict(a=torch.rand(2, 3), b=nn.Parameter(torch.rand(2).bfloat16()), c=torch.arange(3))
    torch.save(dict(state_dict=weights, message_hub=dict(log=HistoryBuffer())), tmp_path / 'a.pth')
    monkeypatch.undo()
    found = get_state_dict(read_checkpoint(tmp_path / 'a.pth'))
    assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights)
    assert 'mmengine' not in sys.modules
    for bomb in (Bomb(tmp_path / 'ran'), (getattr, Bomb), print):  # calls stay refused or inert
        try:
            torch.save(dict(state_dict=weights, message_hub=bomb), tmp_path / 'bomb.pth')
            read_checkpoint(tmp_path / 'bomb.pth')
        except CheckpointError as error:
            assert 'could run foreign code' in str(error)
    assert not (tmp_path / 'ran').exists()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Address of a server of bytes by path, the dict of them, and the paths that were asked for."""
    files, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):

        def do_GET(self):
            asked.append(self.path)
            if self.path == '/once.pth':
                time.sleep(0.2)
            content, length = files.get(self.path, (None, 0))
            self.send_response(404 if content is None else 200)
            if length is not None:
                self.send_header('Content-Length', str(length))
            self.end_headers()
            self.wfile.write(content or b'')

        def log_message(self, *args):
            pass

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}', files, asked
    server.shutdown()
    server.server_close()


def test_downloads(server, tmp_path):
    """Two addresses with one file name are two files; each is fetched once; files of all kinds are read."""
    address, files, asked = server
    arrays = dict(w=np.ones(2, np.float32))
    for path, value in (('/a/r.pth', 1.), ('/b/r.pth', 2.)):
        torch.save(dict(w=torch.tensor(value)), tmp_path / 'r.pth')
        content = (tmp_path / 'r.pth').read_bytes()
        files[path] = content, len(content)
    digest = hashlib.sha256(content).hexdigest()
    files[f'/r-{digest[:8]}.pth'] = files['/r-00000000.pth'] = content, len(content)
    files['/w.pkl'] = pickle.dumps(arrays), None
    safetensors = pytest.importorskip('safetensors.numpy').save(arrays)
    files['/w.safetensors?download=true'] = safetensors, None
    for _ in range(2):
        assert [read_checkpoint(f'{address}/{name}/r.pth')['w'].item() for name in 'ab'] == [1, 2]
        assert read_checkpoint(f'{address}/r-{digest[:8]}.pth')['w'] == 2
        for name in ('w.pkl', 'w.safetensors?download=true'):
            assert read_checkpoint(f'{address}/{name}')['w'].tolist() == [1, 1]
    assert len(asked) == 5
    files['/once.pth'] = files['/a/r.pth']
    with ThreadPoolExecutor(4) as pool:  # in place of processes, which begin together
        assert [found['w'] for found in pool.map(read_checkpoint, [f'{address}/once.pth'] * 4)] == [1] * 4
    assert asked.count('/once.pth') == 1
    files['/short.pth'] = content[:-9], len(content)
    folder = tmp_path / 'home/hub/checkpoints'
    before = set(folder.iterdir())
    for name, reason in (('absent.pth', 'HTTP 404'), ('short.pth', f'it ended after {len(content) - 9} of'),
                         ('r-00000000.pth', f'its SHA-256 begins with {digest[:8]}, its name says 00000000')):
        with pytest.raises(ConfigError, match=f'{name} could not be downloaded: {reason}'):
            read_checkpoint(f'{address}/{name}')
    with pytest.raises(ConfigError, match='a.pth could not be downloaded: .*refused'):
        read_checkpoint('http://127.0.0.1:9/a.pth')
    assert set(folder.iterdir()) == before


def test_clear_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match='checkpoint .*nowhere.pth does not exist'):
        read_checkpoint(tmp_path / 'nowhere.pth')
    (tmp_path / 'text.pth').write_text('version https://git-lfs.github.com/spec/v1')
    (tmp_path / 'empty.pth').write_bytes(b'')
    (tmp_path / 'hello.pth').write_text('hello')
    for name, reason in (('text', ''), ('empty', ': it ends too early'), ('hello', ': its bytes are no weights')):
        with pytest.raises(CheckpointError, match=f'{name}.pth is torn or no checkpoint{reason}'):
            read_checkpoint(tmp_path / f'{name}.pth')


def training(i, **more):
    return dict(meta=dict(iter=i, epoch=0), state_dict=dict(w=torch.rand(20000)), optimizer=dict(state={}), **more)


def test_latest_goes_by_content(tmp_path):
    """Neither name nor date count, but how far the training had got; torn files and what cannot be resumed do not.

    The newest files by date are the first ones, as cp -r may leave them.
    """
    for i, name in ((9, 'step-9'), (10, 'iter_10.pth'), (11, 'iter_11.pth'), (12, 'last.ckpt')):
        save_checkpoint(training(i), tmp_path / name)
        os.utime(tmp_path / name, (time.time() - i, time.time() - i))
    save_checkpoint(dict(state_dict=dict(w=torch.ones(1))), tmp_path / 'backbone.pth')
    without = training(20, hooks={})
    del without['optimizer']
    save_checkpoint(without, tmp_path / 'no_optimizer.pth')
    del without['hooks']
    save_checkpoint(without, tmp_path / 'published-0123abcd.pth')
    save_checkpoint(dict(without, batch=dict(img=torch.ones(1))), tmp_path / 'nonfinite_iter_30_rank0.pth')
    np.savez(tmp_path / 'features.npz', a=np.ones(3))
    (tmp_path / 'iter_40.pth.123.tmp').write_bytes(b'PK\x03\x04')
    atomic_symlink('last.ckpt', tmp_path / 'latest.pth')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert find_latest_checkpoint(tmp_path, None) == str(tmp_path / 'last.ckpt')
        assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'iter_11.pth')
        assert [c.iter for c in training_checkpoints(tmp_path)] == [20, 12, 11, 10, 9]
    whole = (tmp_path / 'last.ckpt').read_bytes()
    (tmp_path / 'last.ckpt').write_bytes(whole[:-100])
    broken = bytearray((tmp_path / 'iter_11.pth').read_bytes())
    broken[40000:40100] = bytes(100)
    (tmp_path / 'iter_11.pth').write_bytes(broken)
    with pytest.warns(UserWarning, match='passed over: .*last.ckpt is torn') as warned:
        assert find_latest_checkpoint(tmp_path, None) == str(tmp_path / 'iter_10.pth')
    assert any('iter_11.pth is torn' in str(w.message) for w in warned)
    assert find_latest_checkpoint(tmp_path / 'absent') is None


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path):
    """torch's writer hides the reason. The limit on the size of a file makes the same error as a full disk."""
    import resource
    path = tmp_path / 'a.pth'
    save_checkpoint(training(1), path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40000, limits[1]))
    try:
        with pytest.raises(
                OSError,
                match=r'a.pth could not be written: file too large \(it needs 0.\d MB, \d+.\d MB '
                r'are free in .*unchanged'):
            save_checkpoint(training(2), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ['a.pth']


def net():
    return nn.ModuleDict(dict(backbone=nn.Linear(2, 3), head=nn.Linear(3, 2)))


def test_loading_counts(caplog):
    """PITFALLS: conversion that silently loads nothing (mss #74). Names and shapes of all kinds are in the log."""
    caplog.set_level(logging.DEBUG, get_root_logger().name)
    source, target = net(), net()
    weights = {f'module.{k}': v for k, v in source.state_dict().items()}
    weights['module._orig_mod.queue'] = torch.zeros(1)
    weights['module.head.weight'] = torch.zeros(5, 3)
    report = load_weights(target, dict(state_dict=weights))
    assert report == (['backbone.weight', 'backbone.bias', 'head.bias'], [], ['queue'], ['head.weight'])
    assert torch.equal(target['backbone'].weight, source['backbone'].weight)
    levels = {record.getMessage().strip(): record.levelname for record in caplog.records}
    assert levels == {
        'weights from the given weights: 3 matched, 0 missing, 1 unexpected, 1 mismatched': 'INFO',
        'mismatched, initial values are kept: head.weight (5, 3) for (2, 3)': 'WARNING',
        'matched: backbone.weight (3, 2), backbone.bias (3), head.bias (2)': 'DEBUG',
        'unexpected: queue (1)': 'INFO',
        'mismatched: head.weight (5, 3) for (2, 3)': 'DEBUG',
    }
    with pytest.raises(CheckpointError, match='nothing in the given weights fits the model.*stem'):
        load_weights(target, dict(stem=torch.ones(1)))
    with pytest.raises(CheckpointError, match='does not fit the model exactly'):
        load_weights(target, weights, strict=True)
    with pytest.raises(CheckpointError, match=r'same names have other shapes: 0 .*; 2 mismatched \(weight \(5\) for'):
        load_weights(nn.Linear(2, 3), dict(weight=torch.ones(5), bias=torch.ones(5)))


def narrow_probe(frozen=True, init_cfg=None):
    cfg = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, init_cfg=init_cfg)
    return build_algorithm(
        dict(
            type='Classification',
            backbone=dict(cfg, frozen_stages=4 if frozen else -1),
            head=dict(type='ClsHead', in_channels=64, num_classes=3)))


@pytest.mark.parametrize('case', ['other depth', 'other width', 'lacks', 'running mean'])
def test_a_frozen_part_is_loaded_whole(case, tmp_path, caplog):
    """A probe on random features is an error, by init_cfg and by load_from; a network that learns gets a warning."""
    cfg = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    cfg.update({'other depth': dict(depth=34), 'other width': dict(base_channels=16)}.get(case, {}))
    weights = {f'backbone.{key}': value for key, value in build_backbone(cfg).state_dict().items()}
    words = {'other depth': None,
             'other width': r'95 mismatched \(layer1.0.conv1.weight \(16, 8, 3, 3\) for \(8, 8, 3, 3\)',
             'lacks': r'1 missing \(layer4.1.conv2.weight \(64, 64, 3, 3\)\)',
             'running mean': r'1 missing \(bn1.running_mean \(8\)\)'}[case]  # yapf: disable
    if case in ('lacks', 'running mean'):
        del weights['backbone.layer4.1.conv2.weight' if case == 'lacks' else 'backbone.bn1.running_mean']
    save_checkpoint(dict(state_dict=weights), tmp_path / 'a.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    if case == 'other depth':  # the deeper file has all that the network needs, and more
        model = narrow_probe(init_cfg=init_cfg)
        with pytest.raises(
                CheckpointError, match=r'a.pth is of a larger network, .* unexpected \(layer1.2.conv1.weight'):
            model.init_weights()
        load_weights(narrow_probe(False), str(tmp_path / 'a.pth'))
        with pytest.raises(CheckpointError, match='a.pth is of a larger network'):
            load_weights(narrow_probe(False), str(tmp_path / 'a.pth'), complete=('backbone', ))
        return
    with pytest.raises(CheckpointError, match=f'a.pth would leave random weights in a frozen part: .*; {words}'):
        narrow_probe(init_cfg=init_cfg).init_weights()
    with pytest.raises(CheckpointError, match='a frozen part: .*; .* \\(backbone'):
        load_weights(narrow_probe(), str(tmp_path / 'a.pth'))
    caplog.clear()
    caplog.set_level('INFO', get_root_logger().name)
    narrow_probe(False, init_cfg).init_weights()
    assert [record.levelname for record in caplog.records
            if re.search('missing,|mismatched,.*kept', record.message)] == ['INFO', 'WARNING']
    with pytest.raises(CheckpointError, match='a.pth would leave random weights in the backbone, which'):
        load_weights(narrow_probe(False), str(tmp_path / 'a.pth'), complete=('backbone', ))


def test_a_new_head_is_said_once(caplog):
    """Fine-tuning begins with a new head; one of another size has to be named; and an evaluated one has to be there."""
    model = narrow_probe(False)
    weights = {key: value for key, value in model.state_dict().items() if key.startswith('backbone.')}
    caplog.set_level('INFO', 'mmssl')
    load_weights(model, weights, may_differ=())
    assert [record.message.strip() for record in caplog.records] == [
        f'weights from the given weights: {len(weights)} matched, 2 missing, 0 unexpected, 0 mismatched',
        'no weights of head: initial values']  # yapf: disable
    weights['head.fc_cls.weight'] = torch.zeros(9, 64)
    with pytest.raises(CheckpointError, match=r"load_from_mismatch=\['head'\] .* \(head.fc_cls.weight \(9, 64\) for"):
        load_weights(model, weights, may_differ=())
    load_weights(model, weights, may_differ=('head', ))
    with pytest.raises(CheckpointError, match=r'in the head, which .*; 1 missing \(head.fc_cls.bias \(3\)\); 1 mism'):
        load_weights(model, weights, complete=('', ))


def test_loading_a_part():
    source, backbone = net(), nn.Linear(2, 3)
    assert load_weights(backbone, source.state_dict(), prefix='backbone.').matched == ['weight', 'bias']
    assert torch.equal(backbone.bias, source['backbone'].bias)


def test_old_names_are_counted_as_matched():
    """Checkpoints of MMSelfSup load as weights, under the names that modules had there."""

    class Renamed(nn.Linear):

        def _load_from_state_dict(self, state_dict, prefix, *args):
            if prefix + 'kernel' in state_dict:
                state_dict[prefix + 'weight'] = state_dict.pop(prefix + 'kernel')
            super()._load_from_state_dict(state_dict, prefix, *args)

    model = nn.Sequential(Renamed(2, 3))
    report = load_weights(model, {'0.kernel': torch.ones(3, 2), '0.bias': torch.ones(3)})
    assert report.matched == ['0.weight', '0.bias'] and (model[0].weight == 1).all()
    report = load_weights(model, {'0.kernel': torch.ones(3, 9), '0.bias': torch.zeros(3)})
    assert report.mismatched == ['0.weight'] and report.matched == ['0.bias'] and (model[0].bias == 0).all()


def test_a_file_appears_only_when_complete(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    with atomic_write(path) as file:
        file.write('first')
    with pytest.raises(RuntimeError):
        with atomic_write(path) as file:
            file.write('half')
            file.flush()
            raise RuntimeError
    assert path.read_text() == 'first' and [p.name for p in path.parent.iterdir()] == ['a.txt']


def test_what_has_its_name_is_on_the_disk(tmp_path, monkeypatch):
    """After a power cut a file or folder is the old or the new one: the content is there first, then the name."""
    events, sync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda file: (events.append(os.fstat(file).st_ino), sync(file)))
    monkeypatch.setattr(os, 'replace', lambda old, new: (events.append(Path(new).name), rename(old, new)))
    with atomic_write(tmp_path / 'a.txt') as file:
        file.write('a')
    atomic_symlink('a.txt', tmp_path / 'latest')
    assert events == [(tmp_path / 'a.txt').stat().st_ino, 'a.txt', tmp_path.stat().st_ino, 'latest', events[2]]
    exchange = sharded_checkpoint._exchange
    for number in range(3):  # new; in the place of another in one step, where the system can; and in two
        monkeypatch.setattr(sharded_checkpoint, '_exchange', exchange if number < 2 else lambda one, other: False)
        folder = temporary_folder(tmp_path / 'x.dcp', number)
        folder.mkdir()
        (folder / str(number)).touch()
        events.clear()
        finish_folder(folder, tmp_path / 'x.dcp', sync_folder)
        names = [['x.dcp'], [] if sys.platform == 'linux' else None, [f'old_x.dcp.{os.getpid()}.tmp', 'x.dcp']][number]
        if names is not None:
            assert events == [(tmp_path / 'x.dcp').stat().st_ino, *names, tmp_path.stat().st_ino]
        assert [file.name for file in (tmp_path / 'x.dcp').iterdir()] == [str(number)]
    assert not list(tmp_path.glob('*.tmp'))


@pytest.mark.parametrize('size', [0, 7, 2**20, 2**20 + 1])
def test_digest_of_a_file(tmp_path, size):
    content = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / 'a').write_bytes(content[:size])
    assert file_digest(tmp_path / 'a') == hashlib.sha256(content[:size]).hexdigest()


def test_tensor2imgs():
    image = torch.randint(0, 256, (2, 3, 4, 5)).float()
    mean, std = (10., 20., 30.), (2., 3., 4.)
    normalised = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    found = tensor2imgs(normalised, mean, std)
    assert np.array_equal(found[1][..., ::-1], image[1].permute(1, 2, 0).numpy())
