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
from .gpu_stats_hook import GPUStatsHook
from .histogram_hook import HistogramHook
from .interclr_hook import InterCLRHook
from .knn_eval import KNNEvalHook
from .model_summary_hook import ModelSummaryHook
from .momentum_update_hook import MomentumUpdateHook
from .odc_hook import ODCHook
from .optimizer_hook import DistOptimizerHook, GradAccumFp16OptimizerHook
from .phase_timer_hook import PhaseTimerHook
from .profiler_hook import ProfilerHook
from .progress_bar import ProgressBarLoggerHook
from .quality_hook import RepresentationQualityHook
from .report_hook import ReportHook
from .schedule_hook import ScheduleHook
from .simsiam_hook import SimSiamHook
from .swav_hook import SwAVHook
from .text_logger import TextLoggerHook
from .trackers import (AimLoggerHook, ClearMLLoggerHook, CometLoggerHook, DvcliveLoggerHook, MlflowLoggerHook,
                       NeptuneLoggerHook, TensorboardLoggerHook, TrackerHook, WandbLoggerHook)
from .uniform_scores import UniformScoresHook
from .views_hook import ViewsHook

__all__ = [
    'AimLoggerHook', 'CheckpointHook', 'ClearMLLoggerHook', 'ClusteringHook', 'CollapseMonitorHook', 'CometLoggerHook',
    'CompositeLrUpdaterHook', 'DeepClusterHook', 'DeepClusterV2Hook', 'DenseCLHook', 'DistEvalHook',
    'DistOptimizerHook', 'DvcliveLoggerHook', 'EMAHook', 'EvalHook', 'GPUStatsHook', 'GradAccumFp16OptimizerHook',
    'HistogramHook', 'InterCLRHook', 'KNNEvalHook', 'MlflowLoggerHook', 'ModelSummaryHook', 'MomentumUpdateHook',
    'NeptuneLoggerHook', 'ODCHook', 'PhaseTimerHook', 'ProfilerHook', 'ProgressBarLoggerHook', 'ReportHook',
    'RepresentationQualityHook', 'ScheduleHook', 'SimSiamHook', 'StepFixCosineAnnealingLrUpdaterHook', 'SwAVHook',
    'TensorboardLoggerHook', 'TextLoggerHook', 'TrackerHook', 'UniformScoresHook', 'ViewsHook', 'WandbLoggerHook'
]
