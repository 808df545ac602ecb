"""Checkpoints: torn, foreign, renamed, latest; atomic files."""
import argparse
import hashlib
import os
import pickle
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from mmssl.utils.checkpoint import (CheckpointError, find_latest_checkpoint, get_state_dict, load_weights,
                                    read_checkpoint, save_checkpoint, training_checkpoints)
from mmssl.utils.misc import atomic_symlink, atomic_write, file_digest, tensor2imgs


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


def test_clear_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match='checkpoint .*nowhere.pth does not exist'):
        read_checkpoint(tmp_path / 'nowhere.pth')
    (tmp_path / 'text.pth').write_text('version https://git-lfs.github.com/spec/v1')
    (tmp_path / 'empty.pth').write_bytes(b'')
    for name in ('text', 'empty'):
        with pytest.raises(CheckpointError, match=f'{name}.pth is torn or no checkpoint'):
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
    published = training(20)
    del published['optimizer']
    save_checkpoint(published, tmp_path / 'published-0123abcd.pth')
    save_checkpoint(training(30, batch=dict(img=torch.ones(1))), tmp_path / 'nonfinite_iter_30_rank0.pth')
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
        with pytest.raises(OSError, match=r'a.pth could not be written: file too large \(\d+ MB free.*unchanged'):
            save_checkpoint(training(2), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ['a.pth']


def net():
    return nn.ModuleDict(dict(backbone=nn.Linear(2, 3), head=nn.Linear(3, 2)))


def test_loading_counts(capsys):
    """PITFALLS: conversion that silently loads nothing (mss #74)."""
    source, target = net(), net()
    weights = {f'module.{k}': v for k, v in source.state_dict().items()}
    weights['module.queue'] = torch.zeros(1)
    weights['module.head.weight'] = torch.zeros(5, 3)
    report = load_weights(target, dict(state_dict=weights))
    assert report == (['backbone.weight', 'backbone.bias', 'head.bias'], [], ['queue'], ['head.weight'])
    assert torch.equal(target['backbone'].weight, source['backbone'].weight)
    assert '3 matched, 0 missing, 1 unexpected, 1 mismatched' in capsys.readouterr().out
    with pytest.raises(CheckpointError, match='nothing in the given weights fits the model.*stem'):
        load_weights(target, dict(stem=torch.ones(1)))
    with pytest.raises(CheckpointError, match='does not fit the model exactly'):
        load_weights(target, weights, strict=True)


def test_loading_a_part(capsys):
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
