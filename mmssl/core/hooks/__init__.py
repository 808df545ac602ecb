# Copyright (c) mmssl contributors. All rights reserved.
from .checkpoint_hook import CheckpointHook
from .collapse_monitor import CollapseMonitorHook
from .composite import CompositeLrUpdaterHook
from .cosine_annealing import StepFixCosineAnnealingLrUpdaterHook
from .deepcluster_hook import ClusteringHook, DeepClusterHook
from .deepclusterv2_hook import DeepClusterV2Hook
from .densecl_hook import DenseCLHook
from .ema_hook import EMAHook
from .eval_hook import DistEvalHook, EvalHook
from .interclr_hook import InterCLRHook
from .knn_eval import KNNEvalHook
from .momentum_update_hook import MomentumUpdateHook
from .odc_hook import ODCHook
from .optimizer_hook import DistOptimizerHook, GradAccumFp16OptimizerHook
from .profiler_hook import ProfilerHook
from .progress_bar import ProgressBarLoggerHook
from .quality_hook import RepresentationQualityHook
from .schedule_hook import ScheduleHook
from .simsiam_hook import SimSiamHook
from .swav_hook import SwAVHook
from .text_logger import TextLoggerHook
from .uniform_scores import UniformScoresHook

__all__ = [
    'CheckpointHook', 'ClusteringHook', 'CollapseMonitorHook', 'CompositeLrUpdaterHook', 'DeepClusterHook',
    'DeepClusterV2Hook', 'DenseCLHook', 'DistEvalHook', 'DistOptimizerHook', 'EMAHook', 'EvalHook',
    'GradAccumFp16OptimizerHook', 'InterCLRHook', 'KNNEvalHook', 'MomentumUpdateHook', 'ODCHook', 'ProfilerHook',
    'ProgressBarLoggerHook', 'RepresentationQualityHook', 'ScheduleHook', 'SimSiamHook',
    'StepFixCosineAnnealingLrUpdaterHook', 'SwAVHook', 'TextLoggerHook', 'UniformScoresHook'
]
