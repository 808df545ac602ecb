"""Fixtures that all tests share."""
import os
import sys
import tempfile
import traceback
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _one_thread_and_fixed_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def _run_rank(rank, world_size, folder, func, args):
    import torch.distributed as dist
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=world_size)
    try:
        result = func(rank, world_size, *args)
        torch.save(result, f'{folder}/{rank}.pt')
    except BaseException:
        Path(f'{folder}/{rank}.err').write_text(traceback.format_exc())
        raise
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope='session')
def run_distributed():
    """Call `func(rank, world_size, *args)` in several gloo processes and return what each returned.

    `func` stands at module level, so that it can be pickled.
    """

    def run(func, *args, world_size=2):
        with tempfile.TemporaryDirectory() as folder:
            context = torch.multiprocessing.get_context('spawn')
            workers = [
                context.Process(target=_run_rank, args=(rank, world_size, folder, func, args))
                for rank in range(world_size)
            ]
            for w in workers:
                w.start()
            for w in workers:
                w.join(120)
            hung = [w.kill() for w in workers if w.is_alive()]
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
def run_tool(free_port):
    """Run a script of tools/ as a user does; returns the completed process, its output as text."""
    import subprocess

    def run(script, *args, check=True, env=None, timeout=600):
        command = [sys.executable, str(ROOT / script)] if str(script).endswith('.py') else ['bash', str(ROOT / script)]
        done = subprocess.run([*command, *map(str, args)],
                              cwd=ROOT,
                              capture_output=True,
                              text=True,
                              env={
                                  **os.environ, 'PORT': str(free_port()),
                                  **(env or {})
                              },
                              timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f'{script} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}')
        return done

    return run


@pytest.fixture(scope='session')
def slurm(tmp_path_factory, free_port):
    """Environment of a real Slurm of this machine alone; every file of it lies in a temporary folder."""
    import shutil
    import socket
    import subprocess
    import time
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
