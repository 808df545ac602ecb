# Copyright (c) mmssl contributors. All rights reserved.
"""Processes of a training find each other, and say for whom they wait."""
import json
import os
import platform
import sys
import time
import uuid
from socket import create_connection
from urllib.parse import urlsplit

from torch.distributed import FileStore, PrefixStore, TCPStore

from .errors import ConfigError
from .launch import LaunchError

_FIRST_WORD = 10  # seconds of silence; then a line each minute


def meet(place, rank, size, timeout):
    """Wait until all processes are there.

    They agree on a name under which this meeting keeps its keys: what an earlier attempt, or a process that was
    killed, has left in a file or in the store of torchrun is never read.

    Args:
        place (str): 'tcp://HOST:PORT', where rank 0 or torchrun listens, or 'file:///FOLDER/NAME', a file that all can
            write.
        rank (int): Of this process.
        size (int): Number of all.
        timeout (datetime.timedelta): For how long to wait.

    Returns:
        tuple[Store, list[str]]: A store without keys, for init_process_group, and the machine of each rank.

    Raises:
        ConfigError: This is no such place.
        LaunchError: The others have not come in time, or another process has the rank of this one.
    """
    waiting = _Waiting(place, rank, size, timeout.total_seconds())
    store = _open(place, rank, size, timeout, waiting)
    me = f'{platform.node()} {uuid.uuid4().hex}'
    store.set(f'here/{rank}', me)
    token, here = (_gather if rank == 0 else _follow)(store, rank, size, me, waiting)
    return PrefixStore(token, store), [name.partition(' ')[0] for name in here]


def _open(place, rank, size, timeout, waiting):
    parts = urlsplit(place)
    if parts.scheme == 'file' and parts.path:
        try:
            open(parts.path, 'ab').close()  # FileStore would try for minutes
        except OSError as error:
            raise LaunchError(f'{waiting.me} cannot write {place}: {error.strerror}') from error
        return FileStore(parts.path, size)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme != 'tcp' or not host or port is None:
        raise ConfigError(f"dist_params.init_method is 'tcp://HOST:PORT', 'file:///FOLDER/NAME' or 'env://', got "
                          f'{place!r}')
    env = os.environ
    of_torchrun = env.get('TORCHELASTIC_USE_AGENT_STORE') == 'True' and (env.get('MASTER_ADDR'),
                                                                         env.get('MASTER_PORT')) == (host, str(port))
    listens = rank == 0 and not of_torchrun
    while not listens:
        try:
            create_connection((host, port), timeout=5).close()
            break
        except OSError as error:
            waiting(f'{"torchrun" if of_torchrun else "rank 0"} does not answer ({error})')
    try:
        return TCPStore(host, port, size, listens, timeout=timeout, wait_for_workers=False, multi_tenant=True)
    except RuntimeError as error:
        taken = 'EADDRINUSE' in str(error) and f'port {port} is taken on {platform.node()}, perhaps by another training'
        raise LaunchError(f'{waiting.me} cannot open {place}: {taken or str(error).splitlines()[0]}') from error


def _gather(store, rank, size, me, waiting):
    """Rank 0: name the meeting anew whenever a process that was killed has been replaced, until all have agreed."""
    called = token = None
    while True:
        keys = [f'here/{r}' for r in range(size)]
        here = [store.get(key).decode() if store.check([key]) else None for key in keys]
        _check_own(here[0], rank, me, waiting)
        missing = [r for r in range(size) if here[r] is None]
        if not missing and here != called:
            called, token = here, uuid.uuid4().hex
            store.set('called', json.dumps([token, *here]))
        missing = missing or [r for r in range(1, size) if not store.check([f'{token}/{r}'])]
        if not missing:
            store.set(f'{token}/all', '1')
            return token, here
        waiting(f'rank {missing[0]} is not there' if len(missing) ==
                1 else f'{len(missing)} ranks are not there, such as {", ".join(map(str, missing[:8]))}')


def _follow(store, rank, size, me, waiting):
    """Other ranks: agree to what rank 0 calls out, if it has this very process in it."""
    waiting.first_word = 60  # rank 0 knows more
    while True:
        _check_own(store.get(f'here/{rank}').decode(), rank, me, waiting)
        if store.check(['called']):
            token, *here = json.loads(store.get('called'))
            if here[rank:rank + 1] == [me]:
                store.set(f'{token}/{rank}', '1')
                if store.check([f'{token}/all']):
                    return token, here
        waiting(f'rank 0 of {size} has not called this one; what rank 0 says tells more')


def _check_own(found, rank, me, waiting):
    if found != me:
        raise LaunchError(f'{waiting.me} is not alone: a process on {found.partition(" ")[0]} is rank {rank} at '
                          f'{waiting.place} too, perhaps of another training, which needs a place of its own')


class _Waiting:
    """Sleep, and say now and then for whom; raise LaunchError at the end of the time."""

    def __init__(self, place, rank, size, timeout):
        self.place, self.timeout = place, timeout
        self.me = f'rank {rank} of {size} on {platform.node()}'
        self.start, self.first_word, self.words = time.monotonic(), _FIRST_WORD, 0

    def __call__(self, reason):
        waited = time.monotonic() - self.start
        if waited > self.timeout:
            raise LaunchError(f'{self.me} does not meet the others at {self.place}: {reason}, for {self.timeout:g} s '
                              '(dist_params.timeout)')
        if waited > self.first_word + 60 * self.words:
            self.words += 1
            print(
                f'{self.me} waits at {self.place}, {waited:.0f} s by now and for {self.timeout:g} s at most: {reason}',
                file=sys.stderr,
                flush=True)
        time.sleep(min(0.5, 0.01 + waited / 20))
