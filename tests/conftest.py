"""Fixtures that all tests share."""
import atexit
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from multiprocessing import connection
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a shell that started this in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
# what most tools import: done once, before their processes are forked
PRELOADED = [
    'pytest', 'matplotlib.pyplot', 'sklearn.svm', 'sklearn.linear_model', 'mmcls.models', 'mmssl.apis', 'mmssl.core',
    'mmssl.datasets', 'mmssl.evaluation', 'mmssl.models'
]


def pytest_addoption(parser):
    parser.addoption(
        '--device',
        choices=['cuda', 'fake', 'cpu'],
        help='of the tests in tests/gpu; fake and cpu try the tests themselves')


def pytest_collection_modifyitems(items):
    """Mark the tests that start processes as long ones; others that take seconds carry the mark themselves."""
    for item in items:
        if {'run_tool', 'forkserver', 'slurm'}.intersection(item.fixturenames):
            item.add_marker('long')


@pytest.fixture(autouse=True)
def _one_thread_and_fixed_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def forkserver():
    """The multiprocessing context whose processes are copies of one that has done the heavy imports already."""
    context = torch.multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOADED)
    return context


def _use_default_start_method():
    """Let a process start its own ones as a user's does, and not by the fork server that has started itself."""
    torch.multiprocessing.set_start_method(None, force=True)


def _finish(processes, timeout):
    """Wait until all have ended; after one that failed the others have 10 s. Returns whether the time was too short."""
    end = time.monotonic() + timeout
    running, in_time = list(processes), True
    while running and in_time:
        in_time = bool(connection.wait([p.sentinel for p in running], max(0, end - time.monotonic())))
        running = [p for p in running if p.exitcode is None]
        if any(p.exitcode for p in processes):
            end = min(end, time.monotonic() + 10)
    for process in running:
        process.kill()
        process.join()
    return bool(running) and not any(p.exitcode > 0 for p in processes)


def _run_rank(rank, world_size, folder, backend, func, args):
    import torch.distributed as dist
    _use_default_start_method()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if backend == 'nccl':
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=f'file://{folder}/rendezvous', rank=rank, world_size=world_size)
    try:
        result = func(rank, world_size, *args)
        torch.save(result, f'{folder}/{rank}.pt')
    except BaseException:
        Path(f'{folder}/{rank}.err').write_text(traceback.format_exc())
        raise
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope='session')
def run_distributed(forkserver):
    """Call `func(rank, world_size, *args)` in several processes and return what each returned.

    `func` stands at module level, so that it can be pickled.
    """

    def run(func, *args, world_size=2, backend='gloo'):
        with tempfile.TemporaryDirectory() as folder:
            workers = [
                forkserver.Process(target=_run_rank, args=(rank, world_size, folder, backend, func, args))
                for rank in range(world_size)
            ]
            for w in workers:
                w.start()
            hung = _finish(workers, 300)  # a busy machine takes minutes for all algorithms
            errors = '\n'.join(p.read_text() for p in sorted(Path(folder).glob('*.err')))
            assert not errors and not hung, errors or 'a process hung'
            return [torch.load(f'{folder}/{rank}.pt', weights_only=False) for rank in range(world_size)]

    return run


@pytest.fixture(scope='session')
def free_port():
    """A function that gives a port on which nobody listens."""
    import socket

    def find():
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            return s.getsockname()[1]

    return find


@pytest.fixture(scope='session')
def photographs():
    """The two photographs that scikit-learn carries, as uint8 RGB arrays of 427 x 640 pixels."""
    from sklearn.datasets import load_sample_images
    return load_sample_images().images


@pytest.fixture(scope='session')
def photo_folder(photographs, tmp_path_factory):
    """A folder with 24 JPEG crops of real photographs in two class folders, `china` and `flower`."""
    from PIL import Image
    root = tmp_path_factory.mktemp('photos')
    for name, photo in zip(('china', 'flower'), photographs):
        (root / name).mkdir()
        for i in range(12):
            top, left = 15 * i, 22 * i
            Image.fromarray(photo[top:top + 200, left:left + 260]).save(root / name / f'{i:02d}.jpg', quality=92)
    return root


@pytest.fixture(scope='session')
def finished_run(tmp_path_factory, photo_folder):
    """Folder of a run of two epochs on `photo_folder`, as a training leaves it: a SimCLR of views of 32 pixels.

    A test that changes it does so with a copy.
    """
    import json

    from mmssl.models import build_algorithm
    from mmssl.utils.checkpoint import save_checkpoint
    from mmssl.utils.config import load_config
    from mmssl.utils.config_text import config_text
    crop = dict(type='RandomResizedCrop', size=32)
    source = dict(type='Folder', data_prefix=str(photo_folder))
    text = config_text(
        dict(
            model=dict(
                type='SimCLR',
                backbone=dict(type='ResNet_CIFAR', depth=10, stem_channels=8, base_channels=8, out_indices=[4]),
                neck=dict(type='NonLinearNeck', in_channels=64, hid_channels=16, out_channels=8, num_layers=2),
                head=dict(type='ContrastiveHead', temperature=0.2)),
            data=dict(
                samples_per_gpu=8,
                train=dict(type='MultiViewDataset', data_source=source, num_views=[2], pipelines=[[crop]])),
            optimizer=dict(type='SGD', lr=0.1),
            runner=dict(type='EpochBasedRunner', max_epochs=2),
            img_norm_cfg=dict(mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])))
    out = tmp_path_factory.mktemp('runs') / 'photos'
    out.mkdir()
    (out / '20260101_000000_small.py').write_text(text)
    (out / 'small.py').write_text(text)
    for epoch in (1, 2):
        torch.manual_seed(epoch)
        model = build_algorithm(load_config(out / 'small.py').model)
        model.init_weights()
        meta = dict(iter=3 * epoch, epoch=epoch, config=text)
        save_checkpoint(dict(state_dict=model.state_dict(), meta=meta, optimizer={}), out / f'epoch_{epoch}.pth')
    rows = [dict(mode='train', epoch=e, iter=3, lr=0.1 / e, loss=4. - e) for e in (1, 2)]
    rows += [dict(mode='val', epoch=e, iter=3, lr=0.1 / e, knn_top1=0.5 + e / 10) for e in (1, 2)]
    (out / '20260101_000000.log.json').write_text(''.join(json.dumps(row) + '\n' for row in [{}, *rows]))
    return out


@pytest.fixture
def warnings_of_data():
    """What is logged, as a list of messages."""
    import logging

    from mmssl.utils.logger import get_root_logger
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    get_root_logger().addHandler(handler)
    yield records
    logging.getLogger('mmssl').removeHandler(handler)


def _completed(script, args, returncode, out, err, check):
    if check and returncode:
        raise AssertionError(f'{script} ended with {returncode}\n{out[-4000:]}\n{err[-4000:]}')
    return subprocess.CompletedProcess([script, *args], returncode, out, err)


@pytest.fixture(scope='session')
def run_tool(free_port):
    """Run a script of tools/ as a user does, in a new interpreter.

    For the one test of each tool that needs this, for shell scripts and for launchers; all others use `call_tool`.
    """

    def run(script, *args, check=True, env=None, cwd=ROOT, timeout=600):
        args = [str(a) for a in args]
        command = [sys.executable if str(script).endswith('.py') else 'bash', str(ROOT / script)]
        env = {**os.environ, 'PORT': str(free_port()), **(env or {})}
        done = subprocess.run([*command, *args], cwd=cwd, capture_output=True, text=True, env=env, timeout=timeout)
        return _completed(script, args, done.returncode, done.stdout, done.stderr, check)

    return run


def _run_script(script, args, cwd, env, output):
    import numpy as np
    _use_default_start_method()
    for number, stream in ((1, 'out'), (2, 'err')):
        os.dup2(os.open(f'{output}.{stream}', os.O_WRONLY | os.O_CREAT), number)
    np.random.seed()  # the others are drawn anew at a fork
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [script, *args]
    sys.path[0] = str(Path(script).parent)
    try:
        runpy.run_path(script, run_name='__main__')
    finally:  # the end of an interpreter, of which multiprocessing leaves out these steps
        threading._shutdown()
        atexit._run_exitfuncs()


@pytest.fixture(scope='session')
def call_tool(forkserver, free_port, tmp_path_factory):
    """Run a Python script of tools/ in a process that has torch and mmssl imported already: seconds faster.

    `call_tool(script, *args, check=True, env=None, cwd=ROOT, timeout=600, processes=1)` returns a
    subprocess.CompletedProcess as `run_tool` does. With `processes` above 1 each gets `--launcher pytorch` and
    the environment that torchrun would give, and the output of rank 0 comes first.
    """
    folder = tmp_path_factory.mktemp('call_tool')

    def call(script, *args, check=True, env=None, cwd=ROOT, timeout=600, processes=1):
        args = [str(a) for a in args]
        env = {**os.environ, **(env or {})}
        if processes > 1:
            args += ['--launcher', 'pytorch']
            env.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()), WORLD_SIZE=str(processes))
        ranks = []
        for rank in range(processes):
            own = dict(env, RANK=str(rank), LOCAL_RANK=str(rank)) if processes > 1 else env
            output = str(folder / f'rank{rank}')
            for stream in ('out', 'err'):
                Path(f'{output}.{stream}').unlink(missing_ok=True)
            ranks.append(forkserver.Process(target=_run_script, args=(str(ROOT / script), args, str(cwd), own, output)))
            ranks[-1].start()
        if _finish(ranks, timeout):
            raise subprocess.TimeoutExpired([script, *args], timeout)
        out, err = (''.join((folder / f'rank{rank}.{stream}').read_text() for rank in range(processes))
                    for stream in ('out', 'err'))
        return _completed(script, args, next((r.exitcode for r in ranks if r.exitcode), 0), out, err, check)

    return call


@pytest.fixture(scope='session')
def slurm(tmp_path_factory, free_port):
    """Environment of a real Slurm of this machine alone; every file of it lies in a temporary folder."""
    import shutil
    import socket
    path = os.environ['PATH'] + ':/usr/sbin:/sbin'
    missing = [name for name in ('munged', 'slurmctld', 'slurmd', 'srun') if not shutil.which(name, path=path)]
    if missing:
        pytest.skip(f'Slurm is not installed: no {", ".join(missing)} (packages slurm-wlm, munge)')
    if os.geteuid():
        pytest.skip('the daemons of Slurm need root')
    folder = tmp_path_factory.mktemp('slurm')
    for name in ('state', 'spool'):
        (folder / name).mkdir()
    host = socket.gethostname().split('.')[0]
    (folder / 'slurm.conf').write_text(f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
ReturnToService=2
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=debug Nodes={host} Default=YES MaxTime=30 State=UP
""")
    env = {**os.environ, 'PATH': path, 'SLURM_CONF': str(folder / 'slurm.conf')}
    key = folder / 'munge.key'
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    commands = [
        [
            'munged', '--foreground', '--force', f'--key-file={key}', f'--socket={folder}/munge.socket',
            f'--pid-file={folder}/munged.pid', f'--log-file={folder}/munged.log', f'--seed-file={folder}/munged.seed'
        ],
        ['slurmctld', '-D'],
        ['slurmd', '-D'],
    ]
    started = []
    try:
        for command in commands:
            with open(folder / f'{command[0]}.out', 'w') as out:
                started.append(subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT))
            time.sleep(0.5)
        for _ in range(60):
            shown = subprocess.run(['sinfo', '-h', '-o', '%T'], env=env, capture_output=True, text=True)
            if shown.stdout.strip() == 'idle':
                break
            time.sleep(0.5)
        else:
            told = '\n'.join(f'{path.name}: {path.read_text()[-1500:]}' for path in folder.glob('*.out'))
            pytest.fail(f'Slurm did not become idle: {shown.stdout} {shown.stderr}\n{told}')
        yield env
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(20)


@pytest.fixture(scope='module')
def tiny_files(tmp_path_factory):
    """A folder with a small network of grey images, tiny.py, and its checkpoint tiny.pth; and the network."""
    from mmssl.models import build_algorithm
    from mmssl.utils.checkpoint import save_checkpoint
    from mmssl.utils.config import load_config
    folder = tmp_path_factory.mktemp('tiny')
    (folder / 'tiny.py').write_text("""
model = dict(
    type='Classification',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4))
""")
    torch.manual_seed(1)
    model = build_algorithm(load_config(folder / 'tiny.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'tiny.pth')
    return folder, model
