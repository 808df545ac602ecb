# Copyright (c) mmssl contributors. All rights reserved.
"""Logged values between two log lines."""
import torch
from mmcv.runner import LogBuffer as _LogBuffer

from mmssl.utils.dist import all_reduce_sum

# Values are kept for the longest interval that is likely; without a bound they fill the memory of a long run.
KEEP = 1000


class LogBuffer(_LogBuffer):
    """mmcv's buffer for tensors: nothing is moved to the host until the average is asked for.

    Tensors are averaged over the interval and over ranks with one reduction and one transfer; every rank logs the
    same ones and calls `average` at the same iteration. Numbers are averaged in this process alone.

    Attributes:
        samples (int): Of an iteration, in all processes together. While training, the output has their number a second
            as `img_per_sec`, and the share of the time that was spent waiting for data as `data_share`.
        evaluated (set[str]): Names in the output that are figures of an evaluation.
    """

    samples = 0

    def __init__(self):
        super().__init__()
        self.evaluated = set()

    def update(self, vars, count=1):
        super().update({k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in vars.items()}, count)

    def average(self, n=0):
        """Average the latest n values of each name, or all of them with n = 0, into `output`."""
        sums, names = [], []
        for name, values in self.val_history.items():
            values, counts = values[-n:], self.n_history[name][-n:]
            if isinstance(values[-1], torch.Tensor):
                values = torch.stack([torch.as_tensor(v, device=values[-1].device) for v in values]).double()
                counts = torch.tensor(counts, dtype=torch.float64).to(values.device, non_blocking=True)
                sums += [(values * counts).sum(), counts.sum()]
                names.append(name)
                self.output[name] = None  # keeps the order of the log line
            else:
                self.output[name] = sum(v * c for v, c in zip(values, counts)) / sum(counts)
        if sums:
            sums = all_reduce_sum(torch.stack(sums)).tolist()
            self.output.update({name: sums[2 * i] / sums[2 * i + 1] for i, name in enumerate(names)})
        if n:
            if 'time' in self.output:
                time = max(1e-9, self.output['time'])
                self.output.update(img_per_sec=self.samples / time, data_share=self.output.get('data_time', 0) / time)
            for history in (self.val_history, self.n_history):
                for values in history.values():
                    del values[:-max(n, KEEP)]
        self.ready = True
