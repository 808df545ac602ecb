"""Folders of images of many channels, read by tools as the training read its own."""
import numpy as np
import pytest
import torch

from mmssl.evaluation.stored_features import load_features
from mmssl.models import build_backbone
from mmssl.utils.checkpoint import save_checkpoint

CONFIG = """
model = dict(
    type='Classification', backbone=dict(type='ResNet', depth=10, in_channels=5, stem_channels=8, base_channels=8))
source = dict(type='Folder', data_prefix='nowhere', depth='stored', layout='CHW', extensions=['.npy'], nodata=0)
data = dict(train=dict(type='RepeatDataset', times=2, dataset=dict(
    type='MultiViewDataset', data_source=source, num_views=[2], pipelines=[[]], prefetch=True)))
img_norm_cfg = dict(mean=[100., 200., 300., 400., 500.], std=[50., 60., 70., 80., 90.], max_value=1)
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config and a checkpoint, class folders of .npy files with missing pixels, and their features by a loop."""
    root, rng = tmp_path_factory.mktemp("a user's tiles"), np.random.default_rng(0)
    (root / 'config.py').write_text(CONFIG)
    torch.manual_seed(3)
    model = build_backbone(dict(type='ResNet', depth=10, in_channels=5, stem_channels=8, base_channels=8)).eval()
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), root / 'backbone.pth')
    mean, std = np.arange(100., 600, 100), np.arange(50., 100, 10)
    expected = {}
    for split in ('train', 'val', 'crops'):
        rows = []
        for i in range(6):
            tile = rng.integers(7, 1000, (5, 32, 32)).astype(np.uint16)
            tile[:, :4 + i, :5] = 0
            (root / split / 'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
            np.save(root / split / 'ab'[i % 2] / f'{i // 2}.npy', tile)
            tile = (tile.transpose(1, 2, 0) - mean) / std * (tile.transpose(1, 2, 0) != 0)
            tile = tile[2:30, 2:30] if split == 'crops' else tile
            with torch.no_grad():
                rows.append(model(torch.from_numpy(tile.transpose(2, 0, 1)).float()[None])[-1][0].mean((1, 2)).numpy())
        expected[split] = np.stack(rows[::2] + rows[1::2])
    return root, expected


def test_embed(files, call_tool):
    """Of 28 pixels in the middle of 32, which Resize leaves as they are."""
    root, expected = files
    call_tool('tools/embed.py', root / 'config.py', root / 'backbone.pth', root / 'crops', root / 'features.npy',
              '--size', 28, '--workers', 0)  # yapf: disable
    np.testing.assert_allclose(np.load(root / 'features.npy'), expected['crops'], rtol=1e-4, atol=1e-5)


def test_data_root(files, call_tool):
    """As the training read them, and otherwise by options."""
    root, expected = files
    found = {}
    for name, *options in (('same', ), ('filled', 'data.val.data_source.nodata=None')):
        call_tool('tools/extract_features.py', root / 'config.py', '--checkpoint', root / 'backbone.pth', '--data-root',
                  root, '--out-dir', root / name, '--workers', 0, '--cfg-options', 'data.train.pipeline=[]',
                  'data.val.pipeline=[]', *options)  # yapf: disable
        found[name] = {split: load_features(root / name, split)[0] for split in ('train', 'val')}
    for split in ('train', 'val'):
        np.testing.assert_allclose(found['same'][split]['pooled'], expected[split], rtol=1e-4, atol=1e-5)
        assert found['same'][split].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(found['filled']['train']['pooled'], found['same']['train']['pooled'])
    assert np.abs(found['filled']['val']['pooled'] - expected['val']).max() > 1e-2
