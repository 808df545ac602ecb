"""Checkpoints of sharded trainings: exact resume, by parts and beside the training, with other numbers of processes."""
import logging
import resource
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from mmcv.runner.hooks import Hook

from mmssl.core import build_runner, checkpoint_writer
from mmssl.core.checkpoint_writer import write_checkpoint
from mmssl.core.hooks import CheckpointHook
from mmssl.core.parallel import make_trainable
from mmssl.core.sharding import shard_model
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import find_latest_checkpoint, read_checkpoint, training_checkpoints
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.sharded import convert, sharded_modules, whole

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
FSDP = dict(type='fsdp', min_params=0)


def config(sharding=None, **checkpoint):
    """BYOL with LARS, accumulation, clipping, EMA, synchronised batch norm; 5 iterations of two processes."""
    cfg = load_config(CONFIGS / 'digits_byol.py')
    cfg.data.samples_per_gpu, cfg.runner.max_epochs = 128, 1
    cfg.optimizer_config.update_interval = cfg.custom_hooks[0].update_interval = 2
    cfg.checkpoint_config.interval = 2
    cfg.model.backbone.drop_path_rate = 0.
    cfg.checkpoint_config.update(checkpoint)
    if sharding:
        cfg.sharding = sharding
    return cfg


def weights(runner):
    return whole(getattr(runner.model, 'module', runner.model).state_dict())


def entries(checkpoint):
    """All that a checkpoint holds, by place; without what names the file or the time."""
    found = {}
    convert(checkpoint, lambda value, place: found.setdefault(place, value))
    return {
        place: value
        for place, value in found.items()
        if not place.startswith(('meta/time', 'meta/hook_msgs', 'meta/resume_from', 'hooks/CheckpointHook'))
    }


def unlike(a, b):
    """Places at which two checkpoints differ in a bit."""
    a, b = entries(a), entries(b)
    equal = torch.equal
    return sorted(a.keys() ^ b.keys()) + [
        place for place in a.keys() & b.keys()
        if not (equal(a[place], b[place]) if isinstance(a[place], torch.Tensor) else a[place] == b[place])
    ]


def farthest(a, b):
    """The largest difference of two state_dicts, relative to the largest value of a tensor."""
    return max(((a[key].double() - b[key].double()).abs().max() / (1e-3 + b[key].double().abs().max())).item()
               for key in b if b[key].numel())


def restored(cfg, path, distributed):
    """What a runner that has resumed would save at once."""
    model = build_algorithm(cfg.model)
    model, optimizer = make_trainable(model, cfg, torch.device('cpu'), distributed)
    runner = build_runner(
        dict(type='EpochBasedRunner', max_epochs=1),
        dict(model=model, optimizer=optimizer, work_dir=None, logger=logging.getLogger('quiet'), meta={}))
    runner.resume(path)
    return whole(runner._checkpoint(True, None))


def resume(rank, world_size, folder):
    from test_runner import resumed, train
    found = {}
    straight = train(config(FSDP), f'{folder}/whole', True)
    found['sharded'] = len(sharded_modules(straight.model)) > 10
    expected = weights(straight)
    for name, options in dict(file={}, parts=dict(sharded=True), beside=dict(sharded=True, asynchronous=True)).items():
        done = resumed(config(FSDP, **options), f'{folder}/{name}', 3, True)
        found[name] = unlike(expected, weights(done))
    done = resumed(config(dict(type='zero')), f'{folder}/zero', 3, True)
    zero, ddp = weights(done), train(config(), f'{folder}/ddp', True)
    found['zero'] = unlike(zero, weights(ddp))
    found['ddp'] = farthest(expected, weights(ddp))
    return found


def work(rank, world_size, folder):
    logging.disable(logging.WARNING)
    sys.path.insert(0, str(Path(__file__).parent))
    found = resume(rank, world_size, folder)
    path = find_latest_checkpoint(f'{folder}/beside')
    for name, sharding in dict(fsdp=FSDP, zero=dict(type='zero'), ddp=None).items():
        found[f'restored {name}'] = restored(config(sharding), path, True)
    return found


@pytest.mark.long
def test_resume_of_sharded_trainings(run_distributed, call_tool, tmp_path):
    results = run_distributed(work, str(tmp_path))
    for found in results:
        assert found['sharded']
        # interrupted and resumed trainings have the weights of an uninterrupted one, bit for bit
        assert found['file'] == found['parts'] == found['beside'] == found['zero'] == []
        assert found['ddp'] < 1e-5
    folder = Path(find_latest_checkpoint(tmp_path / 'beside'))
    assert folder.name == 'iter_5.dcp' and (folder.parent / 'latest.dcp').resolve() == folder
    assert [c.path.name for c in training_checkpoints(folder.parent)] == ['iter_5.dcp', 'iter_4.dcp', 'iter_2.dcp']
    call_tool('tools/model_converters/merge_checkpoint.py', folder, tmp_path / 'merged.pth', cwd=tmp_path)
    merged = read_checkpoint(tmp_path / 'merged.pth')
    single = read_checkpoint(find_latest_checkpoint(tmp_path / 'file'))
    assert unlike(merged, single) == []
    # whatever reads it has all of it
    for kind in ('fsdp', 'zero', 'ddp'):
        got = results[0][f'restored {kind}']
        assert unlike(got['state_dict'], merged['state_dict']) == []
        assert unlike(got['optimizer']['state'], merged['optimizer']['state']) == []


def test_a_write_beside_the_training_that_fails_is_an_error(tmp_path, monkeypatch):
    from test_runner import plain_runner
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    pending = runner.save_checkpoint(tmp_path, asynchronous=True)
    pending.wait()
    assert pending.done() and read_checkpoint(tmp_path / 'latest.pth')['meta']['iter'] == 0
    monkeypatch.setattr(checkpoint_writer, 'save_checkpoint', fail)
    pending = runner.save_checkpoint(tmp_path, 'other.pth', asynchronous=True)
    with pytest.raises(OSError, match='no space for other.pth'):
        runner.save_checkpoint(tmp_path, 'third.pth')  # waits for the one before
    assert not pending.done()
    pending.wait()  # it is told once, whoever asks


def fail(checkpoint, path):
    raise OSError(f'no space for {path.name}')


def test_weights_are_a_copy_while_they_are_written(tmp_path, monkeypatch):
    from test_runner import plain_runner
    runner, go_on = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1)), threading.Event()
    save = checkpoint_writer.save_checkpoint

    def slow(*args):
        assert go_on.wait(60)
        save(*args)

    monkeypatch.setattr(checkpoint_writer, 'save_checkpoint', slow)
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    pending = runner.save_checkpoint(tmp_path, asynchronous=True)
    assert not pending.done() and not list(tmp_path.glob('*.pth'))
    with torch.no_grad():
        for parameter in runner.model.parameters():
            parameter.add_(1)  # the training goes on
    go_on.set()
    runner.finish_checkpoint()
    assert unlike(read_checkpoint(tmp_path / 'latest.pth')['state_dict'], before) == []


def test_the_end_of_the_training_waits_for_what_is_written(tmp_path, monkeypatch):
    from test_runner import numbers, plain_runner

    class Save(Hook):

        def after_run(self, runner):
            runner.save_checkpoint(tmp_path, asynchronous=True)

    save = checkpoint_writer.save_checkpoint
    monkeypatch.setattr(checkpoint_writer, 'save_checkpoint', lambda *args: (time.sleep(0.3), save(*args)))
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    runner.register_hook(Save())
    runner.run([numbers(3)], [('train', 1)])
    assert read_checkpoint(tmp_path / 'latest.pth')['meta']['iter'] == 3


def full_disk(rank, world_size, folder):
    """Files above a size are refused, which is as a full disk; of the first process only meta.pth is so large."""
    logging.disable(logging.WARNING)
    model = shard_model(torch.nn.Sequential(torch.nn.Linear(64, 512)))
    found, usual = {}, resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, hit, rest, asynchronous in (('parts', 1, 1, False), ('meta', 0, 10**6, False), ('beside', 0, 10**6, True),
                                          ('good', None, 1, True)):
        checkpoint = dict(state_dict=model.state_dict(), rest=torch.zeros(rest))
        size = 10**5 if rest > 1 else 10**4
        resource.setrlimit(resource.RLIMIT_FSIZE, (size if rank == hit else usual[0], usual[1]))
        try:
            pending = write_checkpoint(checkpoint, Path(folder, f'{name}.pth'), sharded=True, asynchronous=asynchronous)
            if pending is not None:
                pending.wait()
            found[name] = None
        except OSError as error:
            found[name] = error.strerror
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    return found


def test_a_full_disk_is_told_to_all_processes(run_distributed, tmp_path):
    for found in run_distributed(full_disk, str(tmp_path)):
        assert found.pop('good') is None
        assert all('could not be written: file too large' in message for message in found.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ['good.dcp']


def test_parts_without_sharding_are_refused(tmp_path):
    from test_runner import plain_runner
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    with pytest.raises(ConfigError, match='sharded=True writes what sharding=dict'):
        runner.save_checkpoint(tmp_path, sharded=True)


@pytest.mark.parametrize('processes', [1, 2])
def test_parts_without_sharding_are_told_at_the_start(tmp_path, warnings_of_data, monkeypatch, processes):
    """A training of several processes went on by one, or lost its sharding, and ended at its first checkpoint."""
    from test_runner import plain_runner
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    monkeypatch.setattr(runner, '_world_size', processes)
    hook = CheckpointHook(interval=1, sharded=True)
    if processes > 1:
        with pytest.raises(ConfigError, match='nothing is divided'):
            hook.before_run(runner)
    else:
        hook.before_run(runner)
        runner.call_hook('before_run')
        hook._save(runner, hook.filename_tmpl.format(1), True)
        assert (tmp_path / 'epoch_1.pth').is_file()
