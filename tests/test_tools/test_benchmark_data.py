"""tools/analysis_tools/benchmark_data.py."""
import io
import json

import numpy as np
import pytest
from PIL import Image

from mmssl.benchmarks.data import benchmark_dataset, dataset_views, folder_images, photographs, torchvision_step
from mmssl.datasets.pipelines import Compose, Step
from mmssl.utils.errors import ConfigError

PIPELINE = [
    dict(type='RandomResizedCrop', size=96, scale=(0.2, 1.), interpolation=3),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
        p=0.8),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
    dict(type='Solarization', p=0.2),
    dict(type='RandomHorizontalFlip'),
]
CONFIG = f"""
data = dict(train=dict(
    type='MultiViewDataset',
    data_source=dict(type='ImageNet', data_prefix='data/imagenet/train', ann_file=None),
    num_views=[2, 1],
    pipelines=[{PIPELINE!r}, {PIPELINE[:1]!r}],
    prefetch=True))
"""


def test_the_tool(run_tool, call_tool, tmp_path, photo_folder):
    (tmp_path / 'config.py').write_text(CONFIG)
    done = run_tool('tools/analysis_tools/benchmark_data.py', tmp_path / 'config.py', '--num', 6, '--data-prefix',
                    photo_folder, '--out', tmp_path / 'out' / 'speed.json', '--cfg-options',
                    'data.train.num_views=[1,1]')
    result = json.loads((tmp_path / 'out' / 'speed.json').read_text())
    ours, theirs, decode = (result[f'{k}images_per_second'] for k in ('', 'torchvision_', 'decode_'))
    assert np.isclose(result['ratio'], ours / theirs) and np.isclose(result['share_of_decode'], ours / decode)
    assert decode > ours > theirs > 0  # the factor depends on the machine, the order does not
    assert result['views'] == 2
    assert [(s['pipeline'], s['step']) for s in result['steps']] == [(0, 'RandomResizedCrop'),
                                                                     (0, 'RandomAppliedTrans(ColorJitter)'),
                                                                     (0, 'GaussianBlur'), (0, 'Solarization'),
                                                                     (0, 'RandomHorizontalFlip'),
                                                                     (1, 'RandomResizedCrop')]
    # steps, decoding and what calls them make up the whole
    parts = 1 / decode + sum(s['microseconds'] for s in result['steps']) / 1e6
    assert 0.5 < parts * ours < 1.5
    assert f'{ours:.0f} images/s' in done.stdout
    # one line, not a traceback
    failed = call_tool(
        'tools/analysis_tools/benchmark_data.py',
        tmp_path / 'config.py',
        '--data-prefix',
        tmp_path / 'out',
        check=False)
    assert failed.returncode and failed.stderr.strip().splitlines()[-1].startswith('error: no image')


def test_small_sources_bring_their_own_images():
    cfg = dict(
        type='SingleViewDataset',
        data_source=dict(type='Digits', color_type='grayscale'),
        pipeline=[dict(type='RandomResizedCrop', size=8), dict(type='ToTensor')])
    result = benchmark_dataset(cfg, num=4)
    assert result['views'] == 1 and [s['step'] for s in result['steps']] == ['RandomResizedCrop', 'ToTensor']
    assert result['decode_images_per_second'] > 10 * result['images_per_second']


def test_photographs_are_as_described():
    for file in photographs(3):
        with Image.open(io.BytesIO(file)) as img:
            assert img.size == (500, 375) and img.format == 'JPEG'


def test_folder_images_are_taken_evenly(photo_folder, tmp_path):
    files = folder_images(photo_folder, 4)
    paths = sorted(photo_folder.rglob('*.jpg'))
    assert files == [p.read_bytes() for p in paths[::6]]
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        folder_images(tmp_path, 4)


def test_torchvision_counterparts():
    import torchvision.transforms as T
    assert isinstance(torchvision_step(PIPELINE[0]), T.RandomResizedCrop)
    jitter = torchvision_step(PIPELINE[1])
    assert isinstance(jitter, T.RandomApply) and isinstance(jitter.transforms[0], T.ColorJitter) and jitter.p == 0.8
    assert torchvision_step(PIPELINE[3]).p == 0.2
    img = Image.new('RGB', (64, 48), (200, 10, 60))
    for step in [*PIPELINE, dict(type='Lighting'), dict(type='RandomErasing', p=1.), dict(type='RandomInvert')]:
        assert isinstance(torchvision_step(step)(img), Image.Image)

    class Native(Step):

        def apply(self, img):
            return img[::2]

    assert torchvision_step(Native())(img).size == (64, 24)


def test_two_images_and_a_mask(photo_folder):
    """As CAE has them; the counterpart of the crop makes the same two images, to a grey level."""
    two = dict(
        type='RandomResizedCropAndInterpolationWithTwoPic', size=64, second_size=32, scale=(1., 1.), ratio=(1.3, 1.3))
    mask = dict(type='BEiTMaskGenerator', input_size=(4, 4), num_masking_patches=6)
    cfg = dict(
        type='SingleViewDataset',
        data_source=dict(type='Folder', data_prefix=str(photo_folder)),
        pipeline=[dict(type='RandomHorizontalFlip'), two, mask])
    result = benchmark_dataset(cfg, str(photo_folder), num=3)
    assert [s['step'] for s in result['steps']] == [step['type'] for step in cfg['pipeline']]
    assert result['decode_images_per_second'] > result['images_per_second'] > result['torchvision_images_per_second']
    img = np.random.default_rng(0).integers(0, 256, (100, 130, 3), np.uint8)  # the crop can only be the whole
    ours, theirs = Compose([two, mask])(img), torchvision_step(two)(Image.fromarray(img))
    assert torchvision_step(mask)(theirs)[:2] == theirs
    for a, b in zip(ours, theirs):
        assert a.shape == np.asarray(b).shape and np.abs(a.astype(int) - np.asarray(b)).max() <= 1
    assert torchvision_step(dict(two, second_size=None))(Image.fromarray(img)).size == (64, 64)


def test_wrapped_and_wrong_datasets():
    inner = dict(type='SingleViewDataset', data_source=dict(type='Digits'), pipeline=PIPELINE)
    for cfg in (dict(type='RepeatDataset', dataset=inner,
                     times=2), [inner, inner], dict(type='ConcatDataset', datasets=[inner])):
        assert dataset_views(cfg) == ([(1, PIPELINE)], dict(type='Digits'))
    with pytest.raises(ConfigError, match='neither'):
        dataset_views(dict(type='Something'))


def test_steps_on_samples():
    """Of a data set whose pipeline takes samples, also of two sources: each step counts, with those on samples."""
    steps = [
        PIPELINE[0],
        dict(type='Copies', num=2),
        dict(type='OnEntries', entries=[0], transforms=[dict(type='RandomAngle')]),
        dict(type='RandomSolarize', threshold=[0, 256])
    ]
    source = dict(type='ImageNet', data_prefix='data/imagenet/train', ann_file=None)
    cfg = dict(type='SampleDataset', data_source=source, pipeline=steps, prefetch=True)
    result = benchmark_dataset(cfg, num=2)
    names = ['RandomResizedCrop', 'Copies', 'OnEntries(RandomAngle)', 'RandomSolarize']
    assert [step['step'] for step in result['steps']] == names
    assert result['decode_images_per_second'] > result['images_per_second'] > 0
    two = dict(cfg, data_source=dict(a=source, b=source), pipeline=[PIPELINE[0], dict(type='RandomAngle')])
    assert len(benchmark_dataset(two, num=2)['steps']) == 2
