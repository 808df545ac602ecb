"""`mmssl.load`: what a training has left, by its folder or by a checkpoint."""
import io
import pickle
import shutil

import numpy as np
import pytest
import torch
from mmcv import Config
from PIL import Image

import mmssl
from mmssl.apis.image_sources import source_of
from mmssl.apis.preprocessing import preprocessing_of
from mmssl.datasets.pipelines import Compose
from mmssl.evaluation import knn
from mmssl.evaluation.whitening import Whitening
from mmssl.interop.export import image_channels
from mmssl.models import build_algorithm
from mmssl.sklearn import ImageEmbedder
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.config_text import config_text, parse_config_text
from mmssl.utils.errors import BrokenImageError, ConfigError


def features_by_hand(checkpoint, files):
    """The features of files by the steps written out, in float64."""
    cfg = load_config(checkpoint.parent / 'small.py')
    model, norm = build_algorithm(cfg.model), cfg.img_norm_cfg
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    model.double().eval()
    rows = []
    for file in files:
        image = np.asarray(Image.open(file).convert('RGB'))
        image = Compose([dict(type='Resize', size=37), dict(type='CenterCrop', size=32)])(image)
        x = torch.from_numpy(image).double().permute(2, 0, 1) / 255
        x = (x - torch.tensor(norm['mean'])[:, None, None]) / torch.tensor(norm['std'])[:, None, None]
        with torch.no_grad():
            rows.append(model.backbone(x[None])[-1].mean((2, 3))[0].numpy())
    return np.stack(rows)


def test_features_of_anything(finished_run, photo_folder):
    """A folder, files, arrays, Pillow images, tables of the catalog: the same numbers as by hand, in their order."""
    run = mmssl.load(finished_run)
    assert run.checkpoint.name == 'epoch_2.pth' and mmssl.load(run) is run
    files = sorted(photo_folder.rglob('*.jpg'), key=lambda path: str(path.relative_to(photo_folder)))
    expected = features_by_hand(finished_run / 'epoch_2.pth', files)
    found = run.features(photo_folder)
    assert found.files == [str(path.relative_to(photo_folder)) for path in files] and len(found) == 24
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(run.features().features, found.features)  # those of the training
    backwards = run.features([str(path) for path in files[::-1]])
    assert backwards.files == [str(path) for path in files[::-1]]
    np.testing.assert_array_equal(backwards.features[::-1], found.features)
    images = [Image.open(path) for path in files]
    for given in (images, np.stack([np.asarray(image) for image in images])):
        np.testing.assert_allclose(run.features(given).features, expected, rtol=1e-4, atol=1e-5)
    assert run.features(images[0]).files == ['image 0']
    assert 'small' not in repr(found) and '24 x 64' in repr(found)
    neck = run.features(photo_folder, layer='neck')
    assert neck.features.shape == (24, 8)
    assert not np.allclose(run.features(photo_folder, size=64).features, expected, atol=1e-3)


def test_the_backbone_is_a_plain_module(finished_run, photo_folder):
    """It gives what `features` gives for what `transform` makes; it pickles, saves, and learns without the run."""
    run = mmssl.load(finished_run)
    backbone = run.backbone()
    images = torch.stack([run.transform(Image.open(path)) for path in sorted(photo_folder.rglob('*.jpg'))[:3]])
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.float32
    expected = run.features().features[:3]
    features = backbone(images)
    assert features.shape == (3, backbone.num_features) and not backbone.training
    np.testing.assert_allclose(features.detach(), expected, rtol=1e-4, atol=1e-5)
    file = io.BytesIO()
    torch.save(backbone, file)
    for copied in (pickle.loads(pickle.dumps(backbone)), torch.load(io.BytesIO(file.getvalue()), weights_only=False)):
        torch.testing.assert_close(copied(images), features)
    loss = backbone.train()(images).square().mean()
    loss.backward()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter -= parameter.grad
    np.testing.assert_array_equal(run.features().features[:3], expected)
    from torchvision.datasets import ImageFolder
    image, label = ImageFolder(photo_folder, transform=pickle.loads(pickle.dumps(run.transform)))[0]
    torch.testing.assert_close(image, images[0])


def test_where_a_run_is_found(finished_run, tmp_path):
    """By a checkpoint; by one that lies alone and holds its config; by weights with a config; else one clear line."""
    first = mmssl.load(finished_run / 'epoch_1.pth')
    assert first.checkpoint.name == 'epoch_1.pth' and first.out == finished_run
    last = mmssl.load(finished_run).features().features
    assert not np.allclose(first.features().features, last, atol=1e-3)
    shutil.copy(finished_run / 'epoch_2.pth', tmp_path / 'alone.pth')
    alone = mmssl.load(str(tmp_path / 'alone.pth'))
    np.testing.assert_array_equal(alone.features().features, last)
    assert 'alone.pth' in repr(alone)
    weights = {
        key.removeprefix('backbone.'): value
        for key, value in torch.load(finished_run / 'epoch_2.pth')['state_dict'].items() if key.startswith('backbone.')
    }
    (tmp_path / 'weights').mkdir()
    save_checkpoint(dict(state_dict=weights), tmp_path / 'weights/backbone.pth')
    with pytest.raises(ConfigError, match='not the config of a training.*give config='):
        mmssl.load(tmp_path / 'weights/backbone.pth')
    given = mmssl.load(tmp_path / 'weights/backbone.pth', config=finished_run / 'small.py')
    np.testing.assert_array_equal(given.features().features, last)
    with pytest.raises(ConfigError, match='neck'):
        given.features(layer='neck')  # it would be random
    with pytest.raises(FileNotFoundError, match='no such run or checkpoint: .*nothing'):
        mmssl.load(tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ConfigError, match='empty is no run: it has neither'):
        mmssl.load(tmp_path / 'empty')
    shutil.copy(finished_run / '20260101_000000_small.py', tmp_path / 'empty')
    begun = mmssl.load(tmp_path / 'empty')
    assert 'none yet' in begun._repr_html_()
    with pytest.raises(FileNotFoundError, match='has no checkpoint yet'):
        begun.features()
    with pytest.raises(FileNotFoundError, match='no best_'):
        mmssl.load(finished_run, which='best').features()
    with pytest.raises(ConfigError, match="'latest' or 'best', got 'first'"):
        mmssl.load(finished_run, which='first')
    shutil.copytree(finished_run, tmp_path / 'best')
    shutil.copy(finished_run / 'epoch_1.pth', tmp_path / 'best/best_knn_epoch_1.pth')
    best = mmssl.load(tmp_path / 'best', which='best')
    np.testing.assert_array_equal(best.features().features, first.features().features)


def test_curves_figures_and_pictures(finished_run):
    run = mmssl.load(finished_run)
    curves = run.curves()
    assert [list(values) for values in curves['loss']] == [[1, 2], [3, 2]]
    assert [list(values) for values in curves['knn_top1']] == [[1, 2], [0.6, 0.7]]
    assert run.figures() == dict(epochs=2, loss=2, knn=0.7)
    assert repr(run) == f"Run('{finished_run}': epochs 2, loss 2, knn 0.7)"
    assert '<th style="text-align:left">knn</th><td style="text-align:left">0.7</td>' in run._repr_html_()
    picture = curves.plot()
    assert picture.format == 'PNG' and np.asarray(picture.convert('L')).std() > 5
    with pytest.raises(ConfigError, match="no curve 'los'; did you mean 'loss'"):
        curves.plot('los')


def test_exports(finished_run, tmp_path):
    run = mmssl.load(finished_run)
    path = run.export('torchscript', tmp_path / 'network.ts')
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(torch.jit.load(path)(images), run.backbone()(images), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="no export 'torch-script'; did you mean 'torchscript'"):
        run.export('torch-script')
    with pytest.raises(ConfigError, match='ends with .onnx'):
        run.export('onnx', tmp_path / 'network.ts')


def test_refused_images(finished_run, photo_folder, tmp_path):
    run = mmssl.load(finished_run)
    for given in ([], 3, np.zeros((0, 8, 8, 3), np.uint8)):
        with pytest.raises(ConfigError, match='images are a folder, a list of files'):
            run.features(given)
    with pytest.raises(ConfigError, match='float64 of the shape'):
        run.features(np.zeros((2, 8, 8, 3)))
    with pytest.raises(ConfigError, match='an image is a file, a Pillow image or an array'):
        run.transform(3)
    with pytest.raises(FileNotFoundError, match='^no such image: /.*nope.jpg, and neither are others of the 2 images'):
        run.features(['nope.jpg', 'none.jpg'])
    with pytest.raises(ConfigError, match='layer stage7: .*no stage7'):
        run.features(layer='stage7')
    (tmp_path / 'a.jpg').write_bytes(b'no image')
    shutil.copy(photo_folder / 'china/00.jpg', tmp_path / 'b.jpg')
    found = run.features(tmp_path)
    assert found.files == ['b.jpg'] and list(found.broken) == ['a.jpg']
    with pytest.raises(BrokenImageError, match='a.jpg'):
        run.features(tmp_path, broken='stop')


@pytest.mark.parametrize('channels', [1, 3])
def test_images_of_other_colours(channels):
    """A grey image for a network on colours, colours for one on grey, with transparency and palettes."""
    cfg = Config(dict(data=dict(train=dict()), img_norm_cfg=dict(mean=[0.] * channels, std=[1.] * channels)))
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=channels, stem_channels=4, base_channels=4)))
    assert image_channels(model) == channels
    transform = preprocessing_of(cfg, model, 8)
    color = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for mode in ('RGB', 'L', 'RGBA', 'P', 'LA'):
        image = Image.fromarray(color).convert(mode)
        assert transform(image).shape == (channels, 8, 8)
    grey = np.asarray(Image.fromarray(color).convert('L'))
    for given in (grey, grey[..., None], Image.fromarray(grey)):
        assert len(set(map(tuple, transform(given).flatten(1).tolist()))) == 1  # all channels alike
    same = transform(Image.fromarray(color)), transform(color)
    assert (same[0] - same[1]).abs().max() <= 1.01 / 255
    source = source_of([Image.fromarray(color), Image.fromarray(grey)], cfg, channels)
    assert [source.get_array(i).shape for i in (0, 1)] == [(8, 8, channels)] * 2


def test_the_steps_are_those_of_the_evaluation(finished_run):
    """The pipeline of a hook's data set is taken where nothing in it is random; square images come out of it."""
    cfg = load_config(finished_run / 'small.py')
    model = mmssl.load(finished_run).model()
    still, random = [dict(type='Resize', size=40)], [dict(type='RandomResizedCrop', size=40)]
    for pipeline, steps in ((still, still + [dict(type='CenterCrop', size=40)]), (random, None)):
        dataset = dict(type='SingleViewDataset', data_source=dict(type='Folder'), pipeline=pipeline, prefetch=True)
        cfg.custom_hooks = [dict(type='KNNEvalHook', train_dataset=dataset, val_dataset=dataset)]
        found = preprocessing_of(cfg, model)
        assert found(np.zeros((50, 70, 3), np.uint8)).shape == ((3, 40, 40) if steps else (3, 32, 32))
        assert steps is None or found.steps == steps


def test_a_text_of_a_config_is_not_run(tmp_path):
    values = dict(a=float('inf'), b={'x y': (1, )}, c={1, 2}, d=[dict(e=-1e-3)])
    assert parse_config_text(config_text(values)) == values
    for text in ('import os', f'a = open({str(tmp_path / "file")!r}, "w")', 'a.b = 1', 'a = dict(**{"b": print()})'):
        with pytest.raises(ConfigError, match='no text of a config of plain values'):
            parse_config_text(text)
    assert not (tmp_path / 'file').exists()


def test_names_of_the_package():
    assert {'Run', 'fit', 'load', 'train'} <= set(dir(mmssl))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        mmssl.trian


def test_evaluate(finished_run, photo_folder, tmp_path):
    """Figures against those of the functions behind them; held-out images, labels as words, and what is refused."""
    run = mmssl.load(finished_run)
    found = run.features(photo_folder)
    labels = np.array([name.startswith('flower') for name in found.files]).astype(int)
    scored = np.tile([True, False, False, False, False, True, False, False, False, False, True, False], 2)
    arguments = found.features[~scored], labels[~scored], found.features[scored], labels[scored]
    with pytest.warns(UserWarning, match='vote instead'):
        expected = knn.run(*arguments)['k10_T0.07_top1']
    held_out = run.evaluate(photo_folder, random_weights=False)  # every fifth image of each class
    assert held_out.images == dict(train=18, val=6) and held_out.knn == expected and held_out.random_weights == {}
    assert held_out.few_label is None and 'fewer than labels_per_class=10' in held_out.not_run['few_label']
    assert 'fewer than labels_per_class=10' in repr(held_out)
    assert 'random weights' not in repr(held_out)
    files = np.array([str(photo_folder / name) for name in found.files])
    words = [name.split('/')[0] for name in found.files]
    both = run.evaluate((files, words), (files[scored], list(np.array(words)[scored])))
    assert both.images == dict(train=24, val=6) and both.few_label is not None and not both.not_run
    expected = knn.run(found.features, labels, found.features[scored], labels[scored], k=20)['k20_T0.07_top1']
    assert both.knn == expected and set(both.random_weights) == {'knn', 'few_label', 'linear'}
    assert f'<td>{100 * expected:.1f} %</td>' in both._repr_html_()
    assert repr(both).count('random weights') == 3
    with pytest.raises(ConfigError, match='train: no labels are known'):
        run.evaluate(photo_folder / 'china')
    with pytest.raises(ConfigError, match='got a tuple of 3'):
        run.evaluate((files, words, words))
    with pytest.raises(ConfigError, match='train has 24 images and 5 labels'):
        run.evaluate((files, words[:5]))


def test_an_export_beside_a_checkpoint_is_no_checkpoint(finished_run, tmp_path, recwarn):
    shutil.copytree(finished_run, tmp_path / 'run')
    run = mmssl.load(tmp_path / 'run')
    run.export('torchscript')
    assert mmssl.load(tmp_path / 'run').checkpoint.name == 'epoch_2.pth'
    assert (tmp_path / 'run/run.ts').is_file() and not [w for w in recwarn if 'TorchScript archive' in str(w.message)]


def test_features_that_the_config_asks_for(finished_run, photo_folder, tmp_path):
    """Several stages, whitened, are one and the same everywhere: features, search, evaluation, estimator, command."""
    shutil.copytree(finished_run, tmp_path / 'run')
    with open(tmp_path / 'run/20260101_000000_small.py', 'a') as file:
        file.write("features = dict(layers=('stage3', 'stage4'), power=0.25)\n")
    run = mmssl.load(tmp_path / 'run')
    parts = [run.features(photo_folder, layer=layer).features for layer in ('stage3', 'stage4')]
    joined = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], 1)
    expected = Whitening.partial(joined, 0.25).apply(joined)
    found = run.features(photo_folder)
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)
    hits = run.search(photo_folder / found.files[7], photo_folder, k=3)
    similarity = expected @ expected[7] / np.linalg.norm(expected, axis=1) / np.linalg.norm(expected[7])
    order = [i for i in np.argsort(-similarity) if i != 7][:3]
    assert [hit.file for hit in hits] == [found.files[i] for i in order]
    again = run.search(photo_folder / found.files[7], photo_folder, k=3)
    assert again.found == hits.found  # from what is kept
    np.testing.assert_allclose([hit.similarity for hit in hits], similarity[order], atol=1e-4)
    embedder = pickle.loads(pickle.dumps(ImageEmbedder(run=str(tmp_path / 'run')).fit(str(photo_folder))))
    shutil.rmtree(tmp_path / 'run')
    np.testing.assert_allclose(embedder.transform(str(photo_folder)), found.features, rtol=1e-5, atol=1e-6)
