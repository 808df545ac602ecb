"""Every command of the documentation that small data serve is run as it stands there: make test-docs.

Each page has a folder of its own, in which its blocks are run one after another.
"""
import os
import shutil
import subprocess
import sys
import time

import doc_commands
import doc_pages
import pytest
import warm_python

ROOT = doc_pages.ROOT
BLOCKS = [block for block in doc_commands.blocks() if not block.reason]
TRAININGS = ('moco', 'NAME'), ('mae', 'mae'), ('classifier', 'classifier')


def run(script, folder, timeout=240):
    """Run a script of bash as a user does whose shell has the environment's programs."""
    env = dict(
        os.environ,
        PATH=f'{folder}/bin:{os.environ["PATH"]}',
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS='1',
        MMSSL_CATALOG='')
    done = subprocess.run(['bash', '-e', '-o', 'pipefail', '-c', script],
                          cwd=folder,
                          env=env,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL,
                          text=True,
                          timeout=timeout)
    return done.returncode, done.stdout


def photographs(folder):
    """24 photographs in two folders of classes: parts of the two that scikit-learn carries."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images
    rng = np.random.default_rng(0)
    for name, image in zip(('china', 'flower'), load_sample_images().images):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            top, left = rng.integers(0, 427 - 200), rng.integers(0, 640 - 240)
            Image.fromarray(image[top:top + 200, left:left + 240]).save(folder / name / f'{number:02}.jpg', quality=90)


@pytest.fixture(scope='session')
def server(tmp_path_factory):
    """Address of a Python that has done its imports."""
    path = tmp_path_factory.mktemp('warm') / 'python'
    process = subprocess.Popen([sys.executable, warm_python.__file__, str(path)],
                               cwd=path.parent,
                               env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'))
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.1)
    yield path
    process.kill()
    process.wait()


@pytest.fixture(scope='session')
def finished(server, tmp_path_factory):
    """A folder with photographs, the same as a small ImageNet, and a finished run of each small config."""
    folder = tmp_path_factory.mktemp('docs')
    for name in ('configs', 'tools', 'tests', 'docs'):
        (folder / name).symlink_to(ROOT / name)
    (folder / 'bin').mkdir()
    for name, words in (('python', ()), ('mmssl', ('-m', 'mmssl'))):
        program = folder / 'bin' / name
        program.write_text(warm_python.client_program(server, *words))
        program.chmod(0o755)
    activate = folder / '.venv' / 'bin' / 'activate'
    activate.parent.mkdir(parents=True)
    activate.write_text('')
    photographs(folder / 'photographs')
    for split in ('train', 'val'):
        shutil.copytree(folder / 'photographs', folder / 'data' / 'imagenet' / split)
        meta = folder / 'data' / 'imagenet' / 'meta' / f'{split}.txt'
        meta.parent.mkdir(exist_ok=True)
        files = sorted((folder / 'photographs').rglob('*.jpg'))
        meta.write_text(''.join(f'{f.parent.name}/{f.name} {int(f.parent.name == "flower")}\n' for f in files))
        shutil.copytree(folder / 'photographs', folder / 'data' / 'folder' / split)
    for config, name in TRAININGS:
        config = f'tests/test_docs/small/{config}.py'
        code, out = run(f'python tools/train.py {config} --work-dir work_dirs/{name} --seed 0', folder)
        assert code == 0, out
    return folder


@pytest.fixture(scope='session')
def folders(finished, tmp_path_factory):
    """A copy of that folder for each page."""
    copies = {}

    def folder_of(page):
        if page not in copies:
            copies[page] = tmp_path_factory.mktemp('page')
            shutil.copytree(finished, copies[page], symlinks=True, dirs_exist_ok=True)
        return copies[page]

    return folder_of


@pytest.mark.slow
@pytest.mark.parametrize('block', BLOCKS, ids=[f'{block.page}-{block.line}' for block in BLOCKS])
def test_block_runs(block, folders):
    folder = folders(block.page)
    # the examples of a page are trainings of CONFIG that know nothing of each other
    shutil.rmtree(folder / 'work_dirs' / 'moco', ignore_errors=True)
    script = doc_commands.script(block)
    code, out = run(script, folder)
    assert code == 0, f'{block.page}, line {block.line}: it ended with {code}\n{script}\n{out[-3000:]}'
