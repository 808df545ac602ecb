"""Compiling mmcv-full once: what is done to its sources, and the cache. Stand-ins for its setup.py compile nothing."""
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/misc/build_mmcv_full.py'
WHEEL = 'from pathlib import Path\nPath("dist").mkdir()\nPath("dist/mmcv_full-1.7.2.whl").write_text("wheel")\n'


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / TOOL))


def test_joined_sources_hold_each_file_once(tool, tmp_path):
    names = ['nms', 'pybind', 'roi_align', 'roi_pool']
    for name in names:
        (tmp_path / f'{name}.cpp').write_text(f'// {name}\n')
    (tmp_path / 'shared.h').touch()
    tool['join_sources'](tmp_path, ('pybind.cpp', ))
    assert sorted(path.name for path in tmp_path.glob('*.cpp')) == ['joined.cpp', 'pybind.cpp']
    text = (tmp_path / 'joined.cpp').read_text()
    assert text == '#include "nms.inc"\n#include "roi_align.inc"\n#include "roi_pool.inc"\n'
    assert [(tmp_path / f'{name}.inc').read_text() for name in ('nms', 'roi_pool')] == ['// nms\n', '// roi_pool\n']
    assert (tmp_path / 'shared.h').exists()


def test_standard_is_the_one_that_torch_asks_for(tool, tmp_path):
    import torch
    setup = tmp_path / 'setup.py'
    setup.write_text("cxx = ['-std=c++14']\ncxx = ['-std=c++17']\nnvcc += ['-std=c++17']\n")
    tool['raise_standard'](setup)
    major, minor = map(int, torch.__version__.split('.')[:2])
    newest = '20' if (major, minor) >= (2, 14) else '17'
    assert setup.read_text() == f"cxx = ['-std=c++14']\ncxx = ['-std=c++{newest}']\nnvcc += ['-std=c++{newest}']\n"


def test_compiled_once(run_tool, call_tool, tmp_path):
    """A compilation that fails tells its first error and is kept, one that ends leaves the wheel alone in the cache."""
    done = run_tool(TOOL, '--cache-dir', tmp_path, '--version', '0.0.0', check=False, env=dict(PIP_NO_INDEX='1'))
    assert done.returncode == 1 and 'mmcv-full 0.0.0 could not be fetched' in done.stderr
    folder, = tmp_path.iterdir()
    assert folder.name.startswith('mmcv-full-0.0.0-torch2.') and [path.name for path in folder.iterdir()] == ['lock']

    source = folder / 'source'
    source.mkdir()
    (source / 'half.o').touch()
    (source / 'setup.py').write_text('print("compiling\\na.cpp:3: error: no such thing\\nb.cpp:4: error: b")\nexit(1)')
    done = call_tool(TOOL, '--cache-dir', tmp_path, '--version', '0.0.0', check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'mmcv-full could not be compiled: a.cpp:3: error: no such thing' in done.stderr
    assert str(source / 'build.log') in done.stderr and (source / 'half.o').exists()

    (source / 'setup.py').write_text(WHEEL)
    for _ in range(2):  # the second time nothing is left to compile
        done = call_tool(TOOL, '--cache-dir', tmp_path, '--version', '0.0.0')
        assert done.stdout.split() == [str(folder / 'mmcv_full-1.7.2.whl')]
        assert sorted(path.name for path in folder.iterdir()) == ['lock', 'mmcv_full-1.7.2.whl']
