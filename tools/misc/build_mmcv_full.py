# Copyright (c) mmssl contributors. All rights reserved.
"""Compile the wheel of mmcv-full once and keep it in the user's cache; print its path.

mmcv 1.7.2 asks for C++17, torch since 2.14 for C++20, so the standard is raised in the copy that is compiled. Most
of the time goes into reading torch's headers, once for each of some sixty files; joined into two big files, and these
and the four that cannot be joined in parallel, they take an eighth of it. Nothing is left out: mmcv imports all of its
operations or none. With a GPU and nvcc the CUDA operations are compiled too. A compilation that was stopped goes on.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from mmssl.utils.misc import run_tool

# Folders of sources, and the files that stay apart: those in cpu define names that others define as well, and
# pybind.cpp reads other headers and takes as long as all the rest.
JOINED = {
    '.': ('pybind.cpp', ),
    'cpu': ('psamask.cpp', 'roi_align_rotated.cpp', 'rotated_feature_align.cpp'),
}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--cache-dir',
        type=Path,
        default=Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'mmssl' / 'wheels',
        help='folder of wheels (default: %(default)s)')
    parser.add_argument('--version', default='1.7.2', help='of mmcv-full (default: %(default)s)')
    return parser.parse_args()


def find_cuda():
    """Versions that compiled CUDA code depends on, such as 'cu130-sm90'; 'cpu' without a GPU or without nvcc."""
    import torch
    from torch.utils.cpp_extension import CUDA_HOME
    if not torch.cuda.is_available():
        return 'cpu'
    if CUDA_HOME is None:
        print('there is a GPU but no nvcc: the operations are compiled for the CPU only', file=sys.stderr)
        return 'cpu'
    cards = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return f'cu{torch.version.cuda.replace(".", "")}-' + '-'.join(f'sm{a}{b}' for a, b in sorted(cards))


def unpack(version, folder):
    """Fetch the source package and unpack it as `folder`, which appears only when it is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as parts:
        command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--no-build-isolation']
        command += ['--no-binary', ':all:', '--dest', parts, f'mmcv-full=={version}']
        if subprocess.run(command, stdout=sys.stderr).returncode:
            sys.exit(f'the sources of mmcv-full {version} could not be fetched; what pip says stands above')
        archive, = Path(parts).glob('*.tar.gz')
        with tarfile.open(archive) as file:
            file.extractall(parts, filter='data')
        source = Path(parts, archive.name.removesuffix('.tar.gz'))
        raise_standard(source / 'setup.py')
        for part, apart in JOINED.items():
            join_sources(source / 'mmcv' / 'ops' / 'csrc' / 'pytorch' / part, apart)
        source.rename(folder)


def raise_standard(setup):
    """Replace -std=c++17 in mmcv's setup.py by what torch's headers ask for."""
    import torch
    header = Path(torch.__file__).parent / 'include' / 'ATen' / 'ATen.h'
    if 'C++20' in header.read_text(encoding='utf-8'):
        setup.write_text(setup.read_text(encoding='utf-8').replace('-std=c++17', '-std=c++20'), encoding='utf-8')


def join_sources(folder, apart):
    """Replace the .cpp files of a folder, but for those that stay `apart`, by one that includes them all."""
    files = sorted(path for path in folder.glob('*.cpp') if path.name not in apart)
    for path in files:
        path.rename(path.with_suffix('.inc'))
    lines = [f'#include "{path.stem}.inc"\n' for path in files]
    (folder / 'joined.cpp').write_text(''.join(lines), encoding='utf-8')


def compile_wheel(source, cuda):
    """Build the wheel of an unpacked source package, on all cores. Objects that are there already are kept."""
    env = dict(os.environ, MMCV_WITH_OPS='1')
    env['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{env["PATH"]}'  # ninja may be there only
    env.setdefault('MAX_JOBS', str(len(os.sched_getaffinity(0))))
    env['CFLAGS'] = '-O2 -g0 -DNDEBUG'  # in place of Python's own, which ask for debug symbols
    env['LDFLAGS'] = '-Wl,--strip-debug'
    if cuda == 'cpu':
        env.update(CUDA_VISIBLE_DEVICES='', FORCE_CUDA='0')
    with open(source / 'build.log', 'w') as log:
        done = subprocess.run([sys.executable, 'setup.py', 'bdist_wheel'], cwd=source, env=env, stdout=log, stderr=log)
    if done.returncode:
        text = (source / 'build.log').read_text(errors='replace')
        errors = [line for line in text.splitlines() if re.search(r'\berror\b', line, re.I)] or text.splitlines()
        sys.exit(f'mmcv-full could not be compiled: {errors[0].strip() if errors else "no output"}\n'
                 f'all of the output is in {source / "build.log"}')
    wheel, = (source / 'dist').glob('*.whl')
    return wheel


def main():
    args = parse_args()
    import fcntl

    import torch
    cuda = find_cuda()
    name = f'mmcv-full-{args.version}-torch{torch.__version__}-cp{sys.version_info[0]}{sys.version_info[1]}-{cuda}'
    folder = args.cache_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits for the first
        wheels = list(folder.glob('*.whl'))
        if not wheels:
            source = folder / 'source'
            if not source.exists():
                unpack(args.version, source)
            print(f'compiling mmcv-full {args.version} for {cuda}; see {source}/build.log', file=sys.stderr)
            wheel = compile_wheel(source, cuda)
            wheels = [wheel.rename(folder / wheel.name)]
            shutil.rmtree(source)
    print(wheels[0])


if __name__ == '__main__':
    run_tool(main)
