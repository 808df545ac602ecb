"""Starts of a run: new, going on, in the way of another. Checkpoints are small stand-ins; no training runs."""
import errno
import os
import re
import shutil
import socket
import time

import pytest

from mmssl.apis.run_dir import open_run
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.config_version import CONFIG_VERSION
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_symlink

CONFIG = r"""
model = dict(type='MoCo', backbone=dict(type='ResNet', depth=50, init_cfg=dict(type='Normal')))
data = dict(samples_per_gpu=4, train=dict(data_prefix='data'))
optimizer = dict(type='SGD', lr=0.1, paramwise_options={r'(bn|gn)(\d+)?.bias': dict(weight_decay=0.)})
checkpoint_config = dict(interval=1)
runner = dict(type='EpochBasedRunner', max_epochs=4)
resume_from = None
variable = 7
seed = variable * 2
"""


@pytest.fixture
def folder(tmp_path):
    """Where a user works: with a config, in a folder whose name has a space and an apostrophe."""
    folder = tmp_path / "Ann's photos"
    folder.mkdir()
    (folder / 'moco.py').write_text(CONFIG)
    return folder


def plan(folder, options=None, config='moco.py', **how):
    config = folder / config
    how = {key: str(folder / value) if key in ('work_dir', 'resume_from') else value for key, value in how.items()}
    return open_run(config, load_config(config, options), options, **how)


def begin(folder, options=None, seed=3, **how):
    """A start that succeeds; the time of the next one differs."""
    run = plan(folder, options, seed=seed, **how)
    run.timestamp = f'20260101_{len(list(folder.glob("*/*.py"))):06d}'
    run.begin()
    return run


def write(path, epoch, seed=3, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = dict(epoch=epoch, iter=10 * epoch, epoch_batches=0, epoch_length=10, seed=seed)
    save_checkpoint({'meta': meta, 'state_dict': {}, 'optimizer': {}, 'hooks': {}, **more}, path)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith('.run.'))


def test_config_is_saved_when_the_start_has_succeeded(folder):
    """What a failed start, or a repeated one, was told does not reach the tools that read the saved config."""
    options = {'data.train.data_prefix': "Ann's", 'optimizer.lr': 0.5}
    plan(folder, options, work_dir='run')
    assert names(folder / 'run') == []
    begin(folder, options, work_dir='run')
    assert names(folder / 'run') == ['20260101_000000_moco.py', 'moco.py']
    saved = load_config(folder / 'run/moco.py')
    expected = load_config(folder / 'moco.py', options)
    expected.merge_from_dict(dict(config_version=CONFIG_VERSION, work_dir=str(folder / 'run'), load_from=None, seed=3))
    for name in ('resume_from', 'variable'):
        expected._cfg_dict.pop(name, None)
    assert saved._cfg_dict == expected._cfg_dict
    before = (folder / 'run/moco.py').read_text()
    write(folder / 'run/epoch_1.pth', 1)
    with pytest.raises(ConfigError) as error:
        begin(folder, work_dir='run')
    assert re.search(
        r"Ann's photos/run holds a run up to epoch_1.pth \(iteration 10, 1 of 4 epochs\): .*--auto-resume.*"
        '--overwrite.*--work-dir', str(error.value)) and '\n' not in str(error.value)
    assert (folder / 'run/moco.py').read_text() == before


def test_going_on_takes_settings_seed_and_position_of_the_run(folder):
    """The file that got furthest counts, not the newest, and the options of the start, not the defaults."""
    begin(folder, {'data.train.data_prefix': 'mine', 'optimizer.lr': 0.5}, work_dir='run')
    for epoch in (3, 2, 1):
        write(folder / f'run/epoch_{epoch}.pth', epoch)
    (folder / 'moco.py').write_text(CONFIG.replace('samples_per_gpu=4', 'samples_per_gpu=8'))
    run = begin(folder, seed=None, work_dir='run', auto_resume=True)
    assert (run.cfg.data.train.data_prefix, run.cfg.optimizer.lr, run.cfg.seed) == ('mine', 0.5, 3)
    assert run.cfg.resume_from == str(folder / 'run/epoch_3.pth') and not run.finished
    note, = run.notes
    lines = ('data.samples_per_gpu: 4, not 8', "data.train.data_prefix: 'mine', not 'data'",
             'optimizer.lr: 0.5, not 0.1')
    assert note.splitlines()[1:] == [f'  {line}' for line in lines]
    assert names(folder / 'run')[0] == '20260101_000000_moco.py' and len(list((folder / 'run').glob('*.py'))) == 2
    # the saved config, wherever its folder went, and auto_resume in a config, are enough
    shutil.copytree(folder / 'run', folder / 'copy')
    run = begin(folder, {'auto_resume': True, 'optimizer.lr': 0.7}, None, config='copy/moco.py')
    assert run.cfg.resume_from == str(folder / 'copy/epoch_3.pth') and run.cfg.work_dir == str(folder / 'copy')
    assert 'settings changed since the start of the run:\n  optimizer.lr: 0.5 -> 0.7' in run.notes
    assert load_config(folder / 'copy/moco.py').optimizer.lr == 0.7
    assert load_config(folder / 'copy/moco.py').get('resume_from') is None  # a new run from it is a new run
    run = plan(folder, work_dir='copy', auto_resume=True)
    assert run.cfg.optimizer.lr == 0.7 and 'changed' not in ''.join(run.notes)


@pytest.mark.parametrize('how, options, message', [
    (dict(seed=4), None, 'has the seed 3, and 4 was asked for'),
    ({}, dict(seed=4), 'has the seed 3, and 4 was asked for'),
    ({}, {
        'model.backbone.init_cfg.type': 'Xavier'
    }, r"init_cfg.type: 'Normal' -> 'Xavier': the weights come from"),
    (dict(config='byol.py'), None, r'run holds a run of moco.py, not of byol.py'),
])
def test_what_cannot_change_in_a_run_is_refused(folder, how, options, message):
    begin(folder, work_dir='run')
    write(folder / 'run/epoch_2.pth', 2)
    (folder / 'byol.py').write_text(CONFIG)
    with pytest.raises(ConfigError, match=message):
        plan(folder, options, work_dir='run', auto_resume=True, **how)


def test_before_the_first_checkpoint_the_run_begins_anew_as_it_was_told(folder):
    """A plain start may do so too: nothing is lost."""
    begin(folder, {'optimizer.lr': 0.5}, work_dir='run', load_from='weights.pth')
    run = plan(folder, work_dir='run', auto_resume=True)
    assert (run.cfg.optimizer.lr, run.cfg.load_from, run.cfg.resume_from, run.cfg.seed) == (0.5, 'weights.pth', None, 3)
    assert 'begins anew' in run.notes[-1]
    assert plan(folder, work_dir='run').cfg.optimizer.lr == 0.1
    write(folder / 'run/epoch_1.pth', 1)
    run = plan(folder, work_dir='run', auto_resume=True, load_from='weights.pth')
    assert '--load-from weights.pth is not read' in run.notes[-1]


def test_a_finished_run_says_so(folder):
    begin(folder, work_dir='run')
    write(folder / 'run/epoch_4.pth', 4)
    assert re.search(r'run is finished: epoch_4.pth \(iteration 40, 4 of 4 epochs\)',
                     plan(folder, work_dir='run', auto_resume=True).finished)
    assert plan(folder, {'runner.max_epochs': 5}, work_dir='run', auto_resume=True).finished is None
    by_iter = {'runner': dict(_delete_=True, type='IterBasedRunner', max_iters=40)}
    assert plan(folder, by_iter, work_dir='run', auto_resume=True).finished
    # the last checkpoint by iterations is written before the epoch is counted
    meta = dict(epoch=3, iter=40, epoch_batches=10, epoch_length=10, seed=3)
    write(folder / 'run/epoch_4.pth', 4, meta=meta)
    assert '4 of 4 epochs' in plan(folder, work_dir='run', auto_resume=True).finished


def test_resume_from_one_of_several(folder):
    """Later checkpoints of the run are not written over in silence; another folder is a branch of it."""
    begin(folder, {'optimizer.lr': 0.5}, work_dir='run')
    for epoch in (1, 2, 3):
        write(folder / f'run/epoch_{epoch}.pth', epoch)
    atomic_symlink('epoch_3.pth', folder / 'run/latest.pth')
    with pytest.raises(ConfigError, match='up to epoch_3.pth .*, further than .*epoch_1.pth: '):
        plan(folder, resume_from='run/epoch_1.pth')
    branch = begin(folder, {'runner.max_epochs': 8}, None, resume_from='run/epoch_1.pth', work_dir='branch')
    assert (branch.cfg.optimizer.lr, branch.cfg.runner.max_epochs, branch.cfg.seed) == (0.5, 8, 3)
    assert 'moco.py' in names(folder / 'branch')
    run = begin(folder, seed=None, resume_from='run/epoch_1.pth', overwrite=True)
    assert run.cfg.work_dir == str(folder / 'run') and run.cfg.optimizer.lr == 0.5
    assert names(folder / 'run') == ['20260101_000000_moco.py', 'epoch_1.pth', 'moco.py', f'replaced_{run.timestamp}']
    assert names(folder / f'run/replaced_{run.timestamp}') == ['epoch_2.pth', 'epoch_3.pth', 'latest.pth']
    with pytest.raises(FileNotFoundError, match='nothing.pth does not exist'):
        plan(folder, resume_from='nothing.pth')
    save_checkpoint(dict(state_dict={}), folder / 'backbone.pth')
    with pytest.raises(ConfigError, match='backbone.pth is no checkpoint that a training wrote.*--load-from'):
        plan(folder, resume_from='backbone.pth', work_dir='new')


def test_overwrite_puts_the_old_run_away(folder):
    """All of it, also what lies in out_dir, and nothing else; only when the new start has succeeded."""
    options = {'checkpoint_config.out_dir': str(folder / 'checkpoints'), 'checkpoint_config.filename_tmpl': 'step{}'}
    begin(folder, options, work_dir='run')
    write(folder / 'checkpoints/run/step1', 1)
    write(folder / 'run/best_top1_epoch_1.pth', 1)
    kept = ['20260102_000000_notes.txt', 'backbone.pth', 'features.npz']
    for name in (*kept, '20260101_000000.log', '20260101_000000.log.json'):
        (folder / 'run' / name).write_text('')
    save_checkpoint(dict(meta=dict(iter=3), batch={}), folder / 'run/nonfinite_iter_3_rank0.pth')
    assert plan(folder, work_dir='run', auto_resume=True).cfg.resume_from.endswith(('step1', 'best_top1_epoch_1.pth'))
    with pytest.raises(ConfigError, match='holds a run up to'):
        plan(folder, options, work_dir='run')
    before = names(folder / 'run')
    plan(folder, options, work_dir='run', overwrite=True)
    assert names(folder / 'run') == before
    run = begin(folder, options, work_dir='run', overwrite=True)
    away = f'replaced_{run.timestamp}'
    assert names(folder / 'run') == sorted([*kept, f'{run.timestamp}_moco.py', 'moco.py', away])
    assert names(folder / 'run' / away) == [
        '20260101_000000.log', '20260101_000000.log.json', '20260101_000000_moco.py', 'best_top1_epoch_1.pth',
        'moco.py', 'nonfinite_iter_3_rank0.pth'
    ]
    assert names(folder / 'checkpoints/run') == [away] and names(folder / 'checkpoints/run' / away) == ['step1']
    checkpoint = dict(meta=dict(iter=1, epoch=1), state_dict={}, hooks={})
    save_checkpoint(checkpoint, folder / 'run/epoch_1.pth')
    with pytest.raises(ConfigError, match='no training can go on from .*epoch_1.pth.*save_optimizer'):
        plan(folder, work_dir='run', auto_resume=True)


def hold(folder):
    """Begin a run whose files are looked at, and fork a worker as a loader does."""
    plan(folder, work_dir='run')
    worker = os.fork()
    if worker:
        (folder / 'new').write_text(str(worker))
        (folder / 'new').rename(folder / 'worker')
    time.sleep(100)


def test_one_run_at_a_time(folder, forkserver):
    """The message names who is there. The lock goes with its process; a worker that outlives that does not keep it."""
    holder = forkserver.Process(target=hold, args=(folder, ))
    holder.start()
    while not (folder / 'worker').exists():
        assert holder.is_alive()
        time.sleep(0.05)
    (folder / 'run/epoch_1.pth.77.tmp').write_bytes(b'half')
    (folder / 'run/epoch_1.dcp.77.tmp').mkdir()
    (folder / 'run/epoch_1.dcp.77.tmp/__0_0.distcp').write_bytes(b'half')
    try:
        message = f'run is in use by process {holder.pid} on {re.escape(socket.gethostname())}, started 20.*--work-dir'
        with pytest.raises(ConfigError, match=message):
            plan(folder, work_dir='run', overwrite=True)
        assert (folder / 'run/epoch_1.pth.77.tmp').exists()
        holder.kill()
        holder.join()
        plan(folder, work_dir='run')
        assert names(folder / 'run') == []
    finally:
        holder.kill()
        os.kill(int((folder / 'worker').read_text()), 9)


def test_a_file_system_without_locks_is_said(folder, monkeypatch):
    """As some NFS servers answer; the files of others are left alone then."""

    def flock(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr('fcntl.flock', flock)
    (folder / 'run').mkdir()
    (folder / 'run/epoch_1.pth.77.tmp').write_bytes(b'half')
    note, = plan(folder, work_dir='run').notes
    assert 'run has no locks (No locks available), so another run' in note
    assert names(folder / 'run') == ['epoch_1.pth.77.tmp']


def test_a_launcher_that_starts_again(folder, monkeypatch):
    """torchrun --max-restarts and Slurm's requeue give the same words again; another launch is refused as ever."""
    monkeypatch.setenv('SLURM_JOB_ID', '17')
    begin(folder, work_dir='w', overwrite=True)
    run = plan(folder, work_dir='w')
    assert run.cfg.resume_from is None and not any('again' in note for note in run.notes)
    write(folder / 'w/epoch_2.pth', 2)
    with pytest.raises(ConfigError, match='epoch_2.pth'):
        plan(folder, work_dir='w')
    monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
    for how in ({}, dict(overwrite=True), dict(load_from='x.pth')):
        run = plan(folder, work_dir='w', **how)
        assert run.cfg.resume_from.endswith('epoch_2.pth') and 'started again' in ' '.join(run.notes)
        assert run.cfg.seed == 3 and not run._replaced
    for name, value in (('SLURM_JOB_ID', '18'), ('TORCHELASTIC_RUN_ID', 'x')):
        monkeypatch.setenv(name, value)
        monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '2')
        with pytest.raises(ConfigError, match='epoch_2.pth'):
            plan(folder, work_dir='w')
    # a run that began at a checkpoint elsewhere begins there again until it has one of its own
    write(folder / 'first/epoch_1.pth', 1)
    monkeypatch.delenv('SLURM_RESTART_COUNT')
    begin(folder, work_dir='second', resume_from='first/epoch_1.pth')
    monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
    for epoch, place in ((None, 'first/epoch_1.pth'), (3, 'second/epoch_3.pth')):
        if epoch:
            write(folder / place, epoch)
        run = plan(folder, work_dir='second', resume_from='first/epoch_1.pth')
        assert run.cfg.resume_from == str(folder / place)


def test_two_runs_of_one_name_with_one_out_dir(folder):
    """The second one would go on from the checkpoints of the first one, or write among them."""
    options = {'checkpoint_config.out_dir': str(folder / 'checkpoints')}
    begin(folder, options, work_dir='a/run')
    write(folder / 'checkpoints/run/epoch_2.pth', 2)
    for how in (dict(auto_resume=True), dict(overwrite=True), {}):
        with pytest.raises(
                ConfigError, match='checkpoints/run has the checkpoints of the run in .*a/run: give another'):
            plan(folder, options, work_dir='b/run', **how)
    assert plan(folder, options, work_dir='a/run', auto_resume=True).cfg.resume_from.endswith('epoch_2.pth')
    (folder / 'a').rename(folder / 'moved')  # as its work_dir may be, to another place
    assert plan(folder, options, work_dir='b/run', auto_resume=True).cfg.resume_from.endswith('epoch_2.pth')
