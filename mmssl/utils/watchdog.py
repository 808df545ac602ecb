# Copyright (c) mmssl contributors. All rights reserved.
"""Which process has died, or keeps the others waiting."""
import contextlib
import itertools
import json
import os
import re
import sys
import threading
import time
import traceback

import torch.distributed as dist

from .dist import get_dist_info, is_distributed, patience
from .launch import tell_once

# what a collective call says when another process is gone, or does not come
LOST = re.compile('(?i)connection (closed|reset)|broken pipe|timed out waiting|read error|recvvalue failed')
_VERDICT = 'verdict'
_running = None  # the one of this process
_started = itertools.count()  # of trainings in this process


class Watchdog:
    """A thread in each process of a training that tells the others, through the store of their meeting, how far it is.

    Rank 0 looks at all of them, the others at rank 0. A process that gives no sign of life for as long as
    dist_params.timeout is stopped, or its machine is gone. One that the others are ahead of for so long, while it is
    not busy with something that only it does (an evaluation, a checkpoint), hangs. In both cases all processes end,
    and say which one it was. Processes that wait for each other in different collective calls are not told apart here:
    the time-out of the call itself ends them.

    Args:
        timeout (float): Seconds.
    """

    def __init__(self, timeout):
        self.timeout = timeout
        self.rank, self.world_size = get_dist_info()
        self._period = min(2., timeout / 5)
        self._main = threading.main_thread().ident
        self._place, self._words, self._busy = 0, 'the start', True
        self._beats = 0
        self._seen = {}  # by rank: its last state, when it beat last, and when it came to its place
        self._contact = time.monotonic()  # with the store
        self._end = threading.Event()
        self._store = None

    def start(self):
        """All processes call it."""
        global _running
        store = dist.distributed_c10d._get_default_store()
        store = store.clone() if hasattr(store, 'clone') else store  # a connection that no other thread waits on
        self._store = dist.PrefixStore(f'watchdog{next(_started)}', store)
        self._beat()
        _running = self
        for target in (self._talk, self._listen):
            threading.Thread(target=target, name='watchdog', daemon=True).start()

    def stop(self):
        """The training is over: nobody is waited for any more."""
        global _running
        self._end.set()
        _running = None

    def mark(self, place, words, busy=False):
        """Say how far the main thread is.

        Args:
            place (int): Number that grows, and is the same in all processes at the same place.
            words (str): What it is.
            busy (bool): Whether others may have to wait for it.
        """
        self._place, self._words, self._busy = place, words, busy

    def be_busy(self, busy=True):
        """Say whether others may have to wait for what the main thread does now."""
        self._busy = busy

    # ---- its own threads

    def _beat(self):
        self._beats += 1
        state = dict(beats=self._beats, place=self._place, words=self._words, busy=self._busy, host=os.uname().nodename)
        state['at'] = self._line()
        self._store.set(str(self.rank), json.dumps(state))

    def _line(self):
        """The line at which the main thread is, of code that is not a library's where there is any."""
        stack = traceback.extract_stack(sys._current_frames().get(self._main))
        own = [
            frame for frame in stack if 'site-packages' not in frame.filename and '/lib/python' not in frame.filename
        ]
        frame = (own or stack)[-1]
        return f'{os.path.basename(frame.filename)}:{frame.lineno}, in {frame.name}'

    def _talk(self):
        """Tell, look at the others, and judge."""
        while not self._end.wait(self._period):
            try:
                self._beat()
                for rank in range(self.world_size) if self.rank == 0 else [0]:
                    self._look(rank)
                self._contact = time.monotonic()
                verdict = self._judge()
                if verdict:
                    self._store.set(_VERDICT, verdict)
                else:
                    verdict = self.verdict()
            except RuntimeError:  # the store is gone, and with it its process: the main thread meets that too
                return
            if verdict and not self._end.is_set():
                if self.rank == 0:
                    self._end.wait(2 * self._period)  # the others read it
                self._leave(verdict)

    def _listen(self):
        """The store lies in another process: when that is stopped, it answers nothing."""
        while not self._end.wait(self._period):
            if time.monotonic() - self._contact > self.timeout + 2 * self._period:
                seen = self._seen.get(0)
                name = self._name(0) if seen else 'rank 0'
                self._leave(f'{name}, or the launcher, gives no sign of life for {self.timeout:g} s '
                            '(dist_params.timeout): its process is stopped, or its machine is gone')

    def _look(self, rank):
        now = time.monotonic()
        if not self._store.check([str(rank)]):
            return
        state = json.loads(self._store.get(str(rank)))
        before, beat, there = self._seen.get(rank, ({}, now, now))
        if state['beats'] != before.get('beats'):
            beat = now
        if (state['place'], state['busy']) != (before.get('place'), before.get('busy')):
            there = now
        self._seen[rank] = state, beat, there

    def _name(self, rank):
        return f'rank {rank} on {self._seen[rank][0]["host"]}'

    def _judge(self):
        """What to say about a process that is at fault, None where there is none."""
        now = time.monotonic()
        for rank, (state, beat, _) in self._seen.items():
            if now - beat > self.timeout:
                return (f'{self._name(rank)} gives no sign of life for {self.timeout:g} s (dist_params.timeout), last '
                        f'seen in {state["words"]}: its process is stopped, or its machine is gone')
        late = [(state['place'], rank) for rank, (state, _, there) in self._seen.items()
                if now - there > self.timeout and not state['busy']]
        if late and min(late)[0] < max(late)[0]:
            state = self._seen[min(late)[1]][0]
            return (f'{self._name(min(late)[1])} keeps the others waiting for {self.timeout:g} s '
                    f'(dist_params.timeout): it is still in {state["words"]} ({state["at"]}), others in '
                    f'{self._seen[max(late)[1]][0]["words"]}')
        return None

    def _leave(self, verdict):
        tell_once(f'error: {verdict}')
        sys.stdout.flush()
        os._exit(1)

    def verdict(self):
        """What one of the processes has said about another one, None so far."""
        return self._store.get(_VERDICT).decode() if self._store.check([_VERDICT]) else None

    # ---- after an error

    def say_lost(self):
        """This process lives, and ends by an error of its own or of others."""
        self._store.set(f'lost {self.rank}', 'x')

    def missing(self):
        """Names of the processes that have given no sign of life for a while, after the end of a connection."""
        end = time.monotonic() + 3 * self._period + 1
        beats, last = {}, {}
        try:
            self.say_lost()
            for rank in range(self.world_size):  # what it gave before its end, since the thread has looked, is no sign
                self._look(rank)
                last[rank] = self._seen.get(rank, ({}, ))[0].get('beats')
            while time.monotonic() < end and len(beats) < self.world_size:
                for rank in set(range(self.world_size)) - set(beats):
                    self._look(rank)
                    now = self._seen.get(rank, ({}, ))[0].get('beats')
                    last[rank] = now if last[rank] is None else last[rank]
                    if rank == self.rank or now != last[rank] or self._store.check([f'lost {rank}']):
                        beats[rank] = True
                time.sleep(self._period / 4)
        except RuntimeError:
            return ['rank 0' if 0 not in self._seen else self._name(0)] if self.rank else []
        return [self._name(rank) if rank in self._seen else f'rank {rank}' for rank in range(self.world_size)
                if rank not in beats]  # yapf: disable

    def places(self):
        """Where each process is, for an error that does not say who is at fault."""
        try:
            for rank in range(self.world_size):
                self._look(rank)
        except RuntimeError:
            pass
        return '; '.join(f'{self._name(rank)} is in {state["words"]} ({state["at"]})'
                         for rank, (state, *_) in sorted(self._seen.items()))


class NoWatchdog:
    """In one process there is nobody to wait for."""

    def start(self):
        pass

    stop = start

    def mark(self, place, words, busy=False):
        pass

    def be_busy(self, busy=True):
        pass


def say_goodbye():
    """This process ends, and has said why."""
    if _running:
        with contextlib.suppress(RuntimeError):
            _running.say_lost()
        _running.stop()


def build_watchdog():
    """The watchdog of a training that begins, by dist_params.timeout."""
    return Watchdog(patience()) if is_distributed() else NoWatchdog()


def explain_loss(error):
    """Words about an error of a collective call: which process is gone, or where each of them is.

    Args:
        error (Exception): It.

    Returns:
        str | None: None where it is another kind of error.
    """
    if not isinstance(error, RuntimeError) or not LOST.search(str(error)):
        return None
    with contextlib.suppress(RuntimeError):
        if _running and _running.verdict():  # those that have read it are gone already
            return _running.verdict()
    if 'timed out' in str(error).lower():
        return 'the processes wait for each other in vain (dist_params.timeout)' + (f': {_running.places()}'
                                                                                    if _running else '')
    missing = _running.missing() if _running else []
    if missing:
        return f'{", ".join(missing)} has ended without a word, and with it the connection to it'
    return 'another process has ended, and with it the connection to it'
