"""Every random choice is keyed by (seed, epoch, sample, view)."""
import multiprocessing
import random
import time

import numpy as np
import pytest
import torch

from mmssl.datasets.pipelines import Compose, seed_sample, seed_view
from mmssl.datasets.pipelines.rng import global_generators, reseed, rng


@pytest.fixture(autouse=True)
def _leave_no_key():
    yield
    reseed()


def draw(*key, view=None):
    seed_sample(*key)
    if view is not None:
        seed_view(view)
    return tuple(rng().random(3))


def test_same_key_same_numbers_and_any_other_key_others():
    """Pitfall "every rank and epoch gets the same augmentation stream"."""
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (2**63, 0, 0), (-1, 0, 0), (0, 0, 10**9)]
    drawn = {draw(*key, view=view) for key in keys for view in range(3)}
    assert len(drawn) == len(keys) * 3
    assert {draw(*key, view=view) for key in reversed(keys) for view in (2, 0, 1)} == drawn
    assert draw(5, 6, 7) == draw(5, 6, 7, view=0)


def test_numbers_do_not_depend_on_what_was_drawn_before():
    expected = draw(3, 1, 4)
    rng().integers(10, dtype=np.int32)  # leaves half of a 64-bit word behind
    rng().standard_normal(5)
    assert draw(3, 1, 4) == expected


def test_streams_of_neighbours_are_independent():
    first = np.array([draw(0, epoch, idx) for epoch in range(20) for idx in range(100)])
    assert abs(first.mean() - 0.5) < 0.02 and abs(first.var() - 1 / 12) < 0.005
    assert np.abs(np.corrcoef(first.T) - np.eye(3)).max() < 0.08
    assert abs(np.corrcoef(first[:-1, 0], first[1:, 0])[0, 1]) < 0.08


def test_numbers_are_pinned():
    """A new version of numpy or of this module must not change what an old seed means."""
    seed_sample(0, 1, 2)
    seed_view(1)
    assert rng().random(2).tolist() == [0.3537949815383278, 0.6446493202129582]


def test_outside_a_sample_numbers_are_not_keyed():
    reseed()
    seed_view(1)
    first = rng().random()
    reseed()
    seed_view(1)
    assert rng().random() != first


def _child(queue):
    queue.put(rng().random())


def test_forked_workers_do_not_share_an_unkeyed_stream():
    reseed()
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    workers = [context.Process(target=_child, args=(queue, )) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert queue.get(timeout=30) != queue.get(timeout=30)
    for worker in workers:
        worker.join()


def test_seeding_costs_microseconds():

    def once():
        start = time.perf_counter()
        for i in range(1000):
            seed_sample(0, 0, i)
        return (time.perf_counter() - start) / 1000

    assert min(once() for _ in range(5)) < 20e-6


def steps_of_a_user():

    def step(img):
        step.drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
        return img

    step.drawn = []
    return step


def test_global_generators_are_keyed_for_foreign_steps():
    step = steps_of_a_user()
    pipeline = Compose([dict(type='RandomHorizontalFlip'), step])
    img = np.zeros((4, 4, 3), np.uint8)
    for key, view in [((0, 0, 0), 0), ((0, 0, 0), 1), ((0, 0, 1), 0), ((0, 1, 0), 0), ((0, 0, 0), 0)]:
        seed_sample(*key)
        seed_view(view)
        pipeline(img)
    assert step.drawn[0] == step.drawn[4] and len(set(step.drawn)) == 4


def test_global_generators_of_the_main_process_go_on_undisturbed():
    """The model's dropout must not depend on where the data was loaded."""

    def globals_draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = globals_draw(), globals_draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = globals_draw()
    seed_sample(0, 0, 0)
    with global_generators():
        globals_draw()
    Compose([steps_of_a_user()])(np.zeros((4, 4, 3), np.uint8))
    assert (first, globals_draw()) == expected


def test_unkeyed_foreign_steps_draw_from_the_users_seed():
    step = steps_of_a_user()
    pipeline = Compose([step])
    for _ in range(2):
        random.seed(7), np.random.seed(7), torch.manual_seed(7)
        pipeline(np.zeros((4, 4, 3), np.uint8))
    assert step.drawn[0] == step.drawn[1]
