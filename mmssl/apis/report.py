# Copyright (c) mmssl contributors. All rights reserved.
"""The report of a run that is there: under way, finished, or of long ago."""
from pathlib import Path

from mmssl.datasets import build_dataset
from mmssl.evaluation.run_pictures import Gallery, gallery_of_training, look, look_at_views
from mmssl.evaluation.run_record import read_run
from mmssl.evaluation.run_report import PAGE, load_pictures, save_pictures, write_page
from mmssl.utils.checkpoint import training_checkpoints
from mmssl.utils.config import config_section
from mmssl.utils.errors import ConfigError, describe
from mmssl.utils.logger import get_root_logger
from .inference import pretrained_model


def write_report(work_dir, path=None):
    """Write the report of a run: curves, warnings, views, nearest neighbours, a map of the features, its evaluations.

    Pictures that ReportHook took while training are used again. Where there are none, or none of the last checkpoint,
    they are made by the last checkpoint and the data of the training; if these are not there, the report says so.

    Args:
        work_dir (str | Path): Folder of the run.
        path (str | Path, optional): Where to write to; report.html in the folder by default.

    Returns:
        Path: The page.

    Raises:
        FileNotFoundError: There is no such folder, or it is not that of a run.
    """
    record = read_run(work_dir)
    pictures = load_pictures(work_dir)
    if record.state != 'running':  # else its hook takes them, and the machine is busy
        pictures = _completed(record, pictures)
    path = Path(path) if path else Path(work_dir) / PAGE
    write_page(path, record, pictures)
    return path


def _completed(record, pictures):
    """Pictures with what the last checkpoint shows, where they lack it."""
    found = training_checkpoints(record.folder)
    last = found[0] if found else None
    seen = (pictures.get('now') or {}).get('iteration')
    if last is None or seen is not None and seen >= last.iter:
        return pictures
    try:
        pictures = _look(record, last, pictures)
        save_pictures(record.folder, pictures)
    except Exception as error:  # of data that are gone, or a model that is of another version
        words = describe(error)
        get_root_logger().warning('no pictures of %s: %s', last.path.name, words)
        pictures = dict(pictures, note=f'There are no pictures of {last.path.name}: {words}')
    return pictures


def _look(record, checkpoint, pictures):
    cfg = record.cfg
    if not cfg.get('model') or not (cfg.get('data') or {}).get('train'):
        raise ConfigError(f'{record.folder} holds no config with a model and data')
    hook = next((hook for hook in cfg.get('custom_hooks') or () if hook.get('type') == 'ReportHook'), {})
    with config_section(cfg, 'data'):
        training = build_dataset(cfg.data.train)
    norm = hook.get('img_norm_cfg') or cfg.get('img_norm_cfg')
    dataset = hook.get('dataset')
    if dataset:
        dataset = build_dataset(dataset)
    else:
        dataset, norm = gallery_of_training(training, norm)
    known = pictures.get('gallery')
    # the images that it began with, so that it can be compared with its start
    count, seconds = (len(known['names']), None) if known else (hook.get('max_images', 500), 20)
    gallery = Gallery(dataset, count, norm, seconds)
    same = known and known['names'] == gallery.names
    model = pretrained_model(cfg, str(checkpoint.path)).eval()
    epoch = checkpoint.epoch if record.unit == 'epoch' else None
    now = look(gallery.features(model), gallery.labels, checkpoint.iter, epoch, pictures.get('now') if same else None)
    return dict(
        views=pictures.get('views') or look_at_views(training, hook.get('views', 6), cfg.get('seed'), norm),
        gallery=gallery.describe(),
        first=pictures.get('first') if same else None,
        now=now)
