"""The retrieval tool as a user calls it, on copies and crops of real photographs."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features, retrieval
from mmssl.evaluation.whitening import Whitening
from mmssl.models import build_algorithm
from mmssl.models.utils.pooling import get_rmac_descriptors
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = 'tools/benchmarks/retrieval'
CONFIGS = ROOT / 'configs/benchmarks/retrieval'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=3, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory, photographs):
    """A model with random weights, and a folder like Copydays: 12 originals, of each a crop and a coarse JPEG."""
    folder = tmp_path_factory.mktemp('retrieval')
    (folder / 'tiny.py').write_text(MODEL)
    torch.manual_seed(7)
    model = build_algorithm(load_config(folder / 'tiny.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'tiny.pth')
    for name in ('original', 'crops', 'jpegqual'):
        (folder / 'copydays' / name).mkdir(parents=True)
    boxes = [(photo, (x, y, x + 200, y + 180)) for photo in photographs for y in (0, 200) for x in (0, 200, 400)]
    for i, (photo, (x, y, x2, y2)) in enumerate(boxes):
        number = 200000 + 100 * i
        img = Image.fromarray(photo)
        img.crop((x, y, x2, y2)).save(folder / f'copydays/original/{number}.jpg', quality=95)
        img.crop((x + 8, y + 6, x2 - 8, y2 - 6)).save(folder / f'copydays/crops/{number + 1}.jpg', quality=90)
        img.crop((x, y, x2, y2)).save(folder / f'copydays/jpegqual/{number + 2}.jpg', quality=20)
    return folder, model


def call(run, folder, config, *arguments, **kwargs):
    return run(f'{FOLDER}/test_retrieval.py', folder / 'tiny.py', '--checkpoint', folder / 'tiny.pth',
               '--dataset-config', CONFIGS / f'{config}.py', '--image-size', 64, '--pool-type', 'average', '--work-dir',
               folder / 'log', '--cfg-options', 'data.workers_per_gpu=0', *arguments, **kwargs)


def test_copies_at_two_scales(files, run_tool, tmp_path):
    """The tool's numbers are those of extract_features, unit length, their mean, and run."""
    folder, model = files
    done = call(run_tool, folder, 'copydays', '--data-root', folder / 'copydays', '--scales', 1, 0.7071, '--out',
                tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found['whitening'] == 'none' and 'whitening: none' in done.stdout + done.stderr
    cfg = load_config(CONFIGS / 'copydays.py')
    descriptors = {}
    for split in ('database', 'query'):
        total = 0
        for size in (64, 45):
            cfg.data[split].data_source.data_prefix = str(folder / 'copydays')
            cfg.data[split].pipeline = [dict(type='ResizeLongerSide', size=size)]
            dataset = build_dataset(cfg.data[split])
            assert max(dataset[0]['img'].shape[:2]) == size
            features = extract_features(
                model, dataset, layers='stage4', batch_size=1, img_norm_cfg=cfg.img_norm_cfg)['stage4']
            total = total + features / np.linalg.norm(features, axis=1, keepdims=True)
        descriptors[split] = total
    expected = retrieval.run(descriptors['query'], descriptors['database'], dataset.data_source.ground_truth)
    assert found['all'] == pytest.approx(expected['all'] | dict(aps=pytest.approx(expected['all']['aps'])))
    # random weights; by chance it would be about 0.2
    assert found['all']['num_queries'] == 24 and found['all']['mAP'] > 0.5
    assert f"{100 * found['all']['mAP']:.2f}" in done.stdout + done.stderr


def test_whitening_and_two_processes(files, call_tool, tmp_path, free_port):
    """Two processes equal one to the bit; a whitening that was written is taken instead of learned anew.

    Images that cannot be read are not counted among those that it was learned on.
    """
    folder, _ = files
    shutil.copytree(folder / 'copydays/original', tmp_path / 'learn')
    (tmp_path / 'learn/empty.jpg').touch()
    arguments = ('--data-root', folder / 'copydays', '--whitening-data', tmp_path / 'learn', '--whitening-dims', 6)
    call(call_tool, folder, 'copydays', *arguments, '--whitening', tmp_path / 'w.npz', '--out', tmp_path / 'one.json')
    call(call_tool, folder, 'copydays', *arguments[:2], '--whitening', tmp_path / 'w.npz', '--out',
         tmp_path / 'again.json')
    env = {**os.environ, 'GPUS': '2', 'PORT': str(free_port()), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([
        'bash', ROOT / FOLDER / 'dist_test_retrieval.sh', folder / 'tiny.py', folder / 'tiny.pth', '--dataset-config',
        CONFIGS / 'copydays.py', '--image-size', '64', '--pool-type', 'average', '--cfg-options',
        'data.workers_per_gpu=0', *map(str, arguments), '--out', tmp_path / 'two.json'
    ],
                          env=env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    one, again, two = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('one', 'again', 'two'))
    assert one == two and 'learned on 12 images' in one['whitening']
    assert one['all'] == again['all'] and again['whitening'] == str(tmp_path / 'w.npz')


def test_a_part_of_everything(files, call_tool, tmp_path):
    """The first 5 originals, whose copies are 10 of 24 queries; a whitening learned on 9 images."""
    folder, _ = files
    call(call_tool, folder, 'copydays', '--data-root', folder / 'copydays', '--num-samples', 5, '--whitening-data',
         folder / 'copydays', '--whitening-samples', 9, '--whitening-dims', 4, '--out', tmp_path / 'some.json')
    some = json.loads((tmp_path / 'some.json').read_text())
    assert some['all']['num_queries'] == 10 and 'PCA learned on 9 images' in some['whitening']


def test_whitening_inside_r_mac(files, call_tool, tmp_path):
    """Learned on whole images, applied to regions; only there are regions to whiten."""
    folder, model = files
    arguments = ('--data-root', folder / 'copydays', '--whiten-regions', '--pool-type', 'rmac:2')
    learn = ('--whitening-data', folder / 'copydays/original', '--whitening-dims', 6)
    done = call(call_tool, folder, 'copydays', *arguments, *learn, '--whitening', tmp_path / 'w.npz', '--out',
                tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert '6 dimensions, whitening: PCA learned on' in done.stdout + done.stderr
    assert found['whitening'].endswith('original, of regions')
    cfg = load_config(CONFIGS / 'copydays.py')
    whitening, descriptors = Whitening.load(tmp_path / 'w.npz'), {}
    for split in ('database', 'query'):
        cfg.data[split].data_source.data_prefix = str(folder / 'copydays')
        cfg.data[split].pipeline = [dict(type='ResizeLongerSide', size=64)]
        dataset = build_dataset(cfg.data[split])
        maps = extract_features(
            model, dataset, layers='stage4', batch_size=1, img_norm_cfg=cfg.img_norm_cfg,
            pool_type=lambda x: get_rmac_descriptors(x, 2, whitening.apply))  # yapf: disable
        descriptors[split] = maps['stage4']
    expected = retrieval.run(descriptors['query'], descriptors['database'], dataset.data_source.ground_truth)
    assert found['all']['aps'] == pytest.approx(expected['all']['aps'])
    for wrong, message in (((*arguments[:3], '--pool-type', 'gem'), 'is for regions, those of --pool-type rmac'),
                           (arguments, '--whiten-regions needs a whitening'), ((*arguments, *learn, '--layers',
                                                                                'pooled'), 'pooled has no regions')):
        done = call(call_tool, folder, 'copydays', *wrong, check=False)
        assert done.returncode != 0 and message in done.stderr and 'Traceback' not in done.stderr


def test_class_folders_and_errors(files, call_tool, photo_folder, tmp_path):
    folder, _ = files
    call(call_tool, folder, 'folder', '--data-root', photo_folder, '--layers', 'stage3,stage4', '--kappas', 1, 3,
         '--out', tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert set(found) == {'stage3', 'stage4'} and found['stage4']['all']['num_queries'] == 24
    assert found['stage4']['all']['mP@1'] > 0.7 and 'mP@3' in found['stage4']['all']
    for config, root, arguments, message in [
        ('roxford5k', photo_folder, (), 'no ground truth gnd_roxford5k.pkl'),
        ('copydays', folder / 'log', (), 'Copydays: no images in'),
        ('folder', photo_folder, ('--whitening-data', photo_folder, '--whitening-dims', 99), '99 of them cannot'),
    ]:
        done = call(call_tool, folder, config, '--data-root', root, *arguments, check=False)
        assert done.returncode != 0 and message in done.stderr and 'Traceback' not in done.stderr


def test_arguments(run_tool, call_tool):
    for script in ('dist_test_retrieval', 'slurm_test_retrieval'):
        done = run_tool(f'{FOLDER}/{script}.sh', check=False)
        assert done.returncode == 2 and 'SELFSUP_CONFIG' in done.stdout
    done = call_tool(f'{FOLDER}/test_retrieval.py', 'x.py', '--scales', 0, check=False)
    assert done.returncode == 2 and 'must be positive' in done.stderr
