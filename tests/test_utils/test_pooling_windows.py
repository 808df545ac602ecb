"""Poolings as words, in configs and on the command line."""
import argparse

import pytest

from mmssl.utils.evaluation_options import pool_type
from mmssl.utils.pooling_windows import parse_window


@pytest.mark.parametrize('text, kernel, stride, padding', [
    ('6', (6, 6), (6, 6), (0, 0)),
    ('10s10p4', (10, 10), (10, 10), (4, 4)),
    ('10x8s4', (10, 8), (4, 4), (0, 0)),
    ('10x8s4x2p5x1', (10, 8), (4, 2), (5, 1)),
])
def test_windows(text, kernel, stride, padding):
    assert parse_window(text) == dict(kernel_size=kernel, stride=stride, padding=padding)


@pytest.mark.parametrize('text', ['', 's4', '6x', '6p4', '0', '6s0', '-1', '6 s4'])
def test_no_windows(text):
    with pytest.raises(ValueError, match=f'^{text!r} is no window'):
        parse_window(text)


def test_a_pooling_for_each_layer():
    assert pool_type('gem:3') == 'gem:3' and pool_type('6s1') == '6s1' and pool_type('grid:4') == 'grid:4'
    assert pool_type('average, stage0=10s10p4,4=6s1, feat3=gem:inf') == dict(
        others='average', stage0='10s10p4', stage4='6s1', stage2='gem:inf')


@pytest.mark.parametrize('text, message', [
    ('max', "'max' is no pooling; there are average, .* windows such as 6, 10x10s4"),
    ('stage1=grid:0', "'grid:0' is no pooling"),
    ('average,gem', "'average,gem' has two poolings for others"),
    ('stage1=gem,feat2=gem', 'two poolings for stage1'),
])
def test_no_poolings(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        pool_type(text)
