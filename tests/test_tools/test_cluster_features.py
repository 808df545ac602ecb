"""Clusters of features as labels: what the files hold, in two processes, and a training on them."""
import json

import numpy as np
import pytest

from mmssl.apis import train_model
from mmssl.datasets import build_dataset
from mmssl.evaluation import clusterfit, extract_features
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

DATA = 'configs/benchmarks/classification/digits.py'


@pytest.fixture(scope='module')
def cluster(tiny_files, call_tool):
    folder, _ = tiny_files

    def run(out, *arguments, **options):
        return call_tool('tools/cluster_features.py', folder / 'tiny.py', folder / 'tiny.pth', '--dataset-config', DATA,
                         '--clusters', 12, '--iterations', 8, '--out-dir', out, *arguments, **options)

    return run


@pytest.fixture(scope='module')
def written(tiny_files, cluster):
    done = cluster(tiny_files[0] / 'the one')
    return tiny_files[0] / 'the one', done.stdout + done.stderr


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_what_the_files_hold(tiny_files, written):
    """Each label is that of the nearest centroid of the features of unit length, of both splits."""
    _, model = tiny_files
    folder, told = written
    cfg = load_config(DATA)
    centroids = np.load(folder / 'centroids.npy')
    assert centroids.shape == (12, 32)
    for split, number in (('train', 1437), ('val', 360)):
        x = extract_features(model, build_dataset(cfg.data[split]), img_norm_cfg=cfg.img_norm_cfg)['pooled']
        distances = np.square(unit(x)[:, None] - centroids).sum(2)
        labels = np.load(folder / f'{split}_labels.npy')
        assert labels.shape == (number, ) and labels.dtype == np.int32
        nearest = distances[np.arange(number), labels]
        np.testing.assert_allclose(nearest, distances.min(1), atol=1e-5)
        if split == 'train':
            assert (np.bincount(labels, minlength=12) > 0).all()
            note = json.loads((folder / 'clusters.json').read_text())
            assert note['losses'][-1] == pytest.approx(nearest.mean(), rel=1e-3) and len(note['losses']) == 9
    assert note['images'] == dict(train=1437, val=360) and note['clusters'] == 12 and note['layer'] == 'pooled'
    assert len(note['data']['train']['sha256']) == 64
    assert f"data.train.data_source.labels='{folder}/train_labels.npy' model.head.num_classes=12" in told
    assert sorted(p.name for p in folder.iterdir()) == [
        'centroids.npy', 'clusters.json', 'features', 'train_labels.npy', 'val_labels.npy'
    ]


def test_two_processes_make_the_same_clusters(tiny_files, written, cluster):
    folder, _ = tiny_files
    cluster(folder / 'two', processes=2)
    for name in ('train_labels.npy', 'val_labels.npy'):
        assert (np.load(written[0] / name) == np.load(folder / 'two' / name)).mean() > 0.999
    np.testing.assert_allclose(np.load(folder / 'two/centroids.npy'), np.load(written[0] / 'centroids.npy'), atol=1e-4)


def test_components_and_faiss_on_stored_features(tiny_files, written, cluster):
    """A second run takes the features of the first, and may be of another number of clusters and another backend."""
    folder, _ = tiny_files
    done = cluster(folder / 'the one', '--clusters', 7, '--pca', 5, '--backend', 'faiss', '--out-dir', folder / 'pca',
                   '--features', folder / 'the one/features')
    assert 'features of 1437 images from' in done.stdout + done.stderr
    pca, centroids = np.load(folder / 'pca/pca.npz'), np.load(folder / 'pca/centroids.npy')
    assert centroids.shape == (7, 5) and pca['axes'].shape == (32, 5)
    x = (unit(np.load(folder / 'the one/features/val_pooled.npy')) - pca['mean']) @ pca['axes']
    labels = np.load(folder / 'pca/val_labels.npy')
    assert (np.square(x[:, None] - centroids).sum(2).argmin(1) == labels).mean() > 0.99


@pytest.mark.parametrize('arguments, message', [
    (['--clusters', 1438], r'--clusters 1438: data.train has 1437 images'),
    (['--iterations', 0], '--iterations must be 1 or more, got 0'),
    (['--layers', 'pooled,stage2'], 'clusters are those of one layer, --layers names 2: pooled stage2'),
    (['--pca', 0], '--pca must be 1 component or more, got 0'),
    (['--pca', 33], '--pca takes 1 to 32 components, for 1437 samples of 32 dimensions; got 33'),
])
def test_what_cannot_be(tiny_files, cluster, arguments, message):
    out = tiny_files[0] / ('the one' if 33 in arguments else 'none')
    done = cluster(out, *arguments, check=False)
    assert done.returncode and message in done.stderr and 'Traceback' not in done.stderr
    assert not (tiny_files[0] / 'none').exists()


def _components(rank, world_size):
    x = unit(np.random.default_rng(0).normal(size=(200, 9)) * np.arange(1, 10)).astype(np.float32)
    shares = np.split(np.arange(200), [150]), (np.arange(200), np.arange(0))
    found = [
        clusterfit.run(x[share[rank]], share[rank], 6, 9, pca, backend) for share, pca in zip(shares, (4, None))
        for backend in ('torch', 'faiss')
    ]
    return [(f.labels, f.axes, f.centroids, f.sizes) for f in found]


def test_components_and_clusters_of_two_processes(run_distributed):
    """Each with its share of the rows, unequal ones, and none in the second; faiss in the first process with all."""
    x = unit(np.random.default_rng(0).normal(size=(200, 9)) * np.arange(1, 10)).astype(np.float32)
    both = run_distributed(_components)
    for i, (pca, backend) in enumerate(((4, 'torch'), (4, 'faiss'), (None, 'torch'), (None, 'faiss'))):
        expected = clusterfit.run(x, np.arange(200), 6, 9, pca, backend)
        labels, axes, centroids, sizes = zip(*(found[i] for found in both))
        assert (np.concatenate(labels) == expected.labels).all() and (sizes[0] == expected.sizes).all()
        for own in axes if pca else ():
            np.testing.assert_allclose(own * np.sign((own * expected.axes).sum(0)), expected.axes, atol=1e-4)
        np.testing.assert_array_equal(*centroids)


def test_principal_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA
    x = unit(np.random.default_rng(0).normal(size=(200, 9)) * np.arange(1, 10)).astype(np.float32)
    found = clusterfit.run(x, np.arange(200), 4, 3, pca_dim=3)
    expected = PCA(3, svd_solver='full').fit_transform(x.astype(np.float64))
    components = found.prepare(x)
    np.testing.assert_allclose(components * np.sign((components * expected).sum(0)), expected, atol=1e-5)
    assert (found.nearest(x) == found.labels).mean() > 0.99


@pytest.mark.parametrize('options, message', [
    (dict(backend='scipy'), "'torch' or 'faiss', got 'scipy'"),
    (dict(num_clusters=11), '10 samples cannot make'),
    (dict(num_clusters=11, backend='faiss'), '10 samples cannot make'),
])
def test_what_cannot_be_clustered(options, message):
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    with pytest.raises(ValueError, match=message):
        clusterfit.run(x, np.arange(10), **{**dict(num_clusters=3), **options})


def test_training_on_the_labels(tiny_files, written, tmp_path):
    """The second step: labels of the file; too few outputs are refused with the number that is right."""
    folder, _ = written
    cfg = load_config(
        'configs/demo/compare/_single_view.py', {
            'data.train.data_source.labels': str(folder / 'train_labels.npy'),
            'runner.max_epochs': 1,
            'data.workers_per_gpu': 0,
            'work_dir': str(tmp_path)
        })
    cfg.model = load_config(tiny_files[0] / 'tiny.py').model
    dataset = build_dataset(cfg.data.train)
    assert (dataset.gt_labels == np.load(folder / 'train_labels.npy')).all()
    for classes, message in ((11, 'set model.head.num_classes=12 or more'), (12, None)):
        model = build_algorithm(
            dict(cfg.model, head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=classes)))
        model.init_weights()
        if message:
            with pytest.raises(ConfigError, match=message):
                train_model(model, dataset, cfg)
            continue
        runner = train_model(model, dataset, cfg, meta={})
        assert runner.iter == 1437 // cfg.data.samples_per_gpu


@pytest.mark.parametrize('layer, dims', [('neck', 64), ('stage2', 32)])
def test_a_checkpoint_with_a_memory(call_tool, tmp_path, layer, dims):
    """Pitfall: VISSL cannot extract from DeepCluster v2. The memory of the checkpoint is as long as its data were."""
    config = 'configs/demo/compare/deepclusterv2.py'
    model = build_algorithm(load_config(config).model)
    model.init_weights()
    model.fit_to_data(samples=70, views=[2, 4])
    save_checkpoint(dict(state_dict=model.state_dict()), tmp_path / 'epoch_1.pth')
    done = call_tool('tools/cluster_features.py', config, tmp_path / 'epoch_1.pth', '--dataset-config', DATA,
                     '--layers', layer, '--clusters', 5, '--iterations', 2, '--splits', 'val', '--out-dir',
                     tmp_path / 'out')
    assert np.load(tmp_path / 'out/centroids.npy').shape == (5, dims)
    assert 'val_labels.npy model.head.num_classes=5' in done.stdout + done.stderr
