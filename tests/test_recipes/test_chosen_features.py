# Copyright (c) mmssl contributors. All rights reserved.
"""Where the recipe of small images is taken, and which features come with it."""
import pytest

from mmssl.recipes import fit, fitting
from mmssl.recipes.facts import MachineFacts

DIGITS = dict(type='Digits', color_type='grayscale')
FEATURES = dict(layers=['stage3', 'stage4'], pool_type='grid:2', power=0.15)


@pytest.fixture(autouse=True)
def _same_machine(monkeypatch):
    monkeypatch.setattr(fitting, 'look_at_machine', lambda: MachineFacts('cpu', 2, 8., bfloat16=True))


def test_small_images_on_a_cpu():
    recipe = fit(DIGITS, epochs=1)
    jitter = next(step for step in recipe.cfg.data.train.pipelines[0] if 'transforms' in step).transforms[0]
    assert (recipe.cfg.model.type, recipe.cfg.optimizer.lr, jitter.brightness) == ('VICReg', 0.004, 0.8)
    assert recipe.cfg.features == FEATURES
    assert any(choice.name == 'features' and not choice.fixed for choice in recipe.choices)


@pytest.mark.parametrize('options', [
    dict(model='vit_mini'),
    dict(method='byol'),
    dict(settings={
        'model.backbone.depth': 18,
    }),
])
def test_other_networks_and_methods_give_the_last_stage(options):
    """Stages of another network may not be there, and of another method nothing was measured."""
    assert 'features' not in fit(DIGITS, epochs=1, **options).cfg


def test_the_user_chooses_the_features():
    recipe = fit(DIGITS, epochs=1, settings={'features.power': 0.3})
    assert recipe.cfg.features == dict(FEATURES, power=0.3)
