"""A folder's features against a loop over its files."""
import json
import os
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from mmssl.apis import embed_folder
from mmssl.apis.embedding import embed_patches, write_embeddings
from mmssl.datasets.data_sources.decode import BrokenImageError, decode_image
from mmssl.datasets.pipelines import Compose
from mmssl.evaluation import stored_features
from mmssl.models import build_backbone
from mmssl.utils.checkpoint import read_checkpoint, save_checkpoint
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write

CONFIG = """
model = dict(type='Classification', backbone=dict(type='ResNet', depth=10, stem_channels=8, base_channels=8))
img_norm_cfg = dict(mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory, photo_folder):
    """A config, a checkpoint, and a tree with images at its top and below; and the features by a plain loop."""
    root = tmp_path_factory.mktemp('embed')
    (root / 'config.py').write_text(CONFIG)
    torch.manual_seed(3)
    model = build_backbone(dict(type='ResNet', depth=10, stem_channels=8, base_channels=8))
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), root / 'backbone.pth')
    shutil.copytree(photo_folder, root / 'images')
    (root / 'images/flower/03.jpg').rename(root / 'images/eye.jpg')  # its place is between those of the folders
    pipeline = Compose([dict(type='Resize', size=37), dict(type='CenterCrop', size=32)])
    expected = {}
    model.eval()
    for path in sorted((root / 'images').rglob('*.jpg'), key=lambda p: str(p.relative_to(root / 'images'))):
        image = torch.from_numpy(pipeline(decode_image(path.read_bytes(), 'color', 'rgb', path))).double() / 255
        image = (image - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.3, 0.4])
        with torch.no_grad():
            maps = model(image.permute(2, 0, 1)[None].float())[-1]
        expected[str(path.relative_to(root / 'images'))] = maps[0].mean((1, 2)).numpy()
    return root, expected


def embed(root, folder=None, **options):
    return embed_folder(root / 'config.py', root / 'backbone.pth', folder or root / 'images',
                        **dict(dict(size=32), **options))  # yapf: disable


def init_backbone(root):
    model = build_backbone(dict(type='ResNet', depth=10, stem_channels=8, base_channels=8))
    model.load_state_dict(read_checkpoint(root / 'backbone.pth')['state_dict'])
    return model.eval()


def test_against_a_loop(files):
    root, expected = files
    found = embed(root, batch_size=7)
    assert found.files == list(expected) and found.files.index('eye.jpg') == 12 and not found.broken
    np.testing.assert_allclose(found.features, np.stack(list(expected.values())), rtol=1e-5, atol=1e-5)
    assert found.features.dtype == np.float32


@pytest.mark.long
@pytest.mark.parametrize('workers', [0, 1])
def test_broken_images_are_told(files, tmp_path, workers):
    root, expected = files
    shutil.copytree(root / 'images', tmp_path / 'images')
    (tmp_path / 'images/china/04.jpg').write_bytes(b'no image')
    (tmp_path / 'images/a.jpg').write_bytes((root / 'images/china/00.jpg').read_bytes()[:300])
    with pytest.raises(BrokenImageError, match='a.jpg'):
        embed(root, tmp_path / 'images', broken='stop', workers=workers)
    found = embed(root, tmp_path / 'images', workers=workers, batch_size=5)
    assert list(found.broken) == ['a.jpg', 'china/04.jpg'] and all(found.broken.values())
    assert found.files == [name for name in expected if name != 'china/04.jpg']
    np.testing.assert_allclose(found.features, [expected[name] for name in found.files], rtol=1e-5, atol=1e-5)
    shutil.rmtree(tmp_path / 'images/flower')
    for path in (tmp_path / 'images').rglob('*.jpg'):
        path.write_bytes(b'')
    with pytest.raises(ConfigError, match='all images are broken: 14 of 14 .*a.jpg'):
        embed(root, tmp_path / 'images')


def test_images_that_are_not_square(files):
    """They are scaled so that they cover 8/7 of the crop, whichever side decides that, and cut in the middle."""
    root, expected = files
    model = init_backbone(root)
    for size in ((16, 40), (40, 16)):
        found = embed(root, size=size)
        for name, features in zip(found.files[::9], found.features[::9]):
            image = decode_image((root / 'images' / name).read_bytes(), 'color', 'rgb', name)
            scale = max(round(wanted * 8 / 7) / side for wanted, side in zip(size, image.shape))
            sides = [round(scale * side) for side in image.shape[:2]]
            crop = Compose([dict(type='Resize', size=sides), dict(type='CenterCrop', size=size)])(image)
            assert crop.shape == (*size, 3)
            crop = (torch.from_numpy(crop).double() / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([.2, .3, .4])
            with torch.no_grad():
                maps = model(crop.permute(2, 0, 1)[None].float())[-1]
            np.testing.assert_allclose(features, maps[0].mean((1, 2)), rtol=1e-5, atol=1e-5)


def embed_patches_of(root, folder, output, **options):
    return embed_patches(root / 'config.py', root / 'backbone.pth', folder, output, dict(layer='patches'),
                         **dict(dict(size=64, part=7), **options))  # yapf: disable


def test_patches_against_a_loop(files, tmp_path, monkeypatch):
    """A vector for each position, part by part in a file; a run that was stopped goes on behind what is done."""
    root, expected = files
    shutil.copytree(root / 'images', tmp_path / "it's mine")
    (tmp_path / "it's mine/china/04.jpg").write_bytes(b'no image')
    seen, extract = [], stored_features.extract_alone

    def stopped(model, dataset, part, **options):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(part)
        return extract(model, dataset, part, **options)

    monkeypatch.setattr(stored_features, 'extract_alone', stopped)
    with pytest.raises(KeyboardInterrupt):
        embed_patches_of(root, tmp_path / "it's mine", tmp_path / 'a b.npy')
    monkeypatch.setattr(stored_features, 'extract_alone', lambda *a, **k: seen.append(a[2]) or extract(*a, **k))
    found = embed_patches_of(root, tmp_path / "it's mine", tmp_path / 'a b.npy')
    assert seen == [range(0, 7), range(7, 14), range(14, 21), range(21, 24)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a b.json', 'a b.npy', "it's mine"]
    assert isinstance(found.features, np.memmap) and found.features.shape == (23, 2, 2, 64)
    assert found.files == [name
                           for name in expected if name != 'china/04.jpg'] and list(found.broken) == ['china/04.jpg']
    assert json.loads((tmp_path / 'a b.json').read_text()) == dict(
        layer='patches', files=found.files, broken=found.broken)
    pipeline = Compose([dict(type='Resize', size=73), dict(type='CenterCrop', size=64)])
    model = init_backbone(root)
    for row in (0, 12, 22):
        name = found.files[row]
        image = torch.from_numpy(pipeline(decode_image((root / 'images' / name).read_bytes(), 'color', 'rgb', name)))
        image = (image.double() / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.3, 0.4])
        with torch.no_grad():
            maps = model(image.permute(2, 0, 1)[None].float())[-1][0]
        np.testing.assert_allclose(found.features[row], maps.permute(1, 2, 0), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match='features of patches are written as .npy'):
        embed_patches_of(root, root / 'images', tmp_path / 'a.parquet')


@pytest.mark.long
def test_patches_from_the_command_line(files, call_tool, tmp_path):
    root, expected = files
    done = call_tool('tools/embed.py', root / 'config.py', root / 'backbone.pth', root / 'images', tmp_path / 'a.npy',
                     '--size', 64, '--layer', 'stage3_patches')
    assert f'{tmp_path}/a.npy: 24 images, 4 x 4 x 32 dimensions; 0 broken' in done.stdout
    found = np.load(tmp_path / 'a.npy', mmap_mode='r')
    assert found.shape == (24, 4, 4, 32)
    call_tool('tools/embed.py', root / 'config.py', root / 'backbone.pth', root / 'images', tmp_path / 'b.npy',
              '--size', 64, '--layer', 'stage3_patches', processes=2)  # yapf: disable
    assert np.array_equal(np.load(tmp_path / 'b.npy'), found)
    assert (tmp_path / 'a.json').read_text() == (tmp_path / 'b.json').read_text()


def test_files_and_errors(files, tmp_path):
    root, expected = files
    found = embed(root)
    write_embeddings(found, tmp_path / 'a.npy', dict(layer='pooled'))
    assert np.load(tmp_path / 'a.npy').tobytes() == found.features.tobytes()
    facts = json.loads((tmp_path / 'a.json').read_text())
    assert facts == dict(layer='pooled', broken={}, files=list(expected))
    with pytest.raises(ConfigError, match='written as .npy or .parquet'):
        write_embeddings(found, tmp_path / 'a.csv', {})
    with pytest.raises(ConfigError, match="must be 'skip' or 'stop' here, got 'replace'"):
        embed(root, broken='replace')
    with pytest.raises(ConfigError, match='layer neck: Classification has no neck'):
        embed(root, layer='neck')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='no images in'):
        embed(root, tmp_path / 'empty')


def test_names_are_bytes(files, tmp_path):
    """Names in Latin-1 or with a line break come out of each format as they were, or are refused before the work."""
    root, _ = files
    (tmp_path / 'images').mkdir()
    names = [os.fsdecode(name) for name in (b'a\nb.jpg', b'k\xe4fer.jpg', b'line\x0bfeed \xff.jpg')]
    for name in names:
        shutil.copy(root / 'images/china/00.jpg', tmp_path / 'images' / name)
    (tmp_path / 'images' / names[1]).write_bytes(b'no image')
    with pytest.raises(ConfigError, match=r'out.parquet holds file names as UTF-8, which k\\xe4fer.jpg is not'):
        embed(root, tmp_path / 'images', output=tmp_path / 'out.parquet')
    found = embed(root, tmp_path / 'images', output=tmp_path / 'out.npy')
    write_embeddings(found, tmp_path / 'out.npy', {})
    facts = json.loads((tmp_path / 'out.json').read_text())
    assert facts['files'] == [names[0], names[2]] and list(facts['broken']) == [names[1]]
    with atomic_write(tmp_path / 'list.txt') as file:
        file.write(names[1])
    assert (tmp_path / 'list.txt').read_bytes() == os.fsencode(names[1])
    (tmp_path / 'images' / names[1]).unlink()
    (tmp_path / 'images' / names[2]).unlink()
    if find_spec('pyarrow'):
        write_embeddings(embed(root, tmp_path / 'images'), tmp_path / 'out.parquet', {})
        import pyarrow.parquet
        assert pyarrow.parquet.read_table(tmp_path / 'out.parquet')['file'].to_pylist() == names[:1]


def test_parquet(files, tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    root, expected = files
    found = embed(root)
    write_embeddings(found, tmp_path / 'a.parquet', dict(layer='pooled'))
    table = parquet.read_table(tmp_path / 'a.parquet')
    assert table['file'].to_pylist() == list(expected)
    assert np.array_equal(np.array(table['embedding'].to_pylist(), np.float32), found.features)
    assert json.loads(table.schema.metadata[b'mmssl']) == dict(layer='pooled', broken={})


def test_tool(files, tmp_path, run_tool, call_tool):
    root, expected = files
    shutil.copytree(root / 'images', tmp_path / 'images')
    (tmp_path / 'images/china/04.jpg').write_bytes(b'no image')
    command = ['tools/embed.py', root / 'config.py', root / 'backbone.pth', tmp_path / 'images', tmp_path / 'a.npy',
               '--size', 32, '--workers', 1]  # yapf: disable
    done = call_tool(*command, '--broken', 'stop', check=False)
    assert done.returncode and 'Traceback' not in done.stderr and not (tmp_path / 'a.npy').exists()
    assert 'error: cannot read the image' in done.stderr and 'china/04.jpg: no known kind' in done.stderr
    done = run_tool(*command)
    assert 'left out china/04.jpg' in done.stdout and '23 images, 64 dimensions; 1 broken' in done.stdout
    files = json.loads((tmp_path / 'a.json').read_text())['files']
    np.testing.assert_allclose(np.load(tmp_path / 'a.npy'), [expected[f] for f in files], rtol=1e-5, atol=1e-5)


def test_two_processes(files, tmp_path, call_tool):
    """They write what one does, once, and name broken images that either of them met."""
    root, expected = files
    shutil.copytree(root / 'images', tmp_path / 'images')
    for name in list(expected)[3:5]:
        (tmp_path / 'images' / name).write_bytes(b'no image')
    for processes, out in (1, 'one'), (2, 'two'):
        done = call_tool(
            'tools/embed.py',
            root / 'config.py',
            root / 'backbone.pth',
            tmp_path / 'images',
            tmp_path / f'{out}.npy',
            '--size',
            32,
            '--broken',
            'skip',
            processes=processes)
        assert done.stdout.count('22 images, 64 dimensions; 2 broken') == 1
    assert (tmp_path / 'one.json').read_text() == (tmp_path / 'two.json').read_text()
    one, two = np.load(tmp_path / 'one.npy'), np.load(tmp_path / 'two.npy')
    np.testing.assert_allclose(two, one, rtol=1e-6, atol=1e-6)  # batches of other images round otherwise
