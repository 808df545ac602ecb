"""t-SNE: the tool as a user calls it, the points, the page."""
import base64
import io
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from mmssl.datasets import Digits, build_dataset
from mmssl.evaluation import extract_features, plots
from mmssl.evaluation.scatter_page import write_page
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/analysis_tools/visualize_tsne.py'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""
DATA = """
img_norm_cfg = dict(mean=[0.3], std=[0.35])
data = dict(samples_per_gpu=32, workers_per_gpu=0, extract=dict(
    type='SingleViewDataset', pipeline=[], prefetch=True,
    data_source=dict(type='Digits', color_type='grayscale', num_images=300)))
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tsne')
    (folder / 'tiny.py').write_text(MODEL)
    (folder / 'data.py').write_text(DATA)
    torch.manual_seed(7)
    model = build_algorithm(load_config(folder / 'tiny.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'epoch_3.pth')
    save_checkpoint(dict(state_dict=model.backbone.state_dict()), folder / 'backbone.pth')
    return folder, model


def read_page(path):
    """The data that a page holds, its sprite as an image."""
    text = path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    sprite = Image.open(io.BytesIO(base64.b64decode(data['sprite'].split(',')[1])))
    return text, data, sprite


@pytest.fixture(scope='module')
def drawn(files, run_tool):
    """What the tool writes when it is called with MMSelfSup's spelling of the options."""
    folder, _ = files
    run_tool(TOOL, folder / 'tiny.py', '--dataset_config', folder / 'data.py', '--work_dir', folder / 'a',
             '--layer_ind', '0,4', '--max_num_class=4', '--n_iter', 600, '--max_num_sample', 90, '--pool_type',
             'average', '--learning_rate', 'auto', '--n_iter_without_progress', 300, *common(folder))
    return folder / 'a'


def common(folder):
    return '--checkpoint', folder / 'epoch_3.pth', '--seed', 5, '--perplexity', 12, '--init', 'random'


def test_same_seed_same_picture(files, drawn, call_tool):
    """MMSelfSup's spelling of the options and ours: the same points to the last bit."""
    folder, model = files
    done = call_tool(TOOL, folder / 'tiny.py', '--dataset-config', folder / 'data.py', '--work-dir', folder / 'b',
                     '--layers', 'stage0', 'stage4', '--max-num-class', 4, '--max-iter', 600, '--max-num-sample', 90,
                     *common(folder))
    assert 'RANDOM' not in done.stdout + done.stderr
    a, b = (np.load(folder / name / 'tsne.npz') for name in 'ab')
    assert set(a) == {'index', 'label', 'filename', 'stage0', 'stage4'}
    assert all(np.array_equal(a[key], b[key]) for key in a)
    for name in ('tsne.png', 'tsne.html'):
        assert (folder / 'a' / name).read_bytes() == (folder / 'b' / name).read_bytes()

    dataset = build_dataset(load_config(folder / 'data.py').data.extract)
    labels = np.asarray(dataset.gt_labels)
    chosen = a['index'].tolist()
    assert np.array_equal(a['label'], labels[chosen])
    assert sorted(np.bincount(a['label'])) == [22, 22, 23, 23] and chosen == sorted(set(chosen))
    features = extract_features(model, dataset, layers=['stage4'], img_norm_cfg=dict(mean=[0.3], std=[0.35]))
    expected = plots.embed_tsne(features['stage4'][chosen], 5, perplexity=12, max_iter=600, init='random')
    # t-SNE amplifies the last digits of its input, which depend on the batch: compare who stands near whom
    nearest = [
        np.argsort(np.linalg.norm(x[:, None] - x, axis=2), axis=1)[:, 1:6].tolist() for x in (expected, a['stage4'])
    ]
    assert np.mean([len({*p} & {*q}) / 5 for p, q in zip(*nearest)]) > 0.75


def test_points_are_those_of_scikit_learn():
    """Of normalised features, to the last bit and whatever the number of threads."""
    x = Digits(color_type='grayscale').samples[:60].reshape(60, -1).astype('float32')
    found = plots.embed_tsne(x, 3, perplexity=7, max_iter=250)
    tsne = TSNE(perplexity=7, learning_rate='auto', max_iter=250, init='pca', random_state=3)
    assert np.array_equal(found, tsne.fit_transform(x / np.linalg.norm(x, axis=1, keepdims=True)))
    with threadpool_limits(2):
        assert np.array_equal(found, plots.embed_tsne(x, 3, perplexity=7, max_iter=250))
    assert not np.array_equal(found, plots.embed_tsne(x, 4, perplexity=7, max_iter=250, init='random'))


def test_files_of_a_run(drawn):
    """The page loads nothing, has every point, and its thumbnails are the images."""
    text, data, sprite = read_page(drawn / 'tsne.html')
    assert 'http' not in text and not re.search(r'<(link|img|iframe)|src=|@import|url\(', text)
    assert 'tiny, epoch_3.pth: t-SNE of 90 images' in text
    saved = np.load(drawn / 'tsne.npz')
    assert list(data['points']) == ['stage0', 'stage4']
    for layer, points in data['points'].items():
        points, x = np.array(points) / 1e4, saved[layer]
        assert np.abs(points).max() == 1
        scale = np.ptp(x, 0).max() / 2
        assert np.abs(points * scale + (x.max(0) + x.min(0)) / 2 - x).max() < 1e-4 * scale
    assert [data['classes'][k]['name'] for k in data['labels']] == [str(label) for label in saved['label']]
    assert data['files'] == saved['filename'].tolist() == [f'image {i} of Digits' for i in saved['index']]
    assert len({kind['color'] for kind in data['classes']}) == 4
    source = Digits(color_type='grayscale')
    for k, i in enumerate(saved['index']):  # PNG for small images, so exactly
        left, top = k % data['columns'] * data['tile'], k // data['columns'] * data['tile']
        width, height = data['sizes'][k]
        assert np.array_equal(sprite.crop((left, top, left + width, top + height)), source.get_array(i)[..., 0])
    width, height = Image.open(drawn / 'tsne.png').size
    assert width > 1000 and 400 < height < 800


def test_random_weights_in_space_of_a_folder_without_labels(files, call_tool, photo_folder):
    """An untrained network evaluated as if trained is a known complaint: it is said."""
    folder, _ = files
    done = call_tool(TOOL, 'configs/selfsup/simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py', '--work-dir',
                     folder / 'c', '--layers', '2,pixels', '--n-components', 3, '--max-iter', 250, '--pool-type',
                     'adaptive', '--cfg-options', 'model.backbone.depth=18', 'data.workers_per_gpu=0',
                     'model.neck.in_channels=512', 'data.extract.data_source.type=Folder',
                     'data.extract.data_source.ann_file=None', f'data.extract.data_source.data_prefix={photo_folder}',
                     'data.extract.pipeline.0.size=64', 'data.extract.pipeline.1.size=56')
    assert 'RANDOM weights' in done.stdout + done.stderr
    saved = np.load(folder / 'c/tsne.npz')
    assert saved['stage2'].shape == saved['pixels'].shape == (24, 3) and set(saved['label']) == {-1}
    text, data, sprite = read_page(folder / 'c/tsne.html')
    assert 'RANDOM weights: t-SNE of 24 images' in text
    assert [kind['name'] for kind in data['classes']] == ['unlabelled']
    assert data['files'][0] == f'{photo_folder}/china/00.jpg' and data['sizes'] == [[64, 49]] * 24
    photo = Image.open(data['files'][0]).resize((64, 49), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(photo, int) - np.asarray(sprite.crop((0, 0, 64, 49)), int)).mean() < 6  # JPEG


@pytest.mark.parametrize('options, message', [
    (['--layers', 'stage9'], 'ResNet_CIFAR has no stage9, only stage0 to stage4'),
    (['--layers', 'neck', '--checkpoint', 'backbone.pth'], 'backbone.pth would leave random weights in the neck'),
    (['--max-num-sample', '20', '--perplexity', '20'], '20 images are too few for t-SNE of perplexity 20'),
    (['--max-num-class', '0'], '--max-num-class must be 1 or more, got 0'),
    (['--dataset', 'data.extrakt'], "no 'data.extrakt'; did you mean 'extrakt' by the 'extract'"),
    (['--pool-type', 'specified', '--layers', '1'], '--layers stage1: .*[Oo]utput size is too small'),
    (['--n-iter', '10', '--layers', 'pixels'], "'max_iter' parameter of TSNE"),
])  # yapf: disable
def test_errors(files, monkeypatch, options, message):
    folder, _ = files
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, 'argv', [TOOL, 'tiny.py', '--dataset-config', 'data.py', *options])
    with pytest.raises(ConfigError, match=message):
        runpy.run_path(str(ROOT / TOOL))['main']()


def test_drawn_evenly():
    """As many of a rare class as there are, the others share the rest; unlabelled samples are one more class."""
    labels = np.repeat([-1, 0, 1, 2, 7], [100, 3, 50, 50, 9])
    chosen = plots.draw_evenly(labels, 3, 63, seed=1)
    assert chosen == sorted(set(chosen)) == plots.draw_evenly(labels, 3, 63, seed=1)
    assert dict(zip(*np.unique(labels[chosen], return_counts=True))) == {-1: 20, 0: 3, 1: 20, 2: 20}
    assert chosen != plots.draw_evenly(labels, 3, 63, seed=2)
    assert plots.draw_evenly(labels, 9, 999) == list(range(212))


def test_colours():
    """Every class has its own, in pictures and pages; the unlabelled are grey."""
    for count in (1, 10, 11, 20, 21, 100):
        colors = plots.class_colors([-1, *range(5, 5 + count)])
        assert len(set(colors.values())) == count + 1 and colors[-1] == '#b0b0b0'


def test_stages_are_pooled_as_for_linear_probes(files):
    """Every position counts: adaptive and fixed windows against torch's own pooling of the maps."""
    _, model = files
    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='Digits', color_type='grayscale', num_images=3),
            pipeline=[dict(type='Resize', size=64)],
            prefetch=True))
    norm = dict(mean=[0.3], std=[0.35])
    maps = extract_features(model, dataset, layers=['stage1_map', 'stage3_map'], img_norm_cfg=norm)
    found = extract_features(model, dataset, layers=['stage1', 'stage3'], img_norm_cfg=norm, pool_type='adaptive')
    for stage, size in ((1, 6), (3, 3)):
        expected = F.adaptive_avg_pool2d(torch.from_numpy(maps[f'stage{stage}_map']), size).flatten(1)
        torch.testing.assert_close(torch.from_numpy(found[f'stage{stage}']), expected)
    found = extract_features(model, dataset, layers=['stage1'], img_norm_cfg=norm, pool_type='specified')['stage1']
    expected = F.avg_pool2d(torch.from_numpy(maps['stage1_map']), 16, 8).flatten(1)
    torch.testing.assert_close(torch.from_numpy(found), expected)


def test_a_file_name_cannot_break_the_page(tmp_path):
    """A name may hold what would end the script that it stands in."""
    names = ['</script><script>alert(1)</script>', 'a"b\\c<!--', 'ümlaut']
    images = [np.full((40, 20, 3), 60 * i, np.uint8) for i in range(3)]
    write_page(tmp_path / 'p.html', {'<x>': np.array([[0., 0], [1, 0], [0, 3]])}, np.array([0, 1, 1]), None, names,
               images, 'a < b & "c"')
    text, data, _ = read_page(tmp_path / 'p.html')
    assert data['files'] == names and text.count('<script') == 2 and '<title>a &lt; b &amp;' in text
    assert data['points']['<x>'] == [[-3333, -10000], [3333, -10000], [-3333, 10000]]
    assert [kind['name'] for kind in data['classes']] == ['0', '1'] and data['sizes'] == [[20, 40]] * 3
