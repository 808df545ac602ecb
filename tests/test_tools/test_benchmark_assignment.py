"""tools/analysis_tools/benchmark_assignment.py: what it times is what training does, and its numbers are consistent."""
import json
from pathlib import Path

import pytest
import torch

from mmssl.benchmarks import step as benchmark_step
from mmssl.benchmarks.assignment import measure_assignment
from mmssl.models.heads import swav_head
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/selfsup'
DEEPCLUSTER = CONFIGS / 'deepcluster/deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k.py'
SWAV = CONFIGS / 'swav/swav_resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96.py'
SMALL = {'model.backbone.depth': 18, 'model.backbone.stem_channels': 4, 'model.backbone.base_channels': 4}


def test_deepcluster(run_tool, tmp_path):
    """The tool on a published recipe, made small."""
    options = [f'{key}={value}' for key, value in SMALL.items()]
    done = run_tool('tools/analysis_tools/benchmark_assignment.py', DEEPCLUSTER, '--batch-size', 4, '--size', 32,
                    '--iters', 1, '--samples', 200, '--k', 20, '--out', tmp_path / 'found.json', '--cfg-options',
                    *options, 'model.head.in_channels=32', 'custom_hooks.0.clustering.pca_dim=8')
    found = json.loads((tmp_path / 'found.json').read_text())
    assert (found['algorithm'], found['samples'], found['clusters'], found['dimensions']) == ('DeepCluster', 200, 20,
                                                                                              [32, 8])
    parts = found['milliseconds']
    assert list(parts) == ['training', 'features', 'pca', 'kmeans', 'labels'] and min(parts.values()) > 0
    assignment = sum(parts.values()) - parts['training']
    assert found['images_per_second'] == pytest.approx(1e3 / assignment)
    assert found['share'] == pytest.approx(assignment / (assignment + parts['training']))
    assert f'{found["images_per_second"]:.1f} images/s, {found["share"]:.2%} of an epoch' in done.stdout


def test_interval_of_clusterings():
    """Clustering each second epoch halves the time an epoch."""
    cfg = load_config(DEEPCLUSTER, {**SMALL, 'model.head.in_channels': 32, 'custom_hooks.0.clustering.pca_dim': 8})
    cfg.custom_hooks[0].interval = 2
    found = measure_assignment(cfg, 4, 32, 1, 100, k=10)
    parts = found['milliseconds']
    assignment = (sum(parts.values()) - parts['training']) / 2
    assert found['share'] == pytest.approx(assignment / (assignment + parts['training']))
    with pytest.raises(ConfigError, match='100 features cannot make 101 clusters'):
        measure_assignment(cfg, 4, 32, 1, 100, k=101)
    cfg.custom_hooks[0].clustering = dict(type='PIC')
    with pytest.raises(ConfigError, match='only Kmeans'):
        measure_assignment(cfg, 4, 32, 1, 100, k=10)


def test_swav(monkeypatch):
    """The timed assignment is that of an iteration: as many Sinkhorn problems of the same size, with a full queue."""
    shapes = []
    sinkhorn = swav_head.distributed_sinkhorn
    monkeypatch.setattr(swav_head, 'distributed_sinkhorn',
                        lambda out, *args: shapes.append(tuple(out.shape)) or sinkhorn(out, *args))
    cfg = load_config(
        SWAV, {
            **SMALL, 'model.neck.in_channels': 32,
            'model.neck.hid_channels': 16,
            'model.head.num_prototypes': 30,
            'custom_hooks.0.queue_length': 18
        })
    batch = benchmark_step.random_batch(cfg, 4, 56, torch.device('cpu'))
    assert [x.shape[2:] for x in batch['img']] == [(56, 56)] * 2 + [(24, 24)] * 6
    found = measure_assignment(cfg, 4, 56, rounds=2, samples=0)
    # two crops in each of three iterations and three assignments; 18 is cut to whole batches
    assert shapes == [(4 + 16, 30)] * 12
    assert (found['prototypes'], found['queue_length'], found['share_of']) == (30, 16, 'an iteration')
    parts = found['milliseconds']
    assert found['images_per_second'] == pytest.approx(1e3 / parts['assignment'])
    assert found['share'] == pytest.approx(parts['assignment'] / parts['iteration']) and 0 < found['share'] < 1


def test_an_algorithm_without_assignment():
    cfg = load_config(CONFIGS / 'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py', SMALL)
    with pytest.raises(ConfigError, match='MoCo .* neither a SwAVHead nor a DeepClusterHook'):
        measure_assignment(cfg, 4, 32, 1, 100)


@pytest.mark.parametrize('name, views, sizes, target', [
    ('relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k.py', 9, 64, ('patch_label', (4, 8))),
    ('rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e_in1k.py', 4, 224, ('rot_label', (4, 4))),
    ('deepcluster/deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k.py', 0, 224, ('pseudo_label', (4, ))),
    ('mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py', 2, 224, None),
])
def test_random_batches(name, views, sizes, target):
    """Noise of the shapes that the data sets of the recipes give."""
    cfg = load_config(CONFIGS / name)
    batch = benchmark_step.random_batch(cfg, 4, benchmark_step.image_size(cfg), torch.device('cpu'))
    images = batch['img'] if views else [batch['img']]
    assert [tuple(x.shape) for x in images] == [(4, 3, sizes, sizes)] * (views or 1)
    labels = {key: tuple(value.shape) for key, value in batch.items() if key not in ('img', 'idx')}
    assert labels == (dict([target]) if target else {})


def test_random_samples():
    """Patches and images by name, in the shapes of the recipes and in those of another size."""
    shapes = {}
    for name, size in (('jigsaw/jigsaw-perm100_resnet50_8xb32-steplr-105e_in1k',
                        255), ('pirl/pirl-gblur_resnet50_32xb32-coslr-800e_in1k', 224),
                       ('pirl/pirl-gblur_resnet50_32xb32-coslr-800e_in1k', 56)):
        cfg = load_config(CONFIGS / f'{name}.py')
        batch = benchmark_step.random_batch(cfg, 2, size, torch.device('cpu'))
        img = batch['img'] if isinstance(batch['img'], dict) else dict(img=batch['img'])
        shapes[name[:4], size] = {key: tuple(value.shape) for key, value in img.items()}
        assert batch['label'].shape == batch['idx'].shape == (2, ) and all(v.std() > 0.9 for v in img.values())
    assert shapes == {
        ('jigs', 255): dict(img=(2, 9, 3, 64, 64)),
        ('pirl', 224): dict(image=(2, 3, 224, 224), patches=(2, 9, 3, 64, 64)),
        ('pirl', 56): dict(image=(2, 3, 56, 56), patches=(2, 9, 3, 16, 16))
    }
