# Copyright (c) mmssl contributors. All rights reserved.
"""What samples on a server or a slow disk need beside their keys: to be asked for before they are looked at."""
import copy
import logging
import math
import os
import threading
from collections import OrderedDict
from functools import partial

from mmssl.utils.dist import get_world_size
from mmssl.utils.errors import ConfigError, RemoteFileError, check_integer
from .data_sources.base import whole_source
from .dataset_wrappers import leaves, locate

_ASKING = 4  # threads that ask for files on disk
_MOST_AHEAD = 2**16  # samples
_SHARE_AHEAD = 0.4  # of the cache, that is filled with what comes next
_SHARE_SHUFFLED = 0.5  # of the cache, for the window that is looked at; a tenth is free after old chunks are removed


def _all_sources(dataset):
    """Data sources of a data set that is no wrapper."""
    found = getattr(dataset, 'data_sources', None)
    if found is None:  # a data set of other origin than ours
        found = [getattr(dataset, 'data_source', None)]
    return [source for source in found if source is not None]


def _sources(dataset):
    """Remote data sources of a data set that is no wrapper."""
    return [source for source in _all_sources(dataset) if getattr(source, 'remote', False)]


def remote_sources(dataset):
    """list: Data sources of a data set, and of those in it, whose samples come from a server."""
    return [source for leaf in leaves(dataset) for source in _sources(leaf)]


def ask_for(dataset, indices):
    """Ask for the samples of a batch, several at the same time.

    Args:
        dataset (Dataset): With a remote source.
        indices (Iterable[int]): Of the batch.
    """
    wanted = {}
    for idx in indices:
        leaf, place = locate(dataset, idx)
        for source in _sources(leaf):
            wanted.setdefault(id(source), (source, []))[1].append(place)
    for source, places in wanted.values():
        source.read_ahead(places)


class _Ahead:
    """Threads that fetch what comes next in the order of a sampler. They draw nothing and change no sample.

    A subclass writes `_work_ahead`, a generator of functions to call, each as soon as there is room for its result.

    Args:
        dataset (Dataset): What the samples are of.
        sampler (Sampler | range): A sampler has `iterate(start)`, and is copied.
        position (int): Number of indices of this epoch that are done.
        parallel (int): Number of threads.
    """

    def __init__(self, dataset, sampler, position, parallel):
        self.dataset = dataset
        self._indices = sampler[position:] if isinstance(sampler, range) else copy.copy(sampler).iterate(position)
        self._position = self._reached = position
        self._moved, self._plan_lock = threading.Condition(), threading.Lock()
        self._stopped = False
        self._plan = self._work_ahead()
        self._threads = [threading.Thread(target=self._work, name='read ahead', daemon=True) for _ in range(parallel)]
        for thread in self._threads:
            thread.start()

    def advance(self, position):
        """Say how many indices of this epoch are done."""
        with self._moved:
            self._position = position
            self._moved.notify_all()

    def stop(self, patience=1.):
        """End the threads; one that waits for a server ends by itself later.

        Args:
            patience (float): Seconds to wait for them.
        """
        with self._moved:
            self._stopped = True
            self._moved.notify_all()
        for thread in self._threads:
            thread.join(patience / len(self._threads))

    def _work(self):
        while True:
            with self._plan_lock:
                found = next(self._plan, None)
            if found is None:
                return
            try:
                found()
            except (RemoteFileError, OSError):  # a worker will meet it as well, and tell
                pass


class ReadAhead(_Ahead):
    """Threads that fetch the chunks of a process' next samples into the cache, in the order of the sampler.

    They run as far ahead as two fifths of the cache allow, shared out over the processes of the node. They draw nothing
    and change nothing but the cache: without them the samples are the same, and late.

    Args:
        dataset (Dataset): With a remote source.
        sampler, position: See _Ahead.
    """

    def __init__(self, dataset, sampler, position):
        self._ahead, self._known = OrderedDict(), OrderedDict()
        self._share = _SHARE_AHEAD / int(os.environ.get('LOCAL_WORLD_SIZE', get_world_size()))
        parallel = max(source.files.parallel for source in remote_sources(dataset))
        super().__init__(dataset, sampler, position, parallel)

    def _work_ahead(self):
        """Yield files and chunk for each chunk in the order in which they are needed, as soon as there is room."""
        for self._reached, idx in enumerate(self._indices, self._reached + 1):
            leaf, place = locate(self.dataset, idx)
            for source in _sources(leaf):
                files = source.files
                if not files.cached:  # there is no room for what is not looked at yet
                    return
                room = max(1, int(self._share * files.cache.limit / files.chunk_bytes))
                for chunk in files.chunks(*source.part(place)):
                    key = id(files), chunk
                    if key in self._known:
                        self._known.move_to_end(key)
                        continue
                    if not self._wait(room):
                        return
                    self._ahead[self._reached, key] = None
                    self._known[key] = None
                    if len(self._known) > 2 * room:
                        self._known.popitem(last=False)  # it may have made way for others meanwhile
                    yield partial(files.bring, chunk)
            if self._reached % 1024 == 0 and not self._wait(math.inf):
                return

    def _wait(self, most):
        """Wait until fewer than so many chunks are ahead of what is looked at; False where it is all over."""
        with self._moved:
            while not self._stopped:
                while self._ahead and next(iter(self._ahead))[0] <= self._position:
                    self._ahead.popitem(last=False)
                if len(self._ahead) < most and self._reached < self._position + _MOST_AHEAD:
                    return True
                self._moved.wait()
        return False


class FilesAhead(_Ahead):
    """Threads that tell the system which files a process reads next, so that it fetches many at the same time.

    A disk on a network, or one that turns, answers a worker that waits for one file after the other with a few hundred
    files a second, whatever they hold; asked for many at once, with several times as many.

    Args:
        dataset (Dataset): Its sources have `will_read(idx)`.
        sampler, position: See _Ahead.
        samples (int): How many samples to be ahead of what the loader has given out.
    """

    def __init__(self, dataset, sampler, position, samples):
        self.samples = samples
        super().__init__(dataset, sampler, position, _ASKING)

    def _work_ahead(self):
        for self._reached, idx in enumerate(self._indices, self._reached + 1):
            with self._moved:
                while not self._stopped and self._reached > self._position + self.samples:
                    self._moved.wait()
                if self._stopped:
                    return
            leaf, place = locate(self.dataset, idx)
            for source in _all_sources(leaf):
                yield partial(source.will_read, place)


def check_files_ahead(dataset, sampler, samples):
    """See that files can be read ahead.

    Raises:
        ConfigError: `samples` is no positive integer, a source has no files on disk, or the sampler cannot tell what
            comes next.
    """
    check_integer(samples, 'data.read_ahead, a number of samples,', 1)
    if not hasattr(sampler, 'iterate'):
        raise ConfigError(f'data.read_ahead asks the sampler what comes next, and {type(sampler).__name__} has no '
                          'iterate(start)')
    for source in [source for leaf in leaves(dataset) for source in _all_sources(leaf) or [leaf]]:
        try:
            source.will_read(0)
        except AttributeError:
            raise ConfigError(f'data.read_ahead is for files on disk, and the images of '
                              f'{type(whole_source(source)).__name__} '
                              'are none here: leave it out') from None
        except OSError:  # such as a broken link, which is told when it is read
            pass


def warn_of_a_small_cache(dataset, sampler):
    """Say so where the order of the samples makes the server send the same chunks again and again.

    Args:
        dataset (Dataset): With a remote source.
        sampler (Sampler): The order.
    """
    sources = remote_sources(dataset)
    sets = {source.files.key: source.files.shards for source in sources}
    total = sum(shard.bytes for shards in sets.values() for shard in shards)
    room = sources[0].files.cache.limit
    told = f'the shards on the server have {total / 1e9:.3g} GB, data_source.cache_size is {room / 1e9:.3g} GB'
    blocks = getattr(sampler, 'ends', None)
    if not room or total <= room:
        return
    if blocks is None and getattr(sampler, 'shuffle', False):
        told += (' and the order is a full shuffle, so that for most images a whole chunk is fetched: take '
                 "data.sampler=dict(type='BlockShuffleSampler'), a larger cache, or cache_size=0")
    elif blocks is not None and sampler.window * total / len(blocks) > _SHARE_SHUFFLED * room:
        told += (
            f', and {sampler.window} blocks of {total / len(blocks) / 1e9:.3g} GB are shuffled together, for which '
            'it should be twice as large as these: take a smaller window, or a larger cache')
    else:
        return
    logging.getLogger('mmssl.data').warning(told)
