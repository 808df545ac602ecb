"""What MAE and SimMIM rebuild, as images: every panel to the grey level."""
import argparse
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from mmssl.apis import init_model, set_random_seed
from mmssl.apis.pictures import open_images, open_model
from mmssl.datasets.pipelines.mask import SimMIMMaskGenerator
from mmssl.evaluation.reconstruction import HIDDEN, reconstruct
from mmssl.models import build_neck
from mmssl.models.utils.position_embedding import resize_pos_embed
from mmssl.utils.errors import ConfigError
from mmssl.utils.picture_options import parse_picture_args

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/misc/mae_visualization.py'
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def mae(norm_pix, img_size, patch_size, channels):
    return dict(
        type='MAE',
        backbone=dict(type='MAEViT', arch=ARCH, img_size=img_size, patch_size=patch_size, in_channels=channels),
        neck=dict(
            type='MAEPretrainDecoder',
            num_patches=(img_size // patch_size)**2,
            patch_size=patch_size,
            in_chans=channels,
            embed_dim=16,
            decoder_embed_dim=16,
            decoder_depth=1,
            decoder_num_heads=2),
        head=dict(type='MAEPretrainHead', norm_pix=norm_pix, patch_size=patch_size))


SIMMIM = dict(
    type='SimMIM',
    backbone=dict(
        type='SimMIMSwinTransformer',
        arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
        out_indices=(1, ),
        stage_cfgs=dict(block_cfgs=dict(window_size=4))),
    neck=dict(type='SimMIMNeck', in_channels=16, encoder_stride=8),
    head=dict(type='SimMIMHead', patch_size=4, encoder_in_channels=3))
MASKS = dict(type='SimMIMMaskGenerator', input_size=64, mask_patch_size=16, model_patch_size=4, mask_ratio=0.6)
COLOR = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
GREY = dict(mean=[0.3], std=[0.35])


@pytest.fixture(scope='module')
def trained(tmp_path_factory, photo_folder):
    """Files of config and initial weights, by name."""
    files = {}

    def add(name, model, source, pipeline, norm):
        folder = tmp_path_factory.mktemp(name)
        data = dict(
            train=dict(type='SingleViewDataset', data_source=source, pipeline=pipeline, prefetch=True),
            plain=dict(type='SingleViewDataset', data_source=source, pipeline=pipeline[:1], prefetch=True))
        (folder / f'{name}.py').write_text(f'model = {model!r}\ndata = {data!r}\nimg_norm_cfg = {norm!r}\n')
        torch.manual_seed(3)
        torch.save(
            dict(state_dict=init_model(str(folder / f'{name}.py'), device='cpu').state_dict()), folder / f'{name}.pth')
        files[name] = str(folder / f'{name}.py'), str(folder / f'{name}.pth')

    photos = dict(type='Folder', data_prefix=str(photo_folder))
    crop = dict(type='RandomResizedCrop', size=64)
    digits = dict(type='Digits', color_type='grayscale', split='all')
    add('digits', mae(False, 8, 2, 1), digits, [], GREY)
    add('digits_norm', mae(True, 8, 2, 1), digits, [], GREY)
    add('photos', mae(True, 32, 8, 3), photos, [dict(crop, size=32)], COLOR)
    add('simmim', SIMMIM, photos, [crop, MASKS], COLOR)
    moco = dict(
        type='MoCo',
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
        neck=dict(type='MoCoV2Neck', in_channels=32, hid_channels=8, out_channels=8),
        head=dict(type='ContrastiveHead'),
        queue_len=8,
        feat_dim=8)
    add('moco', moco, photos, [crop], COLOR)
    return files


def parse(*argv):
    return parse_picture_args(argparse.ArgumentParser(), 'a.png', [*map(str, argv), '--device', 'cpu'])


def opened(*argv):
    """Model, captions, batch and normalisation as the tool has them."""
    args = parse(*argv)
    cfg, model = open_model(args, ('backbone', 'neck'))
    return model, *open_images(args, cfg, model)


def run(monkeypatch, *argv):
    """The tool in this process."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, argv)])
    runpy.run_path(str(ROOT / TOOL))['main']()


def check_panels(result, patch, hidden_patches):
    """The mask hides whole patches, so many of them; elsewhere nothing changes, and below it the prediction shows."""
    mask = result.mask
    patches = mask.reshape(mask.shape[0] // patch, patch, -1, patch).mean((1, 3))
    assert np.isin(patches, (0, 1)).all() and patches.sum() == hidden_patches
    assert np.array_equal(result.pasted[~mask], result.original[~mask])
    assert np.array_equal(result.pasted[mask], result.reconstruction[mask])
    assert (result.masked[~mask] == result.original[~mask]).all() and (result.masked[mask] == HIDDEN).all()
    off = [
        abs(int(a) - int(b)) for hidden, row, other in zip(mask.ravel(), result.original.reshape(mask.size, -1),
                                                           result.reconstruction.reshape(mask.size, -1)) if hidden
        for a, b in zip(row, other)
    ]
    assert result.error == pytest.approx(sum(off) / len(off))


@pytest.mark.parametrize('name', ['digits', 'digits_norm'])
def test_panels_of_mae(trained, name):
    """On digits: the originals are the stored images, the reconstruction is what the model predicts."""
    picked = [0, 5, 1796]
    model, captions, img, norm = opened(*trained[name], '--idx', *picked, '--seed', 4)
    assert captions == ['sample 0', 'sample 5', 'sample 1796']
    set_random_seed(4)
    results = reconstruct(model, img, norm)
    set_random_seed(4)
    pred, mask = model.reconstruct(img)
    stored = np.round(load_digits().images[picked] * 255 / 16)
    for i, result in enumerate(results):
        check_panels(result, 2, 12)
        assert np.array_equal(result.original[..., 0], stored[i])
        for j in range(16):
            place = np.s_[j // 4 * 2:j // 4 * 2 + 2, j % 4 * 2:j % 4 * 2 + 2]
            values = pred[i, j].detach().numpy().reshape(2, 2)
            if name == 'digits_norm':
                patch = (stored[i][place] / 255 - 0.3) / 0.35
                values = values * (patch.var(ddof=1) + 1e-6)**0.5 + patch.mean()
            grey = np.clip((values * 0.35 + 0.3) * 255, 0, 255)
            assert np.abs(grey - result.reconstruction[place][..., 0]).max() <= 0.51
            assert (result.mask[place] == mask[i, j].item()).all()
    masks = np.array([result.mask for result in results])
    assert (masks[0] != masks[1]).any()  # each image has a mask of its own, and each seed others
    set_random_seed(5)
    assert (masks != [result.mask for result in reconstruct(model, img, norm)]).any()


@pytest.mark.parametrize('name', ['digits_norm', 'photos'])
def test_true_patches_give_the_original(trained, monkeypatch, name):
    """Normalised by their own mean and deviation, they come back to the grey level."""
    model, _, img, norm = opened(*trained[name], '--samples', 4)

    def truth(img):
        patches = model.head.patchify(img).double()
        pred = (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
        return pred.float(), model.backbone(img)[1]

    monkeypatch.setattr(model, 'reconstruct', truth)
    for result in reconstruct(model, img, norm):
        assert np.array_equal(result.reconstruction, result.original) and result.error == 0


def test_simmim(trained, photo_folder, tmp_path):
    """Masks come from the generator of the config, for files and for samples of the data."""
    photo = photo_folder / 'china/00.jpg'
    model, captions, img, norm = opened(photo, *trained['simmim'], '--seed', 2)
    assert captions == ['00.jpg'] and img[0].shape == (1, 3, 64, 64)
    result, = reconstruct(model, img, norm)
    count = SimMIMMaskGenerator(**{k: v for k, v in MASKS.items() if k != 'type'}).draw_mask().sum()
    check_panels(result, 4, count)
    expected = model.neck(model.backbone(img[0], img[1])[-1])[0].detach().permute(1, 2, 0).numpy()
    expected = np.clip((expected * COLOR['std'] + COLOR['mean']) * 255, 0, 255)
    assert np.abs(result.reconstruction - expected).max() <= 0.51
    assert np.array_equal(result.mask, img[1][0].numpy().repeat(4, 0).repeat(4, 1))
    for seed, same in ((2, True), (3, False)):
        again = opened(photo, *trained['simmim'], '--seed', seed)[2]
        assert again[1].equal(img[1]) == same

    model, captions, img, norm = opened(*trained['simmim'], '--samples', 3)
    assert captions == ['00.jpg\nsample 0', '11.jpg\nsample 11', '11.jpg\nsample 23']
    for result in reconstruct(model, img, norm):
        check_panels(result, 4, count)


def test_sizes_of_files(trained, photographs, tmp_path):
    """What has the size is not touched; else the image is scaled to cover the size, and the middle is cut out."""
    exact = photographs[0][:32, :32]
    Image.fromarray(exact).save(tmp_path / 'exact.png')
    Image.fromarray(photographs[1]).save(tmp_path / 'photo.png')
    _, captions, img, norm = opened(tmp_path, *trained['photos'])
    assert captions == ['exact.png', 'photo.png'] and img.shape == (2, 3, 32, 32)
    pixels = (img * torch.tensor(norm['std']).view(3, 1, 1) + torch.tensor(norm['mean']).view(3, 1, 1)) * 255
    pixels = pixels.permute(0, 2, 3, 1).numpy()
    assert np.abs(pixels[0] - exact).max() < 1e-3
    small = Image.fromarray(photographs[1]).resize((48, 32), Image.BICUBIC)  # of 427 x 640
    assert np.abs(pixels[1] - np.asarray(small)[:, 8:40]).max() < 1.5

    # wider than the model's: the positions of encoder and decoder are interpolated
    model, _, img, norm = opened(tmp_path / 'photo.png', *trained['photos'], '--size', 32, 48)
    assert img.shape == (1, 3, 32, 48)
    result, = reconstruct(model, img, norm)
    check_panels(result, 8, 4 * 6 - 6)
    assert np.abs(result.original - np.asarray(small).astype(int)).max() < 1.5


def test_decoder_of_another_grid(trained):
    """As a decoder made for the grid, which has the interpolated positions."""
    model = init_model(*trained['photos'], device='cpu')
    wide = build_neck({**model.cfg.model.neck, 'num_patches': (4, 6)})
    positions = resize_pos_embed(model.neck.decoder_pos_embed, (4, 4), (4, 6))
    wide.load_state_dict({**model.neck.state_dict(), 'decoder_pos_embed': positions})
    img = torch.randn(2, 3, 32, 48)
    set_random_seed(1)
    pred, mask = model.reconstruct(img)
    set_random_seed(1)
    latent, expected_mask, places = model.backbone(img)
    assert mask.equal(expected_mask) and pred.equal(wide(latent, places))
    own = model.reconstruct(img[..., :32])[0]
    assert own.shape == (2, 16, 192)


def test_the_tool(trained, run_tool, photo_folder, tmp_path):
    """A folder of photographs; the mean error it prints is that of the model."""
    done = run_tool(TOOL, photo_folder, *trained['photos'], '--out-file', tmp_path / 'new/a.png', '--samples', 3,
                    '--seed', 9, '--device', 'cpu')
    model, _, img, norm = opened(photo_folder, *trained['photos'], '--samples', 3, '--seed', 9)
    mean = np.mean([result.error for result in reconstruct(model, img, norm)])
    assert f'3 images, masked pixels {mean:.1f} of 255 off on average: {tmp_path}/new/a.png' in done.stdout
    width, height = Image.open(tmp_path / 'new/a.png').size
    assert width > 4 * 1.6 * 130 and height > 3 * 1.6 * 130  # four panels wide, three images high


def test_the_picture(trained, tmp_path, monkeypatch, capsys):
    """The call of MMSelfSup, with the output behind; the hidden share of a panel is in the picture."""
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(tmp_path / 'grey.png')
    run(monkeypatch, tmp_path / 'grey.png', *trained['photos'], tmp_path / 'b.png', '--device', 'cpu')
    assert re.search(r'1 images, masked pixels [\d.]+ of 255 off', capsys.readouterr().out)
    picture = np.asarray(Image.open(tmp_path / 'b.png').convert('RGB')).astype(int)
    grey, hidden = ((np.abs(picture - color).sum(2) < 12).sum() for color in ((200, ) * 3, HIDDEN))
    panel = (1.6 * 130)**2
    assert hidden / panel == pytest.approx(0.75, rel=0.03)
    assert grey / panel > 0.97 * (1 + 0.25 + 0.25)  # the original, and what is visible of the masked and pasted ones


def test_options():
    args = parse('a.jpg', 'folder', 'c.py', 'd.pth', 'out.svg', '--size', 32)
    assert (args.images, args.config, args.checkpoint, args.out_file) == (['a.jpg',
                                                                           'folder'], 'c.py', 'd.pth', 'out.svg')
    args = parse('a.jpg', '--seed', 3, 'c.py', '--samples', 2, 'd.pth')
    assert (args.images, args.config, args.checkpoint, args.out_file) == (['a.jpg'], 'c.py', 'd.pth', 'a.png')
    assert parse('c.py', 'd.pth').images == []
    for wrong in (['--out-file', 'a.gif'], ['--size', 32], ['--samples', 0]):
        with pytest.raises(SystemExit):
            parse('c.py', 'd.pth', *wrong)


@pytest.mark.parametrize('name, options, message', [
    ('moco', [], 'MoCo has no decoder that rebuilds pixels'),
    ('photos', ['{tmp}/absent.jpg'], 'no such image or folder: .*absent.jpg'),
    ('photos', ['{tmp}'], 'no images in '),
    ('photos', ['{tmp}/torn.txt'], r'no image is left: 1 of 1 .*torn.txt \(no known kind of image\)'),
    ('photos', ['--idx', 24], '--idx 24: the data has the samples 0 to 23'),
    ('photos', ['--data', 'data.trian'], "no 'data.trian'; did you mean 'trian' by the 'train'"),
    ('photos', ['{photo}', '--size', 30], 'images of 30 x 30 pixels have no whole number of patches of 8 x 8'),
    ('simmim', ['{photo}', '--size', 32], r'--size \[32\]: the masks of the config'),
    ('simmim', ['--data', 'data.plain'], 'let the pipeline end with the mask generator'),
    ('photos', ['--cfg-options', 'model.type=MEA'], "'MEA' is not a registered"),
    ('photos', ['--device', 'cuda:0'], '--device cuda:0: there is no GPU here'),
])  # yapf: disable
def test_errors(trained, photo_folder, tmp_path, monkeypatch, name, options, message):
    (tmp_path / 'torn.txt').write_text('no image')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    options = [str(o).format(tmp=tmp_path, photo=photo_folder / 'china/00.jpg') for o in options]
    images = [o for o in options[:1] if o[0] == '/']
    with pytest.raises((ConfigError, FileNotFoundError), match=message):
        run(monkeypatch, *images, *trained[name], *options[len(images):], '--out-file', tmp_path / 'a.png')
    assert not (tmp_path / 'a.png').exists()


def test_wrong_checkpoints(trained, tmp_path, monkeypatch):
    weights = torch.load(trained['photos'][1])['state_dict']
    backbone = {k: v for k, v in weights.items() if k.startswith('backbone.')}
    for state, message in ((dict(other=torch.zeros(2)), 'nothing in .* fits the model'),
                           (backbone, r'random weights in the neck, which .* \(neck.mask_token')):
        torch.save(dict(state_dict=state), tmp_path / 'a.pth')
        with pytest.raises(ConfigError, match=message):
            run(monkeypatch, trained['photos'][0], tmp_path / 'a.pth', '--out-file', tmp_path / 'a.png')
