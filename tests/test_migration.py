"""What a user of MMSelfSup 0.x brings along works, and each row of docs/en/migration.md is held by a test.

Base configs are here; names in test_utils/test_old_places.py; code written after the tutorials in
test_models/test_user_packages.py and test_datasets/test_datasets.py.
"""
import ast
import re
from pathlib import Path

import pytest
import torch

from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
SELFSUP, CLASSIFICATION = CONFIGS / 'selfsup/_base_', CONFIGS / 'benchmarks/classification/_base_'


@pytest.mark.parametrize('old, new', [
    (SELFSUP / 'models/cae.py', SELFSUP / 'models/cae_vit-base-p16.py'),
    (CLASSIFICATION / 'models/swin-base.py', CLASSIFICATION / 'models/swin-base_ft.py'),
    (CLASSIFICATION / 'default_runtime.py', SELFSUP / 'default_runtime.py'),
])
def test_base_config_under_its_old_name(old, new):
    assert load_config(old)._cfg_dict == load_config(new)._cfg_dict


@pytest.mark.parametrize('model, dataset, hooks', [
    ('odc', 'imagenet_odc', ['DeepClusterHook', 'ODCHook']),
    ('interclr-moco', 'imagenet_interclr-moco', ['InterCLRHook']),
])
def test_base_of_data_brings_the_hooks_of_its_algorithm(model, dataset, hooks):
    """A user's config inherits both files, as MMSelfSup's recipes do, and has clusters for the model's classes."""
    bases = [
        load_config(SELFSUP / f'{folder}/{name}.py') for folder, name in (('models', model), ('datasets', dataset))
    ]
    assert not set(bases[0]) & set(bases[1])  # bases with a key in common cannot be inherited together
    found = bases[1].custom_hooks
    assert [hook.type for hook in found] == hooks
    assert found[0].clustering.k == bases[0].model.memory_bank.num_classes
    assert found[0].extractor.dataset.data_source == bases[1].data.train.data_source


def test_linear_probe_base_and_schedule_of_200_epochs():
    model = load_config(CLASSIFICATION / 'models/vit-base-p16_linprobe.py').model
    assert (model.backbone.type, model.head.type) == ('MIMVisionTransformer', 'MAELinprobeHead')
    schedule = load_config(SELFSUP / 'schedules/adamw_coslr-200e_in1k.py')
    assert schedule.optimizer == dict(type='AdamW', lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05)
    assert (schedule.runner.max_epochs, schedule.lr_config.warmup_iters) == (200, 40)


# row of docs/en/migration.md: the test that holds it, in a file below tests/
ROWS = {
    1: 'test_utils/test_registry.py::test_unknown_argument_names_value_nearest_and_place',
    2: 'test_utils/test_config.py::test_names_that_nobody_reads',
    3: 'test_utils/test_config.py::test_an_error_of_a_worker_process_is_one_line',
    4: 'test_datasets/test_loader.py::test_prefetch_equals_the_pipeline_that_normalises',
    5: 'test_migration.py::test_hook_of_byol_has_two_names',
    6: 'test_models/test_models_two_processes.py::test_two_processes_equal_one',
    7: 'test_models/test_algorithms.py::test_momentum_encoder_starts_as_a_copy',
    8: 'test_models/test_algorithms.py::test_moco_updates_its_key_encoder_only_after_optimizer_steps',
    9: 'test_utils/test_dist.py::test_gather_has_the_whole_gradient',
    10: 'test_models/test_algorithms.py::test_losses_are_those_declared',
    11: 'test_models/test_necks_and_heads.py::test_queue_is_first_in_first_out',
    12: 'test_models/test_models_two_processes.py::test_split_batch_norm',
    13: 'test_utils/test_distributed_sinkhorn.py::test_two_processes_equal_one',
    14: 'test_core/test_deepcluster_hook.py::test_a_training_that_is_prolonged_makes_up_for_the_clustering',
    15: 'test_core/test_deepcluster_hook.py::test_workers_that_persist_see_the_new_labels',
    16: 'test_tools/test_nonfinite.py::test_weights_stay_and_the_dump_holds_the_iteration',
    17: 'test_core/test_scarce_data.py::test_a_memory_that_does_not_fit',
    18: 'test_models/test_mim_algorithms.py::test_teacher_of_cae',
    19: 'test_configs.py::test_figures_are_the_published_ones',
    20: 'test_models/test_mim_heads.py::test_absent_tokenizer_is_an_error_in_training_only',
    21: 'test_core/test_resume_algorithms.py::test_resumed_is_uninterrupted',
    22: 'test_models/test_swav.py::test_checkpoint_holds_the_queue',
    23: 'test_utils/test_checkpoint.py::test_code_in_a_checkpoint_does_not_run',
    24: 'test_utils/test_checkpoint.py::test_a_frozen_part_is_loaded_whole',
    25: 'test_migration.py::test_model_is_on_the_device_that_is_there',
    26: 'test_datasets/test_loader.py::test_images_depend_on_neither_workers_nor_interruption',
    27: 'test_datasets/test_loader.py::test_broken_images_are_replaced',
    28: 'test_datasets/test_pipelines/test_mask.py::test_the_number_is_exact',
    29: 'test_datasets/test_pretext_datasets.py::test_relative_loc_dataset',
    30: 'test_datasets/test_datasets.py::test_unlabelled_samples_have_the_label_minus_one',
    31: 'test_models/test_hog.py::test_features_of_a_patch',
    32: 'test_migration.py::test_windows_keep_the_biases_of_queries_and_values',
    33: 'test_core/test_transformer_finetune_constructor.py::test_options_combine_with_the_decay',
    34: 'test_migration.py::test_what_is_gone',
    35: 'test_evaluation/test_knn.py::test_fewer_samples_than_k',
    36: 'test_tools/test_knn_tool.py::test_backbone_weights_and_a_false_switch',
    37: 'test_tools/test_svm_tool.py::test_separate_steps',
    38: 'test_apis/test_run_dir.py::test_overwrite_puts_the_old_run_away',
    39: 'test_datasets/test_classes.py::test_evaluations_match_by_name',
    40: 'test_models/test_models_two_processes.py::test_two_processes_equal_one',
}


def test_each_row_of_the_page_has_a_test():
    text = (ROOT / 'docs/en/migration.md').read_text(encoding='utf-8')
    assert sorted(int(n) for n in re.findall(r'^\| (\d+) \|', text, re.M)) == sorted(ROWS)
    for name in ROWS.values():
        path, _, function = name.partition('::')
        tree = ast.parse((ROOT / 'tests' / path).read_text(encoding='utf-8'))
        assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)], name


def test_hook_of_byol_has_two_names():
    from mmssl.core import HOOKS
    assert HOOKS.get('BYOLHook') is HOOKS.get('MomentumUpdateHook')


def test_model_is_on_the_device_that_is_there():
    from mmssl.apis import init_model
    model = init_model(str(CONFIGS / 'demo/simclr_digits.py'))
    assert next(model.parameters()).device.type == ('cuda' if torch.cuda.is_available() else 'cpu')


def test_windows_keep_the_biases_of_queries_and_values():
    from mmssl.models import build_backbone
    names = dict(
        build_backbone(
            dict(type='MIMVisionTransformer', arch='deit-tiny', patch_size=16, use_window=True,
                 qkv_bias=False)).named_parameters())
    assert names['layers.0.attn.q_bias'].shape == names['layers.0.attn.v_bias'].shape == (192, )


def test_what_is_gone():
    from mmssl.models import LatentCrossCorrelationHead
    assert not hasattr(LatentCrossCorrelationHead, 'off_diagonal')
