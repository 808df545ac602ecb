# Copyright (c) mmssl contributors. All rights reserved.
"""Parts of large files on a server: in chunks, through a cache on the local disk, several at a time."""
import contextlib
import hashlib
import json
import os
import os.path as osp
import queue
import shutil
import threading

from .errors import ConfigError, RemoteFileError
from .misc import atomic_write
from .remote_files import Answer
from .shard_index import FOLDER, shard_digest


class RemoteShards:
    """Random access to the shards of a set on a server.

    With a cache, whole chunks are fetched and kept, each once for all processes of the node; without one, or with a
    full disk, just the bytes that are asked for.

    Args:
        folder (RemoteFolder): Where the shards lie.
        shards (Sequence[Shard]): What the index says of them.
        key (str): Name of the set in the cache: another one for another index.
        cache (ChunkCache): Chunks on the local disk. With a limit of 0 none are kept.
        chunk_bytes (int): Length of a chunk.
        parallel (int): Requests of one process at the same time.

    Raises:
        RemoteFileError: From all methods that read: see RemoteFolder.read; or a shard is not the one of the index.
    """

    def __init__(self, folder, shards, key, cache, chunk_bytes=4 << 20, parallel=8):
        self.folder, self.shards, self.key, self.cache = folder, shards, key, cache
        self.chunk_bytes, self.parallel = chunk_bytes, parallel
        self._tags, self._ready = {}, {}

    @property
    def cached(self):
        """bool: Whether chunks are kept."""
        return self.cache.limit > 0 and not self.cache.full

    def __getstate__(self):
        return {**self.__dict__, '_ready': {}}

    def close(self):
        self._ready = {}

    def read(self, shard, offset, size):
        """Bytes of a shard.

        Args:
            shard (int): Number of the shard.
            offset (int): The first byte.
            size (int): Number of bytes.

        Returns:
            bytes: So many.
        """
        ready = self._ready.pop((shard, offset, size), None)
        if ready is not None:
            return ready
        if not 0 <= offset <= offset + size <= self.shards[shard].bytes:
            raise ValueError(f'bytes {offset} to {offset + size} of {self.shards[shard].bytes}')
        if not self.cached:
            return self._ask(shard, offset, offset + size)
        return b''.join(
            self._part(shard, number, max(offset - number * self.chunk_bytes, 0),
                       min(offset + size - number * self.chunk_bytes, self.chunk_bytes))
            for number in self._chunks(offset, size))

    def read_ahead(self, wanted):
        """Fetch what `read` will be asked for next, several parts at the same time.

        Args:
            wanted (Sequence[tuple[int, int, int]]): Shard, offset and size of each.
        """
        self._ready = {}
        if not self.cached:

            def fetch(part):
                self._ready[part] = self.read(*part)

            in_parallel(fetch, wanted, self.parallel)
            return
        chunks = dict.fromkeys(chunk for part in wanted for chunk in self.chunks(*part))
        absent = [c for c in chunks if not self.cache.has(self._name(*c), self._length(*c))]
        in_parallel(lambda chunk: self._fetch(*chunk), absent, self.parallel)

    def chunks(self, shard, offset, size):
        """list[tuple[int, int]]: The chunks that hold some bytes, as `bring` takes them."""
        return [(shard, number) for number in self._chunks(offset, size)]

    def bring(self, chunk):
        """Have a chunk in the cache, unless another process is just fetching it.

        Args:
            chunk (tuple[int, int]): Numbers of the shard and of the chunk in it.
        """
        if self.cached and not self.cache.has(self._name(*chunk), self._length(*chunk)):
            self._fetch(*chunk, wait=False)

    def _chunks(self, offset, size):
        return range(offset // self.chunk_bytes, (offset + max(size, 1) - 1) // self.chunk_bytes + 1)

    def _name(self, shard, number):
        return f'{self.key}/{shard:06d}-{number:06d}.chunk'

    def _length(self, shard, number):
        return min(self.chunk_bytes, self.shards[shard].bytes - number * self.chunk_bytes)

    def _part(self, shard, number, start, stop):
        """Some bytes of a chunk, which is fetched where it is not there."""
        data = self.cache.read(self._name(shard, number), self._length(shard, number), start, stop)
        if data is not None:
            return data
        data = self._fetch(shard, number) if self.cached else None
        if data is not None:
            return data[start:stop]
        # another process has fetched it, or the disk is at fault
        data = self.cache.read(self._name(shard, number), self._length(shard, number), start, stop)
        begin = number * self.chunk_bytes
        return self._ask(shard, begin + start, begin + stop) if data is None else data

    def _fetch(self, shard, number, wait=True):
        """Fetch a chunk into the cache; its bytes, or None where another one has done so, or does without `wait`."""
        name, length = self._name(shard, number), self._length(shard, number)
        self._known_tags(shard)  # before the chunk is held: one thing is held at a time
        with self.cache.hold(name, wait) as held:
            if not held or self.cache.has(name, length):
                return None
            begin = number * self.chunk_bytes
            data = self._ask(shard, begin, begin + length)
            self.cache.write(name, data)
            return data

    def _ask(self, shard, start, stop):
        """Bytes of a shard that is the one of the index."""
        tags = self._known_tags(shard)
        answer = self.folder.read(self.shards[shard].name, start, stop)
        self._check_length(shard, answer)
        if answer.tag and answer.tag not in tags:
            tags.add(self._check(shard))
            if answer.tag not in tags:
                self._refuse(shard,
                             f'it changes while it is read: its tags are {answer.tag}, {", ".join(sorted(tags))}')
        return answer.body

    def _known_tags(self, shard):
        """Tags of a shard that was compared with the index, once on each node."""
        if shard not in self._tags:
            name = f'{self.key}/{shard:06d}.tag'
            with self.cache.hold(name):
                if osp.isfile(self.cache.path(name)):
                    with open(self.cache.path(name), encoding='utf-8') as file:
                        self._tags[shard] = {file.read()}
                else:
                    tag = self._check(shard)
                    with contextlib.suppress(OSError), atomic_write(self.cache.path(name)) as file:
                        file.write(tag)
                    self._tags[shard] = {tag}
        return self._tags[shard]

    def _check(self, shard):
        """Compare a shard with what the index says of it.

        Returns:
            str: Its tag, '' where the server has none.

        Raises:
            RemoteFileError: It is another one.
        """
        found = self.shards[shard]
        answers = []

        def read(offset, size):
            answers.append(self.folder.read(found.name, offset, offset + size) if size else Answer(b''))
            self._check_length(shard, answers[-1])
            return answers[-1].body

        if shard_digest(read, found.bytes) != found.digest:
            self._refuse(shard, 'its first or last 64 KiB are other ones')
        if answers[0].tag != answers[-1].tag:
            self._refuse(shard, 'it changes while it is read')
        return answers[0].tag or ''

    def _check_length(self, shard, answer):
        if answer.total not in (None, self.shards[shard].bytes):
            self._refuse(shard, f'it has {answer.total} bytes, and had {self.shards[shard].bytes}')

    def _refuse(self, shard, how):
        raise RemoteFileError(
            f'{self.folder.address}/{self.shards[shard].name} is not the shard that was indexed: {how}. '
            'The set was replaced, or the index is of another one; index the shards again where they '
            'were made, and put the folder index beside them')


def fetch_index(folder, cache, chunk_bytes=4 << 20, parallel=8):
    """Copy the index of a set into the cache, once for all processes of the node and all runs.

    Args:
        folder (RemoteFolder): Where the shards lie.
        cache (ChunkCache): Where it goes. It is not one of the chunks that make way for others.
        chunk_bytes (int): Length of the parts that are fetched.
        parallel (int): Requests at the same time.

    Returns:
        tuple[str, str]: The folder of the index on disk, and the name of the set in the cache.

    Raises:
        RemoteFileError: There is no index, or it cannot be read.
        ConfigError: The disk is full.
    """
    try:
        facts = folder.read(f'{FOLDER}/index.json').body
    except RemoteFileError as error:
        if 'no such file' in str(error):
            raise RemoteFileError(
                f'{error}. Shards on a server need their index beside them: write it where they were '
                'made (tools/data_converters/index_shards.py), and copy the folder index too') from error
        raise
    key = hashlib.sha256(folder.address.encode() + b'\0' + facts).hexdigest()[:24]
    target = cache.path(f'{key}/{FOLDER}')
    try:
        arrays = {osp.basename(name): int(size) for name, size in json.loads(facts)['arrays'].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RemoteFileError(f'{folder.address}/{FOLDER}/index.json is no index of shards: {facts[:60]!r}') from error
    with cache.hold(target):
        if _is_there(target, {'index.json': len(facts), **arrays}):
            return target, key
        shutil.rmtree(target, ignore_errors=True)  # what is cut off may be in use, and is not written into
        try:
            os.makedirs(target, exist_ok=True)
            for name, size in arrays.items():
                _fetch_file(folder, f'{FOLDER}/{name}', size, osp.join(target, name), chunk_bytes, parallel)
            with atomic_write(osp.join(target, 'index.json'), 'wb') as file:  # the last one: now it is complete
                file.write(facts)
        except BaseException as error:
            shutil.rmtree(target, ignore_errors=True)
            if isinstance(error, OSError) and not isinstance(error, ConfigError):
                raise ConfigError(
                    f'the index of {folder.address} takes {sum(arrays.values()) / 1e6:.0f} MB and cannot be '
                    f'written below cache_dir {cache.folder}: {error}') from error
            raise
    return target, key


def _is_there(folder, sizes):
    try:
        return all(os.path.getsize(osp.join(folder, name)) == size for name, size in sizes.items())
    except FileNotFoundError:
        return False


def _fetch_file(folder, name, size, path, chunk_bytes, parallel):
    with open(path, 'wb') as file:

        def fetch(start):
            answer = folder.read(name, start, min(start + chunk_bytes, size))
            if answer.total not in (None, size):
                raise RemoteFileError(f'{folder.address}/{name} has {answer.total} bytes, index.json says {size}: the '
                                      'set is just being replaced, or its files are of several sets')
            os.pwrite(file.fileno(), answer.body, start)

        in_parallel(fetch, range(0, size, chunk_bytes), parallel)
        os.fsync(file.fileno())


def in_parallel(function, items, threads):
    """Call a function with each item, in several threads. They are daemons: no exit waits for a slow server.

    Args:
        function (Callable): With one argument.
        items (Iterable): Its arguments.
        threads (int): At most so many.

    Raises:
        Exception: The first that a call has raised; then no further item is begun.
    """
    items = list(items)
    if len(items) < 2 or threads < 2:
        for item in items:
            function(item)
        return
    todo, errors = queue.SimpleQueue(), []
    for item in items:
        todo.put(item)

    def work():
        while not errors:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                function(item)
            except BaseException as error:
                errors.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(items)))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException as error:  # Ctrl-C
        errors.append(error)
        raise
    if errors:
        raise errors[0]
