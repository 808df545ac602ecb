"""What a user of MMSelfSup 0.x brings along works: base configs here; names in test_utils/test_old_places.py."""
from pathlib import Path

import pytest

from mmssl.utils.config import load_config

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
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
    assert found[0].clustering.k == bases[0].num_classes == bases[0].model.memory_bank.num_classes
    assert found[0].extractor.dataset.data_source == bases[1].data.train.data_source


def test_linear_probe_base_and_schedule_of_200_epochs():
    model = load_config(CLASSIFICATION / 'models/vit-base-p16_linprobe.py').model
    assert (model.backbone.type, model.head.type) == ('MIMVisionTransformer', 'MAELinprobeHead')
    schedule = load_config(SELFSUP / 'schedules/adamw_coslr-200e_in1k.py')
    assert schedule.optimizer == dict(type='AdamW', lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05)
    assert (schedule.runner.max_epochs, schedule.lr_config.warmup_iters) == (200, 40)
