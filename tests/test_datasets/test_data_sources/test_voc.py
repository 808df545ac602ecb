"""Lists of Pascal VOC, right and wrong."""
import numpy as np
import pytest
from PIL import Image

from mmssl.datasets.data_sources import VOC
from mmssl.utils.errors import ConfigError

CLASSES = ['aeroplane', 'bicycle']


@pytest.fixture
def root(tmp_path, photographs):
    (tmp_path / 'JPEGImages').mkdir()
    (tmp_path / 'ImageSets/Main').mkdir(parents=True)
    for i, photo in enumerate(photographs):
        Image.fromarray(photo[:40, :60]).save(tmp_path / f'JPEGImages/00000{i}.jpg')
    (tmp_path / 'ImageSets/Main/aeroplane_trainval.txt').write_text('000000  1\n000001 -1\n')
    (tmp_path / 'ImageSets/Main/bicycle_trainval.txt').write_text('000000  0\n000001  1\n')
    return tmp_path


def test_targets(root):
    source = VOC(str(root), classes=CLASSES)
    np.testing.assert_array_equal(source.targets, [[1, -1], [0, 1]])
    assert source.targets.dtype == np.int8 and len(source) == 2 and (source.labels == -1).all()
    assert np.asarray(source.get_img(1)).shape == (40, 60, 3)


def test_what_is_wrong_is_named(root):
    lists = root / 'ImageSets/Main'
    with pytest.raises(ConfigError, match="got 'tests'"):
        VOC(str(root), split='tests')
    with pytest.raises(FileNotFoundError, match='aeroplane_test.txt'):
        VOC(str(root), split='test', classes=CLASSES)
    with pytest.raises(FileNotFoundError, match='bird_trainval.txt'):
        VOC(str(root), classes=['aeroplane', 'bird'])
    (lists / 'bicycle_trainval.txt').write_text('000000  1\n000001  2\n')
    with pytest.raises(ConfigError, match='line 2: expected a name and 1, 0 or -1'):
        VOC(str(root), classes=CLASSES)
    (lists / 'bicycle_trainval.txt').write_text('000001  1\n000000 -1\n')
    with pytest.raises(ConfigError, match='names other images'):
        VOC(str(root), classes=CLASSES)
    for name in CLASSES:
        (lists / f'{name}_trainval.txt').write_text('\n')
    with pytest.raises(ConfigError, match='name no image'):
        VOC(str(root), classes=CLASSES)
