"""The command `mmssl`, as a user types it: what it prints, what comes of it, and how it refuses."""
import json
import logging
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl.apis import doctor
from mmssl.apis.run import Run
from mmssl.cli import COMMANDS, main, parser_of
from mmssl.cli.completion import complete
from mmssl.cli.methods import methods
from mmssl.models import algorithms
from mmssl.recipes import fitting
from mmssl.utils import machine
from mmssl.utils.checkpoint import read_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.training_log import TrainingLog

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    '--method', 'simclr', '--model', 'resnet10-narrow', '--set', 'data.samples_per_gpu=16', 'data.workers_per_gpu=0',
    'amp=None'
]


@pytest.fixture(scope='module')
def mmssl():
    """Call the command in this process, and put back what it changes of it: `mmssl(*words)`."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals() if number not in (9, 19)}
    level = logging.getLogger('mmcv').level

    def call(*words):
        main([str(word) for word in words])

    yield call
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
    logging.getLogger('mmcv').setLevel(level)


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """A folder with 80 scanned digits in ten class folders."""
    from PIL import Image
    from sklearn.datasets import load_digits
    found, root = load_digits(), tmp_path_factory.mktemp('data') / 'some digits'
    for i in range(80):
        folder = root / str(found.target[i])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((found.images[i] * 15.9).astype(np.uint8)).save(folder / f'{i}.png')
    return root


@pytest.fixture(scope='module')
def trained(mmssl, digits, tmp_path_factory):
    """The folder of a run of two epochs, and what was printed."""
    import contextlib
    import io
    out, printed = tmp_path_factory.mktemp('runs') / 'first', io.StringIO()
    with contextlib.redirect_stdout(printed):
        mmssl('train', digits, '--out', out, '--epochs', 2, *SMALL)
    return out, printed.getvalue()


def weights(out):
    return read_checkpoint(out / 'latest.pth')['state_dict']


@pytest.mark.long
def test_train_tells_choices_progress_and_what_came_of_it(trained):
    out, text = trained
    assert re.search(r'^batch size +16 +given$', text, re.M) and re.search(r'^method +simclr +\w', text, re.M)
    assert re.search(r'100%  iteration \d+/\d+  epoch 2/2  loss [\d.]+  \d+ img/s  data wait \d+%  kNN ', text)
    values = TrainingLog(out).curve('knn_top1')
    assert values[0] == [0, 1, 2]
    assert f'{values[1][0]:.1%} with random weights, {values[1][-1]:.1%} at the end' in text
    # each of the commands that come next can be called
    steps = re.findall(r'^  mmssl (.*?) +#', text, re.M)
    assert len(steps) == 5
    for command, *words in map(shlex.split, steps):
        parser_of(command).parse_args([word.replace('N', '3') if word == 'N' else word for word in words])
    # the log has all, without control characters
    log = next(out.glob('*.log')).read_text()
    assert 'Environment:' in log and all(line.replace('\t', '').isprintable() for line in log.splitlines())


@pytest.mark.long
def test_the_saved_config_trains_to_the_same_weights_and_says_why(mmssl, trained, digits, tmp_path, capsys):
    """By --from in a folder of its own; and resumed from the first epoch, whose comments the new config keeps."""
    out, _ = trained
    saved = out / 'first.py'
    assert re.search(r'^# batch size +16 +given$', saved.read_text(), re.M)
    mmssl('train', '--from', saved, '--out', tmp_path / 'again')
    expected = weights(out)
    found = weights(tmp_path / 'again')
    assert expected.keys() == found.keys() and all(torch.equal(expected[key], found[key]) for key in expected)

    shutil.copytree(out, tmp_path / 'stopped', symlinks=True)
    for path in tmp_path.glob('stopped/*_2.pth'):
        path.unlink()
    capsys.readouterr()
    mmssl('resume', tmp_path / 'stopped')
    assert f'going on from {tmp_path}/stopped/epoch_1.pth' in capsys.readouterr().out.splitlines()
    found = weights(tmp_path / 'stopped')
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert 'epoch_1.pth at epoch 2, batch 0, iteration 4' in max((tmp_path / 'stopped').glob('*.log')).read_text()
    capsys.readouterr()
    mmssl('resume', tmp_path / 'stopped')
    assert f'the run in {tmp_path}/stopped is finished: epoch_2.pth' in (text := capsys.readouterr().out)
    assert '--epochs N trains on, another --out begins a new run' in text
    mmssl('resume', tmp_path / 'stopped', '--epochs', 3)
    assert read_checkpoint(tmp_path / 'stopped/latest.pth')['meta']['epoch'] == 3
    assert re.search(r'^# batch size +16 +given$', (tmp_path / 'stopped/first.py').read_text(), re.M)

    mmssl('compare', out, tmp_path / 'stopped', '--out', tmp_path / 'curves.png')
    text = capsys.readouterr().out
    assert f"mmssl search '{digits}' IMAGE --run" in text  # after the resumed training, whose config names the images
    assert re.search(r'^runner\.max_epochs +2 +3 *$', text, re.M) and 'choices' not in text
    loss = [TrainingLog(folder).curve('loss')[1][-1] for folder in (out, tmp_path / 'stopped')]
    assert re.search(rf'^loss, last +{loss[0]:.4f} +{loss[1]:.4f}$', text, re.M)
    assert (tmp_path / 'curves.png').stat().st_size > 5000

    mmssl('export', out, 'backbone', '--out', tmp_path / 'backbone.pth')
    found = read_checkpoint(tmp_path / 'backbone.pth')['state_dict']
    assert found and all(torch.equal(value, expected[f'backbone.{key}']) for key, value in found.items())
    mmssl('export', out, 'torchscript', '--out', tmp_path / 'a.ts')
    images = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(
            torch.jit.load(tmp_path / 'a.ts')(images), Run(out).backbone().eval()(images), rtol=1e-4, atol=1e-4)


def _train_on(rank, port, data, folder):
    import contextlib
    import functools
    import os

    from mmssl.recipes import fitting
    from mmssl.utils import dist
    fitting.measure = functools.partial(fitting.measure, seconds=0, least=1)  # a user's takes three seconds
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2', RANK=str(rank), LOCAL_RANK='0')
    torch.multiprocessing.set_start_method(None, force=True)
    torch.set_num_threads(1)
    with open(folder / f'{rank}.txt', 'w') as file, contextlib.redirect_stdout(file):
        main(['train', str(data), '--out', str(folder / 'run'), '--time', '1s', *SMALL, 'dist_params.timeout=321'])
    (folder / f'patience {rank}').write_text(str(dist._patience))


@pytest.mark.long
def test_of_two_processes_one_chooses_and_tells(digits, forkserver, free_port, tmp_path):
    """Iterations are measured before the processes depend on each other; the batch is that of both."""
    port = free_port()
    processes = [forkserver.Process(target=_train_on, args=(rank, port, digits, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    text = (tmp_path / '0.txt').read_text()
    assert re.search(r'^epochs +\d+ .*measured', text, re.M) and 'The training is done' in text
    assert (tmp_path / '1.txt').read_text() == ''
    assert [(tmp_path / f'patience {rank}').read_text() for rank in range(2)] == ['321.0'] * 2
    checkpoint = read_checkpoint(tmp_path / 'run/latest.pth')
    assert len(checkpoint['rng_states']) == 2
    assert load_config(max((tmp_path / 'run').glob('2*.py'))).auto_scale_lr.base_batch_size == 32


def test_every_refusal_is_one_sentence(mmssl, trained, digits, tmp_path, monkeypatch, capsys):
    out, _ = trained
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path)
    Path('-photos').mkdir()
    for words, status, message in (
        (['trane'], 2, "there is no command 'trane'; did you mean 'train'?"),
        (['train', digits, '--modle', 'x'], 2, "there is no option --modle; did you mean '--model'?"),
        (['train', digits, 'more'], 2, "'more' is one word too many"),
        (['train', digits, '--set', 'lr'], 2, "--set takes KEY=VALUE, got 'lr'"),
        (['train', digits, '--time', '1m', '--epochs', '2'], 2, '--epochs: not allowed with argument --time'),
        (['export', out, 'onx'], 2, "invalid choice: 'onx'"),
        (['train'], 1, 'give DATA, such as `mmssl train FOLDER`, or --from RECIPE.py'),
        (['train', digits, '--from', 'a.py'], 1, 'give DATA or --from, not both'),
        (['train', '--from', 'a.py', '--method', 'byol'], 1, '--method chooses, and --from a.py has chosen already'),
        (['train', '--from', 'nowhere.py'], 1, 'config file nowhere.py does not exist'),
        (['train', digits, '--out', out, '--epochs', '2', *SMALL], 1,
         f'{out} holds a run up to epoch_2.pth: go on with it by `mmssl resume {out}`, put its files away by '
         '--overwrite (overwrite=True), or give another --out'),
        (['resume', 'nowhere'], 1, 'no such run: '),
        (['resume', tmp_path / 'empty'], 1, 'holds no run that could go on'),
        (['compare', out], 1, 'a comparison takes two runs or more, got 1'),
        (['compare', out, out, '--keys', 'loss'], 1, '--keys loss are of the picture'),
        (['compare', out, out, '--out', 'a.jpg'], 1, '--out must end with .png, .pdf or .svg, got a.jpg'),
        (['methods', 'simklr'], 1, "did you mean 'simclr'?"),
        (['demo', '--set', 'nonsense=3'], 1, "--set has the unknown key 'nonsense'"),
        (['models', 'resnet19'], 1, "no network has 'resnet19' in its name; did you mean 'resnet1"),
        (['export', out, 'backbone', '--maps'], 1, '--maps is for programs'),
        (['train', '-photos'], 2, '-photos begins with a dash, as options do: write ./-photos'),
        (['train', digits, '--out', 'runs/new', '--epochs', '1', *SMALL, 'optimizer.lrr=1'], 1,
         "AdamW takes no argument 'lrr' (given 1); did you mean 'lr'?"),
        (['train', digits, '--out', 'runs/new', '--epochs', '1', *SMALL, 'load_from=no.pth'], 1,
         'checkpoint no.pth does not exist'),
        (['train', digits, '--out', 'empty', '--epochs', '1', *SMALL, 'resume_from=no.pth'], 1,
         'checkpoint no.pth does not exist'),
        (['train', digits, '--out', '', '--epochs', '1'], 1, '--out is empty'),
        (['resume', out, '--epochs', '0'], 1, 'epochs is an integer of at least 1, got 0'),
        (['compare', out, out / 'epoch_2.pth'], 1, 'epoch_2.pth is neither the folder of a run nor a log'),
        (['search', digits, digits, '--run', out], 1, 'is a folder: a query is an image file'),
        (['search', digits, 'no.png', '--run', out], 1, 'no.png is no image file that is there'),
        (['features', out, digits, '/dev/null/f.npy'], 1, 'nothing can be written into /dev/null'),
        (['convert', next(digits.glob('*/*.png')), 'a.pth', '--to', 'timm'], 1, 'its bytes are no weights of torch'),
        (['completion'], 1, 'say for which shell: mmssl completion bash or zsh or fish'),
    ):  # yapf: disable
        with pytest.raises(SystemExit) as end:
            mmssl(*words)
        lines = capsys.readouterr().err.splitlines()
        told = [line for line in lines if line.startswith('error: ')]
        assert end.value.code == status and len(told) == 1 and message in told[0], (words, lines)
        assert 'Traceback' not in ''.join(lines) and '--work-dir' not in told[0]
    # a training that does not begin leaves nothing, and the next start takes its place
    assert not Path('runs').exists() and list(Path('empty').iterdir()) == []


def test_a_run_in_the_default_folder_is_refused_before_anything_is_measured(mmssl, trained, digits, tmp_path,
                                                                            monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fitting, 'measure', lambda *args, **kwargs: pytest.fail('measured'))
    shutil.copytree(trained[0], 'work_dirs/simclr_resnet10-narrow_some-digits', symlinks=True)
    shutil.copytree(trained[0], 'other', symlinks=True)
    for more, name in (([], 'work_dirs/simclr_resnet10-narrow_some-digits'), (['work_dir=other'], 'other')):
        with pytest.raises(SystemExit):
            mmssl('train', digits, '--time', '1m', *SMALL, *more)
        assert f'{name} holds a run up to epoch_2.pth' in capsys.readouterr().err


def test_a_shell_may_close_the_output(mmssl, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', None)
    mmssl('completion', 'bash')


def test_help_mistakes_and_completion_need_no_torch():
    """In a new interpreter, as a shell calls it at each press of the tab key."""
    program = """
import contextlib, io, sys
from mmssl.cli import COMMANDS, main, parser_of
heavy = ('torch', 'mmcv', 'numpy', 'cv2')
def call(*words):
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        main(words)
    assert not [name for name in heavy if name in sys.modules], words
for name in COMMANDS:
    call(name, '--help')
    call('completion', '--complete', name, '--')
    call('completion', '--complete', name, '')
call('--help'), call('--version'), call('trane'), call('train', '--modle'), call('methods'), call('completion', 'bash')
call('completion', '--complete', 'train', 'x', '--model', 'vit_s')
"""
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith('usage: mmssl train') and done.stdout.endswith('vit_small\n')
    for name in COMMANDS:
        assert f'usage: mmssl {name} ' in done.stdout, name
    _, _, overview = done.stdout.partition('usage: mmssl COMMAND')
    assert all(f'\n  {name} ' in overview for name in COMMANDS)


def test_completion_knows_places_and_options():
    assert complete(['tr']) == ['train'] and set(complete([''])) == set(COMMANDS)
    assert complete(['train', 'x', '--method', 'sims']) == ['simsiam']
    assert complete(['train', '--seed', '3', '--over']) == ['--overwrite']
    assert complete(['export', 'run', 't']) == ['torchscript', 'torch.export']
    assert complete(['export', '--out', 'file', '']) == complete(['train', '']) == []  # names of files
    assert 'configs/demo/simclr_digits.py' in complete(['demo', 'configs/demo/'])
    for shell, word in (('bash', 'complete -o default'), ('zsh', 'compdef'), ('fish', 'complete -c mmssl')):
        from mmssl.cli.completion import SCRIPTS
        assert word in SCRIPTS[shell]
    script = 'mmssl() { echo "$@"; }; ' + SCRIPTS['bash'] + '; COMP_WORDS=(mmssl train --me); COMP_CWORD=2; _mmssl; ' \
        'echo "${COMPREPLY[@]}"'
    assert subprocess.run(['bash', '-c', script], capture_output=True, text=True).stdout == \
        'completion --complete train --me\n'


def test_every_algorithm_is_among_the_methods():
    """By the configs that the methods begin with; what is no pre-training of its own is named here."""
    from mmssl.recipes.methods import METHODS
    others = {'BaseModel', 'BackboneNeckHead', 'Classification', 'Distillation', 'MMClsImageClassifierWrapper',
              'MultiTask', 'SwAVMomentum'}  # yapf: disable
    used = {load_config(ROOT / method.recipe_config).model.type for method in METHODS.values()}
    assert set(algorithms.__all__) - used == others
    facts = methods()
    assert list(facts) == list(METHODS)
    assert all(f['title'] and f['learns from'] and len(f['learns from']) < 80 and f['recipes'] for f in facts.values())
    assert facts['supcon']['needs'] == 'labels' and facts['mae']['network'] == 'a ViT'


def test_a_config_keeps_its_seed(monkeypatch, mmssl):
    from mmssl.apis import pretrain
    seeds = []

    def train_by(recipe, out, seed, **how):
        seeds.append(seed)
        raise ConfigError('enough')

    monkeypatch.setattr(pretrain, 'train_by', train_by)
    for words in ([], ['--seed', 3]):
        with pytest.raises(SystemExit):
            mmssl('train', '--from', 'mine.py', *words)
    assert seeds == [None, 3]


def test_resume_says_what_takes_all_gpus(monkeypatch, capsys, mmssl, tmp_path):
    from mmssl.apis import pretrain
    monkeypatch.setattr(pretrain.torch.cuda, 'device_count', lambda: 4)
    (tmp_path / 'my run').mkdir()
    (tmp_path / 'my run/20260101_000000_a.py').write_text('runner = dict(max_iters=5)')
    with pytest.raises(SystemExit):
        mmssl('resume', tmp_path / 'my run', '--epochs', 3)
    found = capsys.readouterr()
    assert f"torchrun --nproc_per_node 4 -m mmssl resume '{tmp_path}/my run' uses all" in found.out
    assert '--epochs 3: this run counts iterations; --set runner.max_iters=N changes them' in found.err


def test_doctor_advises(monkeypatch, capsys, mmssl):
    disk = namedtuple('disk', 'total used free')
    monkeypatch.setattr(doctor, 'usable_cores', lambda: 6)
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda path: disk(10**8, 4 * 10**7, 6 * 10**7))
    monkeypatch.setattr(doctor.torch, 'get_num_threads', lambda: 8)
    mmssl('doctor', '--json')
    found = {f['name']: f for f in json.loads(capsys.readouterr().out)}
    assert found['threads of torch']['advice'].endswith('export OMP_NUM_THREADS=6')
    assert '--shm-size' in found['/dev/shm']['advice'] and 'checkpoints' in found['disk here']['advice']
    assert found['torch']['value'] == torch.__version__.partition('+')[0] and found['torch']['advice'] == ''
    monkeypatch.setattr(doctor, '_version', lambda package: None if package == 'timm' else '1.0')
    mmssl('doctor')
    text = capsys.readouterr().out
    assert re.search(r'timm +absent\n +-> for networks of timm: --model timm:NAME: pip install timm', text)
    named = {
        line.strip()
        for file in ('optional', 'data')
        for line in (ROOT / f'requirements/{file}.txt').read_text().splitlines() if line and not line.startswith('#')
    }
    assert named - {'faiss-cpu', 'aiohttp'} <= set(doctor.OPTIONAL)  # aiohttp is what fsspec reads http by


def test_memory_within_a_container(monkeypatch):
    files = {
        '/proc/meminfo': 'MemTotal: 1000 kB\nMemAvailable: 600 kB\n',
        '/sys/fs/cgroup/memory.max': '512000\n',
        '/sys/fs/cgroup/memory.current': '500000\n',
        '/sys/fs/cgroup/cpu.max': '150000 100000\n',
    }
    monkeypatch.setattr(machine, 'read_text', lambda path: files.get(path, ''))
    monkeypatch.setattr(machine.os, 'sched_getaffinity', lambda pid: set(range(16)), raising=False)
    assert machine.memory() == (512000, 12000) and machine.usable_cores() == 2
    files['/sys/fs/cgroup/memory.max'] = 'max\n'
    files['/sys/fs/cgroup/cpu.max'] = 'max 100000\n'
    assert machine.memory() == (1024000, 614400) and machine.usable_cores() == 16
