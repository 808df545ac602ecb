"""Cases of tools/analysis_tools/benchmark_data.py."""
import time
from importlib.util import find_spec

import numpy as np
import pytest

from mmssl.benchmarks import data_device_steps
from mmssl.benchmarks.data_cases import CASES, compare, format_case, run_case


def test_every_case_has_its_module():
    assert CASES and all(find_spec(f'mmssl.benchmarks.data_{name}') for name in CASES)


def test_rates_are_of_processor_time_relative_to_the_first():

    def work(seconds):

        def function(i):
            end = time.thread_time() + seconds
            while time.thread_time() < end:
                pass
            time.sleep(0.01)  # waiting does not count

        return function

    rows = compare(dict(slow=work(0.004), fast=work(0.001)), num=2, repetitions=2)
    assert [row['what'] for row in rows] == ['slow', 'fast'] and rows[0]['ratio'] == 1
    assert 150 < rows[0]['images_per_second'] <= 250 and 500 < rows[1]['images_per_second'] <= 1000
    assert np.isclose(rows[1]['ratio'], rows[1]['images_per_second'] / rows[0]['images_per_second'])


@pytest.fixture
def multi_view():
    return dict(
        type='MultiViewDataset',
        data_source=dict(type='ImageNet', data_prefix='none'),
        num_views=[2],
        pipelines=[[dict(type='RandomResizedCrop', size=32)]])


def test_photographs(multi_view, photo_folder):
    result = run_case('photographs', multi_view, str(photo_folder), num=3)
    rates = [row['images_per_second'] for row in result['rows']]
    assert result['case'] == 'photographs' and rates[2] > rates[0]  # decoding alone is a part of the whole
    assert 0 < result['megabytes_a_file'] < 0.1
    shown = format_case(result)
    assert all(f'{rate:.1f}' in shown for rate in rates) and 'megabytes a file: 0.0' in shown


def test_device_steps(multi_view, photo_folder, monkeypatch):
    monkeypatch.setattr(data_device_steps, 'REPETITIONS', 1)
    monkeypatch.setattr(data_device_steps, 'BATCH', 4)
    multi_view.update(prefetch=True)
    multi_view['pipelines'][0] += [dict(type='GaussianBlur', sigma_min=2., sigma_max=4., p=1.)] * 20
    result = run_case('device_steps', dict(type='RepeatDataset', times=2, dataset=multi_view), str(photo_folder), num=4)
    assert result['rows'][1]['ratio'] > 1.2 and result['microseconds_an_image_on_cpu'] > 0
    assert result['difference_in_grey_levels']['largest_of_an_image'] < 2


@pytest.mark.long
def test_remote(multi_view, photo_folder):
    from mmssl.benchmarks.data_remote import run
    result = run(multi_view, str(photo_folder), num=64, latency=0.05, chunk_size=0.1, repetitions=1)
    rates = {row['what']: row['images_per_second'] for row in result['rows']}
    requests = result['requests']
    assert requests['shards on disk'] == requests['server, what it left in the cache'] == 0
    assert requests['server, no cache, each image by itself'] == 64 + 2  # and both ends of the shard
    chunks = requests['server, read ahead']
    assert 5 < chunks - 2 < 40 and requests['server, one request after another'] == chunks
    assert rates['server, what it left in the cache'] > rates['server, one request after another']
