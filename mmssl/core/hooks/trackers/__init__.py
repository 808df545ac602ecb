# Copyright (c) mmssl contributors. All rights reserved.
"""Experiment trackers: each gets all that is logged, the config and the end of the training."""
from .aim import AimLoggerHook
from .base import TrackerHook, as_number, send_to_trackers
from .clearml import ClearMLLoggerHook
from .comet import CometLoggerHook
from .dvclive import DvcliveLoggerHook
from .mlflow import MlflowLoggerHook
from .neptune import NeptuneLoggerHook
from .tensorboard import TensorboardLoggerHook
from .wandb import WandbLoggerHook

__all__ = [
    'AimLoggerHook', 'ClearMLLoggerHook', 'CometLoggerHook', 'DvcliveLoggerHook', 'MlflowLoggerHook',
    'NeptuneLoggerHook', 'TensorboardLoggerHook', 'TrackerHook', 'WandbLoggerHook', 'as_number', 'send_to_trackers'
]
