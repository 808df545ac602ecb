"""The notebooks, and the examples of the page on Python, on small data: every cell runs as it is printed."""
import ast
import inspect
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmssl
from mmssl.apis.pretrain import train

DOCS = Path(__file__).resolve().parents[1] / 'docs'
# what takes long -> what stands for it here
SMALLER = {
    "time='10m'": "epochs=1, model='resnet10-narrow', settings={'data.workers_per_gpu': 0}",
    "DATA = 'digits'": "DATA = dict(type='Digits', num_images=160)",
    'EPOCHS = 10': 'EPOCHS = 1',
}


@pytest.fixture
def photos(photographs, tmp_path, monkeypatch):
    """The folder `photos` in the current one: 24 small images in two folders."""
    for name, photo in zip(('china', 'flower'), photographs):
        (tmp_path / 'photos' / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(photo[10 * i:10 * i + 64, 20 * i:20 * i + 64]).save(tmp_path / f'photos/{name}/{i:02d}.jpg')
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'photos'


def run_cells(cells, scope):
    """Run cells one after another in one scope; the value of a last line is shown, as a notebook does."""
    for number, source in enumerate(cells):
        for long, short in SMALLER.items():
            source = source.replace(long, short)
        try:
            tree = ast.parse(source)
            value = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, f'cell {number}', 'exec'), scope)
            if value is not None:
                value = eval(compile(ast.Expression(value.value), f'cell {number}', 'eval'), scope)
                scope['shown'].append(getattr(value, '_repr_html_', value.__repr__)())
        except Exception as error:
            raise AssertionError(f'cell {number} fails: {type(error).__name__}: {error}\n{source}') from error


def cells_of(name):
    notebook = json.loads((DOCS / 'notebooks' / name).read_text(encoding='utf-8'))
    assert notebook['nbformat'] == 4 and len({cell['id'] for cell in notebook['cells']}) == len(notebook['cells'])
    code = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    assert not any(cell['outputs'] for cell in code), 'outputs of a notebook are left out'
    return [''.join(cell['source']) for cell in code]


@pytest.mark.long
@pytest.mark.parametrize('name', ['folder_to_report.ipynb', 'own_method.ipynb'])
def test_notebook(photos, name):
    scope = dict(shown=[])
    run_cells(cells_of(name), scope)
    if name == 'folder_to_report.ipynb':
        assert Path('work_dirs/photos/report.html').is_file() and Path('work_dirs/photos/photos.ts').is_file()
        assert any('accuracy of 20 nearest neighbours' in text for text in scope['shown'])
    else:
        lines = next(cell for cell in cells_of(name) if 'class AlignUniform' in cell).splitlines()
        assert len(lines) <= 40, 'the page says that it is a method in 40 lines'
        logged = scope['run'].curves()
        total = logged['align_loss'][1] + logged['uniform_loss'][1]
        np.testing.assert_allclose(total, logged['loss'][1], rtol=1e-3)
        assert type(scope['run'].model()).__name__ == 'AlignUniform'


def test_page_on_python(photos, finished_run, monkeypatch):
    """The examples of docs/en/python.md in one scope; a finished run stands for the training."""
    shutil.copytree(finished_run, 'work_dirs/photos')

    def trained(*args, **kwargs):
        inspect.signature(train).bind(*args, **kwargs)
        return mmssl.load('work_dirs/photos')

    monkeypatch.setattr(mmssl, 'train', trained, raising=False)
    text = (DOCS / 'en/python.md').read_text(encoding='utf-8')
    examples = re.findall(r'^```python\n(.*?)^```', text, re.M | re.S)
    assert len(examples) >= 8
    run_cells(examples, dict(shown=[]))
    if (DOCS / 'zh_cn/python.md').is_file():
        chinese = (DOCS / 'zh_cn/python.md').read_text(encoding='utf-8')
        assert re.findall(r'^```python\n(.*?)^```', chinese, re.M | re.S) == examples
