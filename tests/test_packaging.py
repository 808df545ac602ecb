"""Installing, importing, and what the start of a tool costs."""
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mmssl

ROOT = Path(__file__).resolve().parents[1]
TOOLS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'tools').rglob('*.py'))
FIT = {'torch': (2, 14, 1), 'torchvision': (0, 29, 1), 'mmcv': (1, 7, 2)}


def imported_by(*command):
    """Names of the modules that a Python command imports; they are counted instead of seconds, which depend."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-X', 'importtime', *command],
                          cwd=ROOT,
                          env=env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {line.rsplit('|', 1)[1].strip() for line in done.stderr.splitlines() if line.startswith('import time:')}


@pytest.mark.parametrize('change, words', [
    (dict(), None),
    (dict(torch=None), ['torch>=2.6 is not installed']),
    (dict(torch=(1, 13, 1)), ['torch 1.13.1 does not fit, torch>=2.6 does']),
    (dict(mmcv=None), ['mmcv>=1.7,<2 is not installed']),
    (dict(mmcv=(2, 1, 0)), ['mmcv 2.1.0 does not fit']),
    ({
        'mmcv': None,
        'mmcv-full': (1, 7, 2)
    }, None),
    ({
        'mmcv-full': (1, 7, 2)
    }, ['mmcv and mmcv-full are both installed', 'pip uninstall mmcv mmcv-full']),
    (dict(torch=None, torchvision=None,
          mmcv=(1, 6)), ['torch>=2.6 is not installed', 'torchvision>=0.21 is not installed', 'mmcv 1.6 does not fit']),
])
def test_one_message_names_all_that_does_not_fit(monkeypatch, change, words):
    """Pitfall: chains of exact-version asserts. Here a range, and one message with the command that mends it."""
    monkeypatch.setattr(mmssl, '_installed', {**FIT, **change}.get)
    if words is None:
        mmssl.check_stack()
        return
    with pytest.raises(ImportError) as error:
        mmssl.check_stack()
    for word in [
            *words, 'pip install "setuptools<80" wheel -r requirements/runtime.txt', '-r requirements/mminstall.txt'
    ]:
        assert word in str(error.value)


def test_installed_versions_are_read():
    assert mmssl._installed('no-such-distribution') is None
    assert mmssl._installed('pytest') >= (7, )


def test_import_is_cheap():
    imported = imported_by('-c', 'import mmssl')
    assert 'mmssl' in imported
    assert imported.isdisjoint({'torch', 'mmcv', 'numpy', 'cv2'})


@pytest.mark.parametrize('tool', TOOLS)
def test_help_is_cheap(tool):
    imported = imported_by(tool, '--help')
    assert imported.isdisjoint({'torch', 'mmcv', 'numpy', 'cv2', 'sklearn', 'matplotlib'})


@pytest.mark.long
def test_print_config_imports_little_more_than_torch():
    config = 'configs/selfsup/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py'
    imported = imported_by('tools/misc/print_config.py', config)
    assert 'mmcv' in imported
    assert imported.isdisjoint({'torchvision', 'sklearn', 'scipy', 'matplotlib', 'mmcls', 'mmssl.models'})


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """A copy of the source tree, to build in."""
    folder = tmp_path_factory.mktemp('clone') / 'mmssl'
    folder.mkdir()
    for name in ('mmssl', 'tools', 'configs', 'requirements'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    for name in ('setup.py', 'setup.cfg', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, folder / name)
    return folder


def pip(*args):
    """Run pip with nothing but what is installed here."""
    done = subprocess.run(
        [sys.executable, '-m', 'pip', *args, '--no-build-isolation', '--no-deps', '--no-index', '--quiet'],
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def files_under(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file() and '__pycache__' not in p.parts}


@pytest.mark.long
def test_wheel_holds_what_mim_looks_for(clone, tmp_path):
    pip('wheel', str(clone), '--wheel-dir', str(tmp_path))
    wheel, = tmp_path.glob('*.whl')
    assert wheel.name.startswith(f'mmssl-{mmssl.__version__}-')
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
        metadata = content.read(next(n for n in names if n.endswith('METADATA'))).decode()
    for part in ('tools', 'configs'):
        assert {f'mmssl/.mim/{part}/{name}' for name in files_under(clone / part)} <= names
    assert 'mmssl/.mim/model-index.yml' in names
    assert any(name.endswith('LICENSE') for name in names)
    assert 'mmssl/datasets/catalog.yml' in names
    assert {f'mmssl/{n}'
            for n in files_under(clone / 'mmssl') if n.endswith('.py') and not n.startswith('.mim')} <= names
    extras = re.findall(r'^Provides-Extra: (\w+)', metadata, re.M)
    assert sorted(extras) == ['all', 'data', 'mim', 'optional', 'tests']

    # installed: the command works from any folder and finds the configs that came along
    pip('install', str(wheel), '--target', str(tmp_path / 'site'))
    done = subprocess.run([str(tmp_path / 'site' / 'bin' / 'mmssl'), 'recipes', 'simsiam'],
                          cwd=tmp_path,
                          env=dict(os.environ, PYTHONPATH=str(tmp_path / 'site')),
                          capture_output=True,
                          text=True)
    assert 'simsiam_resnet50_8xb32-coslr-100e_in1k' in done.stdout, done.stderr


@pytest.mark.long
def test_editable_install_links_what_mim_looks_for(clone, tmp_path):
    pip('install', '--ignore-installed', '--use-pep517', '--prefix', str(tmp_path), '--editable', str(clone))
    mim = clone / 'mmssl' / '.mim'
    assert (mim / 'configs').is_symlink() and (mim / 'tools').is_symlink()
    assert (mim / 'model-index.yml').resolve() == clone / 'model-index.yml'
    assert (mim / 'tools' / 'misc' / 'print_config.py').is_file()


def test_docker_image_installs_from_what_it_copies(tmp_path):
    """No daemon and no registry are at hand, so the steps before `COPY . .` are looked at with the files they have."""
    lines = (ROOT / 'docker' / 'Dockerfile').read_text().replace('\\\n', ' ').splitlines()
    first = lines[:next(i for i, line in enumerate(lines) if line.startswith('RUN make install'))]
    copied = [line.split()[1:] for line in first if line.startswith('COPY ')]
    assert len(copied) == 3
    for *sources, target in copied:
        for source in sources:
            place = tmp_path / target / Path(source).name if target.endswith('/') else tmp_path / target
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    done = subprocess.run(['make', '-n', 'install', 'EXTRA=requirements/gpu.txt'],
                          cwd=tmp_path,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(
        r'-r (\S+)', done.stdout)) == {f'requirements/{name}.txt'
                                       for name in ('gpu', 'mminstall', 'runtime', 'tests')}
    done = subprocess.run([sys.executable, 'setup.py', '--name'], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == 'mmssl', done.stderr
