"""The tools that draw features of patches, as a user starts them."""
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.apis import init_model
from mmssl.evaluation.features import features_of
from mmssl.evaluation.patches import component_colours, foreground, magnified, match_patches, unit_features
from mmssl.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PCA, MATCHES = 'tools/analysis_tools/visualize_pca.py', 'tools/analysis_tools/visualize_matches.py'
NORM = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
BACKBONES = dict(
    vit=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=(24, 32),
        patch_size=8),
    resnet=dict(type='ResNet_CIFAR', depth=10, base_channels=4, stem_channels=4))


@pytest.fixture(scope='module', params=BACKBONES)
def files(request, tmp_path_factory):
    """A config and a checkpoint in a folder with a space and an apostrophe in its name."""
    folder = tmp_path_factory.mktemp("Ann's run")
    model = dict(type='Classification', backbone=BACKBONES[request.param])
    (folder / 'net.py').write_text(f'model = {model!r}\nimg_norm_cfg = {NORM!r}\n')
    torch.manual_seed(2)
    torch.save(dict(state_dict=init_model(str(folder / 'net.py'), device='cpu').state_dict()), folder / 'weights 1.pth')
    return folder / 'net.py', folder / 'weights 1.pth'


def run(monkeypatch, tool, folder, *argv):
    """The tool in this process, in another folder; the arguments of what draws."""
    from mmssl.evaluation import plots
    drawn = []
    for name in ('plot_views', 'plot_matches'):
        draw = getattr(plots, name)
        monkeypatch.setattr(plots, name, lambda *a, draw=draw, **k: drawn.append(a) or draw(*a, **k))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, argv)])
    runpy.run_path(str(ROOT / tool))['main']()
    return drawn[0]


def crops(photo_folder, names, files):
    """Images of 24 x 32 pixels, which tools leave as they are, and their features."""
    img = np.stack([np.asarray(Image.open(photo_folder / name).resize((32, 24))) for name in names])
    model = init_model(*map(str, files), device='cpu')
    x = torch.from_numpy((img / 255 - NORM['mean']) / NORM['std']).permute(0, 3, 1, 2).float()
    return img, features_of(model, x, 'patches')


def test_pca(files, photo_folder, tmp_path, monkeypatch, capsys):
    names = ('china/01.jpg', 'flower/02.jpg')
    img, maps = crops(photo_folder, names, files)
    for i, image in enumerate(img):
        Image.fromarray(image).save(tmp_path / f"it's {i}.png")
    argv = ["it's 0.png", "it's 1.png", *files, '--out-file', 'a b.png', '--size', 24, 32]
    samples = run(monkeypatch, PCA, tmp_path, *argv)[0]
    for (stored, (((tile, ), ), )), image, picture in zip(
            samples, img, component_colours(unit_features(maps)), strict=True):
        assert np.array_equal(stored.image, image)
        assert np.abs(tile.image.astype(int) - magnified(picture, image)).max() <= 1
    assert Image.open(tmp_path / 'a b.png').size[0] > 200
    rows, columns, dims = maps.shape[1:]
    assert f'2 images, {rows} x {columns} patches of {dims} dimensions (patches): a b.png' in capsys.readouterr().out
    alone = run(monkeypatch, PCA, tmp_path, *argv, '--per-image', '--foreground=above')[0]
    assert any((block[0][0].image == 0).all(2).any() for _, (block, ) in alone)


def test_matches(files, photo_folder, tmp_path, monkeypatch, capsys):
    img, maps = crops(photo_folder, ('china/01.jpg', 'china/06.jpg'), files)
    for i, image in enumerate(img):
        Image.fromarray(image).save(tmp_path / f"it's {i}.png")
    argv = ["it's 0.png", "it's 1.png", *files, '--out-file', 'm.png', '--size', 24, 32]
    pairs = run(monkeypatch, MATCHES, tmp_path, *argv, '--points', '31,23', '0,9')[3]
    rows, columns = maps.shape[1:3]
    patches = [(rows - 1, columns - 1), (9 * rows // 24, 0)]
    first, second = unit_features(maps)
    assert pairs == [(m.first, m.second, m.mutual) for m in match_patches(first, second, patches)]
    pairs = run(monkeypatch, MATCHES, tmp_path, *argv, '--count', 3)[3]
    assert 0 < len(pairs) <= 3 and all(mutual for _, _, mutual in pairs)
    kept = run(monkeypatch, MATCHES, tmp_path, *argv, '--count', 99, '--foreground')[3]
    assert kept == [(m.first, m.second, True)
                    for m in match_patches(first, second, count=99, masks=foreground([first, second]))]
    with pytest.raises(SystemExit):
        run(monkeypatch, MATCHES, tmp_path, *argv, '--foreground', '--points', '1,1')
    assert 'similarity' in capsys.readouterr().out and (tmp_path / 'm.png').exists()
    for wrong, message in ((['--points', '32,0'], '--points 32,0 is outside the first image of 32 x 24 pixels'),
                           (['--layer', 'pooled'], '--layer pooled has no patches'),
                           (['--layer', 'stage9_patches'], '--layer stage9_patches: .*stage9')):
        with pytest.raises(ConfigError, match=message):
            run(monkeypatch, MATCHES, tmp_path, *argv, *wrong)
    with pytest.raises(ConfigError, match='matches are those of two images, got 1'):
        run(monkeypatch, MATCHES, tmp_path, *argv[1:])


@pytest.mark.parametrize('tool', [PCA, MATCHES])
def test_started(tool, run_tool, photo_folder, tmp_path):
    (tmp_path / 'net.py'
     ).write_text(f"model = {dict(type='Classification', backbone=BACKBONES['resnet'])!r}\nimg_norm_cfg = {NORM!r}\n")
    torch.save(dict(state_dict=init_model(str(tmp_path / 'net.py'), device='cpu').state_dict()), tmp_path / 'a.pth')
    done = run_tool(tool, photo_folder / 'china/00.jpg', photo_folder / 'china/01.jpg', tmp_path / 'net.py',
                    tmp_path / 'a.pth', tmp_path / 'b.png', '--size', 48)
    assert '6 x 6 patches' in done.stdout and (tmp_path / 'b.png').exists()
