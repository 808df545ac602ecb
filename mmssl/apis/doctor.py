# Copyright (c) mmssl contributors. All rights reserved.
"""What is on this machine, and what of it would trouble or slow a training."""
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from mmssl import __version__
from mmssl.utils.launch import find_launcher
from mmssl.utils.machine import memory, read_text, usable_cores
from mmssl.utils.misc import fast_bfloat16

GB = 1e9
# what each of the packages that may be absent is for; requirements/{optional,data,interop}.txt name them
OPTIONAL = dict(
    timm='networks of timm: --model timm:NAME',
    faiss='fast k-means for clustering methods with millions of images',
    tensorboard='curves in TensorBoard (TensorboardLoggerHook)',
    imagecodecs='compressed TIFF files',
    tifffile='TIFF files',
    lmdb='LMDB databases',
    pyarrow='Parquet and Arrow files',
    fsspec='shards on a server or in a bucket',
    s3fs='shards in S3',
    onnx='export to ONNX',
    onnxruntime='the check of exported ONNX files',
    onnxscript='export to ONNX',
    transformers='weights of Hugging Face',
    mmcls='backbones and classifiers of MMClassification')


@dataclass
class Finding:
    """One thing that was looked at.

    Attributes:
        group (str): Such as 'CPU'.
        name (str): Such as 'bfloat16'.
        value (str | int | float | bool | None): What was found.
        advice (str): One sentence with what to do; '' where all is well.
    """
    group: str
    name: str
    value: object
    advice: str = ''


def examine(folder='.'):
    """Look at packages, processors, memory, disks and launchers.

    Args:
        folder (str | Path): Whose disk is looked at.

    Returns:
        list[Finding]: What was found, in groups.
    """
    return [
        Finding(group, *found)
        for group, look in (('packages', _packages), ('CPU', _cpu), ('GPU', _gpu), ('memory and disk',
                                                                                    lambda: _space(folder)),
                            ('several processes', _processes), ('optional packages', _optional)) for found in look()
    ]


def _packages():
    yield 'mmssl', __version__
    python = platform.python_version()
    yield 'python', python, '' if sys.version_info >= (3, 10) else 'mmssl needs Python 3.10 or later'
    for name in ('torch', 'torchvision', 'mmcv', 'numpy', 'opencv-python-headless', 'scikit-learn', 'simplejpeg'):
        version = _version(name) or (_version('mmcv-full') if name == 'mmcv' else None)
        words = '' if version or name == 'opencv-python-headless' else f'pip install {name}'
        yield name, version or 'absent', words
    if _version('opencv-python') and _version('opencv-python-headless'):
        yield 'opencv-python', _version('opencv-python'), ('opencv-python and opencv-python-headless overwrite each '
                                                           'other: uninstall both, then install the headless one')


def _cpu():
    cores = usable_cores()
    yield 'model', _cpu_model()
    yield 'cores', cores, '' if cores > 1 else 'with one core, data loading and training wait for each other'
    threads = torch.get_num_threads()
    advice = ''
    if threads > cores:
        advice = f'more threads than cores slow each other down: export OMP_NUM_THREADS={cores}'
    elif threads < cores and not torch.cuda.is_available():
        advice = f'training on the CPU uses {threads} of {cores} cores: export OMP_NUM_THREADS={cores}'
    yield 'threads of torch', threads, advice
    fast = fast_bfloat16('cpu')
    yield 'fast bfloat16', fast, '' if fast or torch.cuda.is_available() else \
        'amp would slow a training down on this CPU; recipes leave it out'
    flags = _cpu_flags()
    yield 'vector units', ', '.join(
        name
        for name in ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'amx_tile', 'asimd') if name in flags) or 'unknown'


def _gpu():
    if not torch.cuda.is_available():
        advice = ''
        if shutil.which('nvidia-smi') and _runs('nvidia-smi', '-L'):
            advice = 'this torch cannot use the GPU: install the torch for your CUDA, see pytorch.org'
        yield 'GPUs', 0, advice
        return
    count = torch.cuda.device_count()
    yield 'GPUs', count, '' if count == 1 else f'all of them: torchrun --nproc_per_node {count} -m mmssl train ...'
    for index in range(count):
        found = torch.cuda.get_device_properties(index)
        free = torch.cuda.mem_get_info(index)[0]
        busy = free < 0.5 * found.total_memory
        yield f'GPU {index}', (f'{found.name}, {found.total_memory / GB:.0f} GB ({free / GB:.0f} GB free), compute '
                               f'capability {found.major}.{found.minor}'), \
            'another process holds more than half of its memory (nvidia-smi tells which)' if busy else ''
    yield 'fast bfloat16', fast_bfloat16('cuda')
    yield 'CUDA, cuDNN', f'{torch.version.cuda}, {torch.backends.cudnn.version()}'


def _space(folder):
    total, available = memory()
    yield 'memory', f'{available / GB:.1f} of {total / GB:.1f} GB free', \
        '' if available > 2 * GB else 'smaller batches and fewer workers (data.workers_per_gpu) need less'
    if os.path.isdir('/dev/shm'):
        size = shutil.disk_usage('/dev/shm')
        yield '/dev/shm', f'{size.free / GB:.1f} of {size.total / GB:.1f} GB free', '' if size.free > GB else \
            'data loaders hand batches over in it: docker run --shm-size 8g, or data.workers_per_gpu=0'
    disk = shutil.disk_usage(folder)
    yield 'disk here', f'{disk.free / GB:.1f} of {disk.total / GB:.1f} GB free', \
        '' if disk.free > 5 * GB else 'checkpoints of a ResNet-50 take 0.3 GB each: free some, or give another --out'
    temporary = Path(os.environ.get('TMPDIR', '/tmp'))
    yield 'folder of temporary files', str(temporary), '' if os.access(temporary, os.W_OK) else \
        f'{temporary} cannot be written to: export TMPDIR=FOLDER'
    files = _open_files()
    if files is not None:
        yield 'open files at most', files, '' if files > 1023 else 'many loader workers need more: ulimit -n 4096'


def _processes():
    yield 'launchers', ', '.join(name for name in ('torchrun', 'srun', 'mpirun') if _launcher(name)) or 'none', \
        '' if _launcher('torchrun') else 'torchrun comes with torch: is its folder in PATH?'
    dist = torch.distributed
    backends = [
        name for name in ('nccl', 'gloo', 'mpi')
        if dist.is_available() and getattr(dist, f'is_{name}_available', lambda: name == 'gloo')()
    ]
    yield 'backends', ', '.join(backends) or 'none', '' if backends else 'this torch is built without torch.distributed'
    launcher, _, size = find_launcher()
    if size > 1:
        yield 'started by', launcher, f'{size} processes are running: call `mmssl doctor` in one'


def _optional():
    for name, what in OPTIONAL.items():
        version = next(filter(None, map(_version, ('faiss-cpu', 'faiss-gpu') if name == 'faiss' else (name, ))), None)
        package = ('faiss-gpu' if torch.cuda.is_available() else 'faiss-cpu') if name == 'faiss' else name
        yield name, version or 'absent', '' if version else f'for {what}: pip install {package}'


def _cpu_model():
    lines = [line for line in read_text('/proc/cpuinfo').splitlines() if line.startswith('model name')]
    return lines[0].partition(':')[2].strip() if lines else platform.processor() or platform.machine()


def _cpu_flags():
    line = next((line for line in read_text('/proc/cpuinfo').splitlines() if line.startswith(('flags', 'Features'))),
                '')
    return set(line.partition(':')[2].split())


def _open_files():
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _launcher(name):
    """In PATH, or beside this Python where its environment is not activated."""
    return shutil.which(name) or Path(sys.executable).with_name(name).is_file()


def _runs(*command):
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
