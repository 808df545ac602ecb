"""The report of a run that has no hook: pictures are made by its last checkpoint, or it says why there are none."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mmssl.apis.report import write_report
from mmssl.datasets import SingleViewDataset, build_dataset
from mmssl.evaluation.run_pictures import Gallery, gallery_of_training, look_at_views
from mmssl.evaluation.run_report import load_pictures
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

sys.path.append(str(Path(__file__).parents[1]))
from test_core.test_report_hook import MODEL, NORM, VIEWS, train  # noqa: E402


def test_of_a_run_without_the_hook(tmp_path, monkeypatch):
    folder = tmp_path / 'run'
    model, _, _ = train(folder, epochs=1)
    config = (f'model = {MODEL!r}\ndata = dict(samples_per_gpu=40, train={VIEWS!r})\nimg_norm_cfg = {NORM!r}\n'
              "runner = dict(type='EpochBasedRunner', max_epochs=1)\nseed = 1\n")
    (folder / 'small.py').write_text(config)
    (folder / 'suite').mkdir()
    (folder / 'suite/report.json').write_text(json.dumps(dict(title='the suite', created='now', metrics={})))
    (folder / 'suite/report.md').write_text('# the suite\n\n| protocol | metric | checkpoint |\n|---|---|---:|\n'
                                            '| knn | kNN top-1 | 81.5 % |\n')  # yapf: disable
    (folder / 'suite/report.html').write_text('x')
    monkeypatch.chdir(tmp_path)  # another folder than the clone
    path = write_report('run', tmp_path / 'elsewhere/page.html')
    page = path.read_text()
    for words in ('after epoch 1', 'id="map"', 'What the network sees', 'href="suite/report.html"', '81.5 %',
                  '>small<'):
        assert words in page, words
    pictures = load_pictures(folder)
    assert len(pictures['gallery']['names']) == 120 and pictures['now']['iteration'] == 3
    gallery = Gallery(*gallery_of_training(build_dataset(VIEWS), None)[:1], img_norm_cfg=NORM)
    x = gallery.features(model).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert x[0] @ x[pictures['now']['neighbours'][0][0]] == pytest.approx(np.delete(x @ x[0], 0).max(), abs=1e-5)

    # what is there already is not made again
    monkeypatch.setattr('mmssl.apis.report._look', lambda *_: 1 / 0)
    assert 'id="map"' in write_report(folder).read_text()
    (folder / 'report_pictures.json').unlink()
    assert 'There are no pictures of epoch_1.pth: ZeroDivisionError' in write_report(folder).read_text()


def test_images_of_many_channels_hard_names_and_broken_ones(tmp_path):
    rng = np.random.default_rng(0)
    names = ['a"b<script>', "c'd", 'line\nbreak', b'latin-\xff'.decode('utf-8', 'surrogateescape'), 'plain', 'six']
    for name in names:
        np.save(tmp_path / f'{name}.npy', rng.integers(0, 4000, (20, 16, 13)).astype(np.uint16))
    (tmp_path / 'broken.npy').write_bytes(b'no array')
    source = dict(type='Folder', data_prefix=str(tmp_path), depth='stored', layout='HWC', extensions=['.npy'])
    dataset = SingleViewDataset(source, [dict(type='Resize', size=(12, 12))], prefetch=True)
    norm = dict(mean=[2000.] * 13, std=[1200.] * 13, max_value=1)
    gallery = Gallery(dataset, 500, norm)
    assert len(gallery) == 6 and {'line\\nbreak.npy', 'latin-\\xff.npy'} < set(gallery.names)
    described = gallery.describe()
    json.dumps(described).encode()
    assert described['size'] == (12, 12) and not any(described['labelled'])
    views = look_at_views(dataset, 3, img_norm_cfg=norm)
    assert views and views[0]['image']['uri'].startswith('data:image/png')


def test_images_that_the_pipeline_normalises():
    """They are seen as by the training, whoever normalises."""
    model = build_algorithm(MODEL)
    steps = [*VIEWS['pipelines'][0], dict(type='ToTensor'), dict(type='Normalize', **NORM)]
    own = dict(VIEWS, pipelines=[steps], prefetch=False)
    dataset, norm = gallery_of_training(build_dataset(own), dict(mean=[0.9], std=[9.]))
    assert norm == NORM
    found = Gallery(dataset, 10, norm)
    others = Gallery(*gallery_of_training(build_dataset(VIEWS), NORM)[:1], 10, NORM)
    np.testing.assert_array_equal(found.features(model), others.features(model))
    pixels = found.describe()
    assert pixels['size'] == (12, 12) and pixels['sprite'] == others.describe()['sprite']


def test_several_images_a_sample_are_refused():
    with pytest.raises(ConfigError, match='several views of an image'):
        Gallery(build_dataset(VIEWS), 10, NORM)
