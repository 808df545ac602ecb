"""All tools name checkpoints and layers in the same way."""
import argparse

import pytest

from mmssl.utils.evaluation_options import add_evaluation_options, layer_names
from mmssl.utils.picture_options import parse_picture_args


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_evaluation_options(parser, 'data.py')
    return parser.parse_args(list(argv))


def test_a_checkpoint_is_an_argument_or_an_option(capsys):
    for argv in (['c.py', 'a.pth'], ['c.py', '--checkpoint', 'a.pth'], ['--checkpoint=a.pth', 'c.py'],
                 ['--device', 'cpu', 'c.py', 'a.pth']):  # yapf: disable
        args = parse(*argv)
        assert (args.config, args.checkpoint) == ('c.py', 'a.pth')
    assert parse('c.py').checkpoint is None
    with pytest.raises(SystemExit):
        parse('c.py', 'a.pth', '--checkpoint', 'b.pth')
    assert 'the checkpoint is given twice: a.pth and b.pth' in capsys.readouterr().err
    for argv in (['i.jpg', 'c.py', 'a.pth'], ['i.jpg', 'c.py', '--checkpoint', 'a.pth'],
                 ['--checkpoint', 'a.pth', 'i.jpg', 'c.py']):  # yapf: disable
        args = parse_picture_args(argparse.ArgumentParser(), 'out.png', argv)
        assert (args.images, args.config, args.checkpoint) == (['i.jpg'], 'c.py', 'a.pth')


def test_names_of_layers():
    """One name a layer, the others are short for it."""
    assert layer_names('stage4,4 feat5') == ['stage4'] * 3 and layer_names('stem,0,feat1') == ['stage0'] * 3
    assert parse('c.py', '--layers', '4,neck', 'feat5', 'stage4').layers == ['stage4', 'neck']


def test_pictures_replace_no_images(tmp_path, capsys):
    """An image behind CONFIG CHECKPOINT was taken for the picture to write, and written over."""
    from mmssl.evaluation.plots import _figure, _save
    image, picture = tmp_path / 'image.png', tmp_path / 'picture.png'
    image.write_bytes(b'an image')
    _save(_figure(1, 1), picture)

    def parse(*argv):
        return parse_picture_args(argparse.ArgumentParser(), 'out.png', [*map(str, argv)])

    for argv, message in {
        ('a.py', 'a.pth', image): 'Images stand before CONFIG',
        (image, 'a.py', 'a.pth', '--out-file', image): 'an image to be drawn',
    }.items():  # yapf: disable
        with pytest.raises(SystemExit):
            parse(*argv)
        assert message in capsys.readouterr().err
    assert parse('b.png', 'a.py', 'a.pth', picture).out_file == str(picture)  # drawn again
    assert parse('a.py', 'a.pth', '--out-file', image).out_file == str(image)
