# Copyright (c) mmssl contributors. All rights reserved.
"""What a machine with a GPU does with this toolbox: images/s, memory, waits for data and for the device, in minutes."""
import contextlib
import copy
import gc
import platform
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

from mmssl import __version__
from mmssl.core.training import build_loader
from mmssl.datasets import build_dataset
from mmssl.utils.config import load_config
from mmssl.utils.dist import default_device
from mmssl.utils.errors import describe
from mmssl.utils.machine import usable_cores
from mmssl.utils.recording import Recording, recorder, waiting_lines
from .data import photographs
from .step import Step, Stopwatch, image_size, measure_shares, model_and_batch, random_batch

# by name: file below configs/, and what is changed in it
ALGORITHMS = {
    'MoCo v2': ('selfsup/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py', {}),
    'SimCLR': ('selfsup/simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py', {}),
    'MAE': ('selfsup/mae/mae_vit-base-p16_8xb512-coslr-400e_in1k.py', {
        'model.backbone.arch': 'deit-s',
        'model.neck.embed_dim': 384
    }),
    'MoCo v3': ('selfsup/mocov3/mocov3_vit-small-p16_32xb128-fp16-coslr-300e_in1k-224.py', {}),
    'DINO': ('selfsup/dino/dino_vit-small-p16_8xb64-mcrop-2-8-coslr-100e_in1k.py', {}),
}
# to try the report itself
SMALL = {'MoCo v2': ('demo/compare/mocov2.py', {}), 'MAE': ('demo/compare/mae.py', {})}
VARIANTS = ('float32', 'tf32', 'bfloat16', 'float16', 'bfloat16+channels_last', 'bfloat16+channels_last+compile')
FASTEST = 'bfloat16+channels_last'
WORKERS = (1, 2, 4, 8, 16)
_COMPILING = 75  # seconds that compiling a network may take


def environment():
    """What figures depend on: the device, its driver, versions, processors."""
    device = default_device()
    found = dict(
        mmssl=__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        cpus=usable_cores(),
        cpu=torch.backends.cpu.get_cpu_capability(),
        device='cpu')
    if device.type == 'cuda':
        card = torch.cuda.get_device_properties(device)
        found.update(
            device=card.name,
            gpus=torch.cuda.device_count(),
            gigabytes=card.total_memory / 2**30,
            capability=f'{card.major}.{card.minor}',
            cuda=torch.version.cuda,
            driver=torch._C._cuda_getDriverVersion(),
            cudnn=torch.backends.cudnn.version(),
            nccl='.'.join(map(str, torch.cuda.nccl.version())))
    with contextlib.suppress(ImportError):
        import faiss
        found.update(faiss=faiss.__version__, faiss_gpus=getattr(faiss, 'get_num_gpus', int)())
    return found


@contextlib.contextmanager
def products(tf32):
    """Whether convolutions and products of float32 matrices are rounded to TF32."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32
    matmul.allow_tf32 = tf32
    try:
        with cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=tf32):
            yield
    finally:
        matmul.allow_tf32 = before


def free():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Subject:
    """One algorithm, built once.

    Args:
        name (str): Its name.
        cfg (mmcv.Config): Its config.
        largest (int): The most images of a batch.
    """

    def __init__(self, name, cfg, largest):
        self.name, self.cfg, self.batch_size = name, cfg, largest
        self.size = image_size(cfg)
        self.model = model_and_batch(cfg, 2, self.size)[0].cpu()

    def step(self, variant):
        """An iteration in a precision and memory format, on weights of its own."""
        device = default_device()
        batch = random_batch(self.cfg, self.batch_size, self.size, device)
        switches = [switch for switch in variant.split('+') if switch not in ('float32', 'tf32')]
        return Step(self.cfg, copy.deepcopy(self.model).to(device), batch, switches)

    def fit(self):
        """Halve the batch until an iteration in float32 fits into the memory."""
        while True:
            try:
                with products(False):
                    step = self.step('float32')
                    step()
                    step()
                return
            except torch.OutOfMemoryError:
                if self.batch_size == 2:
                    raise
                self.batch_size //= 2
            finally:
                step = None
                free()

    def measure(self, variant, seconds):
        """Images/s, milliseconds and peak memory of an iteration; the first one, which may compile, on its own."""
        with products('tf32' in variant):
            step = self.step(variant)
            device = step.device
            first, one, all_ = Stopwatch(device), Stopwatch(device), Stopwatch(device)
            with first:
                step()
            step()
            with one:
                step()
            if device.type == 'cuda':
                torch.cuda.reset_peak_memory_stats(device)
            rounds = max(3, min(200, int(seconds / one.seconds)))
            with all_:
                for _ in range(rounds):
                    step()
        found = dict(
            images_per_second=self.batch_size * rounds / all_.seconds, milliseconds=1e3 * all_.seconds / rounds)
        if device.type == 'cuda':
            found['peak_gigabytes'] = torch.cuda.max_memory_allocated(device) / 2**30
        return dict(found, iterations=rounds, first_seconds=first.seconds)

    def record(self, path, iterations=3):
        """A trace, the operations that take longest, and where the host waits for the device."""
        with products(False):
            step = self.step(FASTEST)
            for _ in range(3):
                step()
            with waiting_lines() as lines:
                step()
            profiler = recorder(iterations)
            profiler.start()
            for _ in range(iterations + 1):
                step()
                profiler.step()
            profiler.stop()
        path.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(path))
        recording = Recording(profiler.key_averages(), iterations)
        return dict(
            trace=path.name,
            milliseconds=1e3 * recording.seconds,
            gpu_busy=recording.device_share,
            waits=recording.waits() if recording.device_share is not None else None,
            waiting_lines={
                ':'.join(map(str, place)): count
                for place, count in lines.items()
            },
            operations=recording.top(12))

    def shares(self, rounds=5):
        """See measure_shares: the host waits for the device around each part."""
        with products(False):
            return measure_shares(self.cfg, FASTEST, self.batch_size, self.size, rounds)

    def with_data(self, folder, workers, device_steps, seconds, alone):
        """The same iterations on images that a loader reads from files and augments.

        Args:
            folder (Path): Of JPEG files.
            workers (int): Of the loader.
            device_steps (bool): Whether colour steps run on the device.
            seconds (float): How long to look.
            alone (float): Images/s of the iterations without data.

        Returns:
            dict: Images/s with data and of the loader alone, and the share of the time in which the device waits.
        """
        cfg = copy.deepcopy(self.cfg)
        cfg.channels_last = True
        if folder is not None:
            cfg.data.train.data_source = dict(type='Folder', data_prefix=str(folder))
        dataset = build_dataset(dict(type='RepeatDataset', dataset=cfg.data.train, times=1000))
        loader = build_loader(
            dataset,
            cfg,
            samples_per_gpu=self.batch_size,
            workers_per_gpu=workers,
            device_steps=device_steps,
            persistent_workers=False,
            drop_last=True,
            check_files=False)
        rates = []
        for step in (None, self.step(FASTEST)):
            batches = iter(loader)
            rates.append(self._rate(batches, step, 2 * workers + 2, seconds))
            batches.close()  # which ends the workers
        return dict(
            images_per_second=rates[1],
            loader_images_per_second=rates[0],
            share_of_data_wait=max(0, 1 - rates[1] / alone))

    def _rate(self, batches, step, ready, seconds):

        def take():
            batch = next(batches)
            if step is not None:
                step.batch = batch
                step()

        for _ in islice(batches, ready):  # those that the workers hold ready would count as made in no time
            pass
        take()
        count, watch = 0, Stopwatch(default_device())
        with watch, products(False):
            while count < 2 or time.perf_counter() - watch.start < seconds:
                take()
                count += 1
        return count * self.batch_size / watch.seconds


class Report:
    """Measures by priority until the time is over; what is left then is named.

    Args:
        configs (Path): The folder configs/.
        out (Path): Folder of the traces.
        write (callable): Called with the whole result after each row, and the row.
        minutes (float): How long it may take.
        algorithms (dict): See ALGORITHMS.
        variants (Sequence[str]): See VARIANTS.
        workers (Sequence[int]): Of the loader.
        folder (Path, optional): Images; without it photographs of scikit-learn are written to files.
        largest (int): The most images of a batch.
        seconds (float): Of one measurement.
    """

    def __init__(self, configs, out, write, minutes, algorithms, variants, workers, folder, largest, seconds):
        self.configs, self.out, self.write = Path(configs), Path(out), write
        self.start, self.minutes = time.monotonic(), minutes
        self.algorithms, self.variants, self.workers, self.folder = algorithms, variants, workers, folder
        self.largest, self.seconds = largest, seconds
        self.found = dict(environment=environment(), minutes=minutes, rows=[], recordings=[], data=[], skipped=[])

    def attempt(self, table, row, needs, function):
        """Add what a function measures to a row: its figures, or why there are none."""
        what = ', '.join(f'{key} {value}' for key, value in row.items())
        left = 60 * self.minutes - (time.monotonic() - self.start)
        if left < needs:
            there = f'{left:.0f} s were left, it may take {needs:.0f}' if left > 0 else 'no time was left'
            self.found['skipped'].append(f'{what}: {there}')
            return None
        begin, figures = time.monotonic(), None
        try:
            figures = function()
            row = {**row, **figures}
        except torch.OutOfMemoryError:
            row['error'] = 'out of memory'
        except Exception as error:  # such as a network that cannot be compiled: the other rows are of use without it
            row['error'] = describe(error)
        free()
        row['took_seconds'] = time.monotonic() - begin
        self.found[table].append(row)
        self.write(self.found, table, row)
        return figures

    def run(self):
        """dict: The whole result."""
        torch.manual_seed(0)
        subjects = []
        for name, (file, changes) in self.algorithms.items():
            subject = Subject(name, load_config(self.configs / file, changes), self.largest)
            if self.attempt('rows', dict(algorithm=name, variant='the batch that fits'), 10,
                            lambda: self._fitted(subject)):
                subjects.append(subject)
        self._measure(subjects, [v for v in self.variants if 'compile' not in v], 4 * self.seconds)
        for subject in subjects:
            path = self.out / f'trace_{subject.name.lower().replace(" ", "")}.json.gz'
            self.attempt('recordings', dict(algorithm=subject.name), 5,
                         lambda: dict(subject.record(path), shares=subject.shares()))
        if subjects:
            with self._images() as folder:
                self._data(subjects[0], folder)
        self._measure(subjects, [v for v in self.variants if 'compile' in v], _COMPILING)
        self.found['seconds'] = time.monotonic() - self.start
        self.write(self.found, None, None)
        return self.found

    @staticmethod
    def _fitted(subject):
        subject.fit()
        return dict(batch_size=subject.batch_size, image_size=subject.size)

    def _measure(self, subjects, variants, needs):
        for variant in variants:
            for subject in subjects:
                self.attempt('rows', dict(algorithm=subject.name, variant=variant, batch_size=subject.batch_size),
                             needs, lambda: subject.measure(variant, self.seconds))

    @contextlib.contextmanager
    def _images(self):
        """A folder of JPEG files, or None for small images that the data source has itself."""
        if self.folder is not None or self.algorithms is SMALL:
            yield self.folder
            return
        with tempfile.TemporaryDirectory() as folder:
            for number, file in enumerate(photographs(256)):
                Path(folder, f'{number:03d}.jpg').write_bytes(file)
            yield Path(folder)

    def _data(self, subject, folder):
        alone = next((row['images_per_second'] for row in self.found['rows']
                      if (row['algorithm'], row['variant']) == (subject.name, FASTEST) and 'error' not in row), None)
        if alone is None:
            self.found['skipped'].append(f'waits for data: there is no figure of {subject.name} in {FASTEST}')
            return
        for steps in (False, True):
            for workers in self.workers:
                row = dict(algorithm=subject.name, workers=workers, colour_steps='device' if steps else 'workers')
                self.attempt('data', row, 6 * self.seconds,
                             lambda: subject.with_data(folder, workers, steps, self.seconds, alone))


# of each table: columns by key of a row, with the format of the figure
_COLUMNS = dict(
    rows=dict(
        algorithm='<10',
        variant='<32',
        batch_size='>6',
        images_per_second='>9.1f',
        milliseconds='>9.1f',
        peak_gigabytes='>9.2f',
        first_seconds='>9.1f'),
    recordings=dict(
        algorithm='<10',
        milliseconds='>9.1f',
        gpu_busy='>9.0%',
        waits='>9',
        networks='>9.1%',
        loss_and_rest='>9.1%',
        ema='>9.1%',
        optimizer='>9.1%'),
    data=dict(
        algorithm='<10',
        workers='>8',
        colour_steps='>13',
        images_per_second='>9.1f',
        loader_images_per_second='>9.1f',
        share_of_data_wait='>9.0%'))
_TITLES = dict(
    batch_size='batch',
    images_per_second='images/s',
    milliseconds='ms',
    peak_gigabytes='GiB',
    first_seconds='first s',
    gpu_busy='GPU busy',
    loss_and_rest='loss+rest',
    colour_steps='colours on',
    loader_images_per_second='loader/s',
    share_of_data_wait='waiting')


def _width(form):
    return form[0] + form[1:].partition('.')[0].rstrip('f%')


HEADINGS = {
    table: ' '.join(format(_TITLES.get(key, key), _width(form)) for key, form in columns.items())
    for table, columns in _COLUMNS.items()
}


def line(table, row):
    """A row of one of the tables as text."""
    row = {**row.get('shares', {}), **row}
    if row.get('waits') is not None:
        row['waits'] = f'{sum(row["waits"].values()):.1f}'
    cells = [
        format(row[key], form) if row.get(key) is not None else format('-', _width(form))
        for key, form in _COLUMNS[table].items()
    ]
    return ' '.join([*cells, row.get('error', '')]).rstrip()
