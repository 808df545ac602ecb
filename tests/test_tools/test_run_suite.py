"""The suite of protocols and its report, as a user calls and reads it."""
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl.apis.suite import Context, chosen_protocols, run_protocols
from mmssl.datasets import build_dataset
from mmssl.evaluation import Features, extract_features, knn, linear
from mmssl.evaluation.report import markdown, meaning, table_rows
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/benchmarks/run_suite.py'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""
DATA = f"""
_base_ = '{ROOT}/configs/benchmarks/classification/digits.py'
data = dict(train=dict(data_source=dict(num_images=300)), val=dict(data_source=dict(num_images=120)))
"""
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('suite')
    (folder / 'tiny.py').write_text(MODEL)
    (folder / 'data.py').write_text(DATA)
    torch.manual_seed(1)
    model = build_algorithm(load_config(folder / 'tiny.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'whole.pth')
    save_checkpoint(dict(state_dict=model.backbone.state_dict()), folder / 'backbone.pth')
    return folder, model


@pytest.fixture(scope='module')
def full(files, call_tool):
    folder, _ = files
    call_tool(TOOL, folder / 'tiny.py', folder / 'whole.pth', '--dataset-config', folder / 'data.py', '--suite', 'full',
              '--out', folder / 'full')
    return folder / 'full'


def test_figures_are_those_of_the_functions(files, full):
    _, model = files
    report = json.loads((full / 'report.json').read_text())
    cfg = load_config(files[0] / 'data.py')
    train, val = (
        extract_features(model, build_dataset(d), layers=('pooled', 'stage2'), img_norm_cfg=cfg.img_norm_cfg)
        for d in (cfg.data.train, cfg.data.val))
    found = report['metrics']['checkpoint']
    for layer in ('pooled', 'stage2'):
        arguments = train[layer], train.labels, val[layer], val.labels
        expected = knn.run(*arguments, k=20)['k20_T0.07_top1']
        assert found['knn'][layer]['k20_T0.07_top1'] == pytest.approx(expected, abs=1 / 100)
        assert found['linear'][layer]['top1'] == pytest.approx(linear.run(*arguments)['top1'], abs=3 / 100)
    assert report['images'] == dict(train=300, val=120) and not report['not_run']
    assert set(report['metrics']) == {'checkpoint', 'random weights', 'pixels'}
    assert set(found) == set(report['protocols']) and len(found) == 11
    assert report['checkpoint_sha256'] and report['times']['extraction'] > 0
    table = (full / 'report.md').read_text()
    assert f'{100 * found["linear"]["pooled"]["top1"]:.2f} %' in table


def test_two_processes_equal_one(files, full, call_tool, tmp_path):
    folder, _ = files
    command = [TOOL, folder / 'tiny.py', folder / 'whole.pth', '--dataset-config', folder / 'data.py', '--suite',
               'knn,linear,clustering,quality', '--out', tmp_path]  # yapf: disable
    call_tool(*command, processes=2)
    one, two = (json.loads((where / 'report.json').read_text())['metrics'] for where in (full, tmp_path))
    for name, metrics in two['checkpoint'].items():
        assert metrics == one['checkpoint'][name], name


def test_what_cannot_run_is_said(files, run_tool, tmp_path):
    """Without labels and without the neck's weights: label-free protocols run, and the rest is named."""
    folder, _ = files
    (tmp_path / 'images').mkdir()
    from PIL import Image
    from sklearn.datasets import load_digits
    for i, digit in enumerate(load_digits().images[:60]):
        Image.fromarray((digit * 15).astype('uint8')).save(tmp_path / f'images/{i:02d}.png')
    source = f"dict(_delete_=True, type='Folder', data_prefix='{tmp_path}/images', color_type='grayscale')"
    (tmp_path / 'data.py').write_text(f"_base_ = '{ROOT}/configs/benchmarks/classification/digits.py'\n"
                                      f'data = dict(train=dict(data_source={source}), val=dict(data_source={source}))')
    done = run_tool(TOOL, folder / 'tiny.py', folder / 'backbone.pth', '--dataset-config', tmp_path / 'data.py',
                    '--suite', 'quick', '--out', tmp_path / 'out')
    assert 'parts could not be computed; the report has all others' in done.stdout + done.stderr
    report = json.loads((tmp_path / 'out/report.json').read_text())
    reasons = {(entry['protocol'], entry['column']): entry['reason'] for entry in report['not_run']}
    assert 'none of the 60 training samples has a label' in reasons['knn', 'checkpoint']
    assert 'neck' in reasons['all', 'layer neck'] and ('clustering', 'checkpoint') in reasons
    assert {'representation', 'quality', 'neighbours'} <= set(report['metrics']['checkpoint'])
    assert 'none of the 60 training samples has a label' in (tmp_path / 'out/report.html').read_text()


def context(train, val, layers=('pooled', )):
    return Context(train, val, layers, layers[0], 0, torch.device('cpu'), True)


def features(x, labels):
    return Features(dict(pooled=np.asarray(x, np.float32)), np.asarray(labels), np.arange(len(x)))


def test_a_collapsed_network_has_a_report():
    """t-SNE of scikit-learn ends the process at constant features; here each part says what it can say."""
    same = features(np.full((300, 8), 0.5), np.arange(300) % 10)
    found, not_run = run_protocols(chosen_protocols('quick'), dict(checkpoint=context(same, same)))
    assert set(found['checkpoint']) == set(chosen_protocols('quick')) - {'tsne'}
    assert [entry['protocol'] for entry in not_run] == ['tsne'] and 'has collapsed' in not_run[0]['reason']
    assert found['checkpoint']['knn']['metrics']['pooled']['k20_T0.07_top1'] == 0.1
    assert ['not defined'] in [values for _, words, values in table_rows(found) if words.startswith('alpha-ReQ')]


def test_queries_are_shown_once():
    """The panels of typical, certain and wrong queries have no query in common; a perfect network has no wrong one."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 16))
    bank = features(centres.repeat(20, 0) + rng.normal(size=(60, 16)) * 0.05, np.arange(60) // 20)
    wrong = bank.labels.copy()
    wrong[[3, 30]] = [2, 0]
    for labels, expected in ((bank.labels, []), (wrong, [3, 30])):
        panels = run_protocols(['neighbours'],
                               dict(a=context(bank, features(bank['pooled'], labels))))[0]['a']['neighbours']['panels']
        queries = [[row[0] for row in rows] for rows in panels.values()]
        assert [len(rows) for rows in queries] == [6, 6, len(expected)] and sorted(queries[2]) == expected
        assert len({query for rows in queries for query in rows}) == 12 + len(expected)


def test_differences_to_the_baselines_and_meanings():
    found = {
        'checkpoint': dict(knn=dict(headline={'kNN top-1 (k=20)': 0.75}), q=dict(headline={'x': 2.}, numbers=True)),
        'pixels': dict(knn=dict(headline={'kNN top-1 (k=20)': 0.5}), q=dict(headline={'x': 2.5}, numbers=True))
    }
    rows = table_rows(found)
    assert [values for _, _, values in rows] == [['75.00 %', '50.00 % (+25.00)'], ['2', '2.5 (-0.5)']]
    assert meaning('kNN top-1 (k=20)').startswith('images whose class gets the most votes') and not meaning('x')
    report = dict(
        title='t', not_run=[], classes=dict(val=dict(left_out={'dog': 2}, absent=['bee'], empty=[], unknown={})))
    text = markdown(report, found)
    assert 'left out, since their classes have no training image: dog (2)' in text and 'in val: bee' in text


def test_bad_input(files, call_tool, tmp_path):
    folder, _ = files
    common = [folder / 'tiny.py', folder / 'whole.pth', '--dataset-config', folder / 'data.py']
    done = call_tool(TOOL, *common, '--suite', 'knn,lineer', '--out', tmp_path / 'x', check=False)
    assert done.returncode == 1 and "there is no 'lineer'" in done.stderr and 'linear' in done.stderr
    (tmp_path / 'file').write_text('')
    done = call_tool(TOOL, *common, '--out', tmp_path / 'file', check=False)
    assert done.returncode == 1 and 'is a file' in done.stderr
    assert not (tmp_path / 'x').exists()


def test_page_is_self_contained(full):
    page = (full / 'report.html').read_text()
    assert not re.findall(r'(?:src|href)=["\']?(?!data:|#)[^"\'\s>]+', page)
    assert 'http://' not in re.sub(r'http://www\.w3\.org/\S+', '', page) and '@import' not in page


@pytest.mark.skipif(not CHROMIUM, reason='no Chromium here (package chromium)')
def test_pictures_are_drawn_in_a_browser(full, tmp_path):
    """Each image is complete and has a size, the map has its points, and no script fails."""
    probe = """<script>
window.problems = [];
window.addEventListener('error', e => window.problems.push(String(e.message || e.target.src || e.target)), true);
window.addEventListener('load', () => setTimeout(() => {
  const images = [...document.images];
  const frame = document.querySelector('iframe').contentDocument;
  const canvas = frame.querySelector('canvas');
  const drawn = canvas ? canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(v => v) :
    frame.querySelectorAll('circle, use').length > 50;
  const found = {images: images.length, plots: document.querySelectorAll('img.plot').length,
    broken: images.filter(i => !i.complete || !i.naturalWidth).length, hidden: images.filter(i => i.width < 8).length,
    drawn: drawn, problems: window.problems, wide: document.documentElement.scrollWidth - innerWidth};
  document.title = 'PROBE' + JSON.stringify(found) + 'END';
}, 1500));
</script>"""
    page = (full / 'report.html').read_text()
    (tmp_path / 'probe.html').write_text(page.replace('<head>', '<head>' + probe, 1))
    for width in (1280, 420):
        done = subprocess.run([
            CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path}/profile',
            f'--window-size={width},1000', '--virtual-time-budget=8000', '--dump-dom', f'file://{tmp_path}/probe.html'
        ],
                              capture_output=True,
                              text=True,
                              timeout=120)
        text = re.search(r'<title>PROBE(.*)END</title>', done.stdout)
        assert text, done.stderr[-2000:]
        found = json.loads(text[1].replace('&amp;', '&'))
        assert found['problems'] == [] and found['broken'] == found['hidden'] == 0, found
        assert found['plots'] >= 5 and found['images'] > 100 and found['drawn'], found
        assert found['wide'] <= 0, found
