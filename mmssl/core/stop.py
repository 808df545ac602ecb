# Copyright (c) mmssl contributors. All rights reserved.
"""Ends and checkpoints that all processes of a training agree on: by a signal to one of them, or by a clock."""
import datetime
import os
import signal
import time

import torch
import torch.distributed as dist

from mmssl.utils.dist import get_rank, get_world_size
from mmssl.utils.launch import Terminated, handle_stop_signals

_SECONDS = 0.5  # about so often processes ask each other
_MOST = 50  # iterations between two questions


class Stop:
    """Signals that ask a training to end, and other requests, agreed on by all processes at the end of an iteration.

    A signal only leaves a note: the iteration, a checkpoint that is being written or an evaluation goes on. A second
    Ctrl-C ends the process at once. All processes must act in the same iteration, so they take the maximum of their
    notes by an all-reduce of three integers over gloo that begins at the end of one iteration and is read at the end of
    the next one; nobody waits for it. It runs about twice a second, every so many iterations as they agreed on in it.

    As a context manager it takes the signals, and gives them back.

    Attributes:
        number (int): Of the signal that all have agreed on, 0 for none.
        due (bool): Whether all have agreed on the other request.
    """

    def __init__(self):
        self.number, self.due = 0, False
        self._noted = 0
        self._before = {}
        self._question = None  # of this moment: its work, and the tensor with the answer
        self._group = None
        self._pause = 0  # calls until the next question
        self._calls, self._time = 0, time.monotonic()  # since the last one, and when it was

    def __enter__(self):
        self._before = handle_stop_signals(self._note, ctrl_c=True)
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number):
        if number == signal.SIGINT and self._noted:
            raise Terminated(number)
        if number == signal.SIGINT and get_rank() == 0:  # logging might be what is interrupted
            os.write(2, b'\nending after this iteration, with a checkpoint; Ctrl-C once more ends at once\n')
        self._noted = self._noted or number  # SIGUSR1 asks for another start later; SIGTERM comes behind it

    def agree(self, due=False, at_once=False):
        """Exchange notes, and set `number` and `due`. All processes call it at the same points of the training.

        Args:
            due (bool): A request besides the signals, of any process.
            at_once (bool): Wait for the answer, such as before something long.
        """
        if get_world_size() == 1:
            self.number, self.due = self._noted, self.due or due
            return
        self._calls += 1
        if self._question:
            self._read()
        elif at_once or self._pause == 0:
            self._ask(due)
        else:
            self._pause -= 1
        if at_once:
            if not self._question:
                self._ask(due)
            self._read()

    def settle(self):
        """Take the answer that is still under way, at the end of the training."""
        if self._question:
            self._read()

    def _ask(self, due):
        if self._group is None:
            self._group = dist.new_group(backend='gloo', timeout=datetime.timedelta(days=1))
        now = time.monotonic()
        calls = int(_SECONDS * self._calls / max(now - self._time, 1e-6))
        self._time, self._calls = now, 0
        answer = torch.tensor([self._noted, int(due), -max(1, min(_MOST, calls))])
        self._question = dist.all_reduce(answer, dist.ReduceOp.MAX, self._group, async_op=True), answer

    def _read(self):
        (work, answer), self._question = self._question, None
        work.wait()
        number, due, calls = answer.tolist()
        self.number, self.due, self._pause = self.number or number, self.due or bool(due), -calls - 1

    def __bool__(self):
        return self.number > 0

    def error(self):
        """What to raise when the checkpoint is written."""
        return Terminated(self.number)

    def name(self):
        return signal.Signals(self.number).name
