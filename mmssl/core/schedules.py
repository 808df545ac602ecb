# Copyright (c) mmssl contributors. All rights reserved.
"""Schedules as functions of the position in the training, and chains of them.

A shape is a function of the share of its part that is done, from 0 to 1. What counts time in it (milestones, period,
hold) is a share of the part too; a chain converts what the config counts in epochs or iterations.
"""
import bisect
import math
from typing import Callable, NamedTuple

from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.registry import accepted_arguments, check_arguments

# arguments of shapes that are values of the scheduled number, and those that count time
VALUES = ('value', 'values', 'start', 'end')
_TIMES = ('milestones', 'period', 'hold')
_LENGTHS = ('length', 'epochs', 'iterations')


def constant(share, value):
    """One value.

    Args:
        share (float): Share of the part that is done.
        value (float): The value.
    """
    return value


def linear(share, start, end):
    """A straight line.

    Args:
        share (float): Share of the part that is done.
        start (float): First value.
        end (float): Last value.
    """
    return start + (end - start) * share


def cosine(share, start, end):
    """Half a cosine wave (SGDR without restarts, https://arxiv.org/abs/1608.03983, equation 5).

    Args:
        share (float): Share of the part that is done.
        start (float): First value.
        end (float): Last value.
    """
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def cosine_restart(share, start, end, period, wave='half', multiplier=1., adaptive=False):
    """Cosine with restarts (SGDR, https://arxiv.org/abs/1608.03983).

    Args:
        share (float): Share of the part that is done.
        start (float): First value, and height of the first wave.
        end (float): Where each wave goes down to.
        period (float): Time from the top of a wave to its bottom.
        wave (str): 'half': down along half a wave, then a jump up. 'full': down, and up again in as much time.
        multiplier (float): By which each wave is higher than the one before.
        adaptive (bool): Each wave is as high as a single cosine over the whole part is where the wave begins.
    """
    begun = math.floor((share / period + 1) / 2 if wave == 'full' else share / period)  # waves that have begun again
    if adaptive:
        height = cosine(min(1., (2 * begun - 1 if wave == 'full' else begun) * period), start, end) if begun else start
    else:
        height = start * multiplier**begun
    done = share / period - (0 if wave == 'full' else begun)
    return end + (height - end) * (1 + math.cos(math.pi * done)) / 2


def step(share, values, milestones=None):
    """One value after the other.

    Args:
        share (float): Share of the part that is done.
        values (Sequence[float]): The values.
        milestones (Sequence[float], optional): When the second value begins, the third, and so on; by default all
            hold equally long.
    """
    if milestones is None:
        milestones = [i / len(values) for i in range(1, len(values))]
    return values[bisect.bisect_right(milestones, share + 1e-9)]


def inverse_sqrt(share, start, hold=0., before=0.):
    """One over the root of the time since the training began (https://arxiv.org/abs/1706.03762, section 5.3).

    Args:
        share (float): Share of the part that is done.
        start (float): First value.
        hold (float): How long it stays there.
        before (float): Time before the part, in lengths of the part. A chain knows it.
    """
    return start * math.sqrt((before + hold) / max(before + share, before + hold))


def exponential(share, start, end):
    """The same factor in equal times.

    Args:
        share (float): Share of the part that is done.
        start (float): First value.
        end (float): Last value. Both are above 0.
    """
    return start * (end / start)**share


def polynomial(share, start, end=0., power=1.):
    """A power of the share that is left.

    Args:
        share (float): Share of the part that is done.
        start (float): First value.
        end (float): Last value.
        power (float): The power.
    """
    return end + (start - end) * (1 - share)**power


SHAPES = {
    shape.__name__: shape
    for shape in (constant, linear, cosine, cosine_restart, step, inverse_sqrt, exponential, polynomial)
}


def register_shape(shape):
    """Make a function a shape for chains and schedules, under its own name; used as a decorator.

    The module is named in `custom_imports`, so that every process knows it.

    Args:
        shape (Callable): From the share of the part that is done, 0 to 1, and arguments of the config to the value.
            The value at the start, at the end and in between is best called `start`, `end`, `value` or `values`, and
            times `milestones`, `period` or `hold`: these are checked and counted as those of the other shapes.

    Returns:
        Callable: The function itself.

    Raises:
        ConfigError: There is a shape of this name.
    """
    if SHAPES.get(shape.__name__, shape) is not shape:
        raise ConfigError(f'there is a shape {shape.__name__!r} already')
    SHAPES[shape.__name__] = shape
    return shape


class _Part(NamedTuple):
    """A part as given: its length is `amount` units, or 'rest'; `whole` when the shape sees the whole training."""
    shape: Callable
    unit: str
    amount: float | str
    whole: bool
    arguments: dict
    cfg: dict


class Chain:
    """Shapes one after the other.

    Args:
        parts (Sequence[dict]): Each with a `type` (constant, linear, cosine, cosine_restart, step, inverse_sqrt,
            exponential, polynomial) and the arguments of that shape. How long it lasts is one of `length`, a share of
            the training, `epochs` and `iterations`; one part may leave it out, or say 'rest', for what the others
            leave. Milestones, period and hold are counted in the same: in epochs or iterations from the begin of the
            part, else as shares of the part. With `position='training'` the shape sees the share of the whole training
            instead of its own, such as a cosine that has run on below the warm-up.
        lowest (float): The least value that the scheduled number may have.
        what (str): The scheduled number, for messages.

    Raises:
        ConfigError: An unknown shape or argument, a value out of range, lengths that cannot be right.
    """

    def __init__(self, parts, lowest=-math.inf, what='a schedule'):
        if not isinstance(parts, (list, tuple)) or not parts:
            raise ConfigError(f"parts is a list such as [dict(type='linear', start=0., end=1.)], got {parts!r}")
        self.what = what
        self.parts = [self._parse(part, lowest) for part in parts]
        if sum(part.amount == 'rest' for part in self.parts) > 1:
            raise ConfigError('several parts have no length, epochs or iterations, and the rest is for one', parts[-1])

    @staticmethod
    def _parse(part, lowest):
        """A part of a config, checked."""
        arguments = dict(part) if isinstance(part, dict) else {}
        kind = arguments.pop('type', None)
        if kind not in SHAPES:
            raise ConfigError(f'a part of a schedule is a dict with a type, got {part!r}; {nearest(kind, SHAPES)}')
        lengths = {unit: arguments.pop(unit) for unit in _LENGTHS if unit in arguments}
        if len(lengths) > 1:
            raise ConfigError(f'a part has one of {", ".join(_LENGTHS)}, got {" and ".join(lengths)}', part)
        unit, amount = next(iter(lengths.items()), ('length', 'rest'))
        if amount != 'rest' and not (_is_number(amount) and 0 < amount < (1.001 if unit == 'length' else math.inf)):
            what = 'a share of the training, above 0 and at most 1' if unit == 'length' else 'a positive number'
            raise ConfigError(f"{unit} is {what}, or 'rest', got {amount!r}", part)
        position = arguments.pop('position', 'part')
        if position not in ('part', 'training'):
            raise ConfigError(f"position is 'part' or 'training', got {position!r}", part)
        known = set(accepted_arguments(SHAPES[kind])[0]) - {'share', 'before'}
        for name in arguments:
            if name not in known:
                takes = {*known, *_LENGTHS, 'position'}
                raise ConfigError(f'a part of type {kind} takes no {name!r}; {nearest(name, takes, "it takes")}', part)
        check_arguments(SHAPES[kind], {'share': 0., **arguments}, part)
        _check_values(kind, arguments, lowest, part)
        return _Part(SHAPES[kind], unit, amount, position == 'training', arguments, part)

    @property
    def values(self):
        """list[float]: All values that the parts name."""
        return [value for part in self.parts for value in _values_of(part.arguments)]

    def fit(self, total, epoch_length):
        """The schedule of a training.

        Args:
            total (int): Iterations of the training.
            epoch_length (int): Iterations of an epoch.

        Returns:
            function: From the number of iterations that are done to the value.

        Raises:
            ConfigError: The parts are shorter or longer than the training, by more than a thousandth of it.
        """
        sizes = dict(length=total, epochs=epoch_length, iterations=1)
        given = [part.amount if part.amount == 'rest' else part.amount * sizes[part.unit] for part in self.parts]
        used = sum(length for length in given if length != 'rest')
        if 'rest' in given and used >= total or 'rest' not in given and abs(used - total) > 1e-3 * total:
            raise ConfigError(f'the parts of {self.what} take {used:g} of {total} iterations'
                              f' ({epoch_length} an epoch)' +
                              (', which leaves nothing to the one without a length' if 'rest' in given else
                               ': they must make the whole training; leave the length of one out for what is left'))
        begins, shapes, end = [], [], 0.
        for (shape, unit, _, whole, arguments, cfg), length in zip(self.parts, given):
            begin, length = end, total - used if length == 'rest' else length
            end = begin + length
            first, span = (0., total) if whole else (begin, length)
            scale = 1. if unit == 'length' else sizes[unit] / span
            arguments = {k: _times(v, scale) if k in _TIMES else v for k, v in arguments.items()}
            if shape is inverse_sqrt:
                arguments.setdefault('before', first / span)
                if not arguments['before'] + arguments.get('hold', 0.):
                    raise ConfigError(
                        'inverse_sqrt at the begin of the training needs `hold`, how long it stays at '
                        'its first value', cfg)
            begins.append(begin)
            shapes.append((shape, first, span, arguments))

        def value(done):
            shape, first, span, arguments = shapes[bisect.bisect_right(begins, done + 1e-9) - 1]
            return shape(min(1., max(0., (done - first) / span)), **arguments)

        value.begins = begins
        return value


def _values_of(arguments):
    for name in VALUES:
        value = arguments.get(name, ())
        yield from value if isinstance(value, (list, tuple)) else [value]


def _times(value, scale):
    return [v * scale for v in value] if isinstance(value, (list, tuple)) else None if value is None else value * scale


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_values(kind, arguments, lowest, part):
    for value in _values_of(arguments):
        if not (_is_number(value) and value >= lowest):
            raise ConfigError(
                f'the values of a schedule are finite numbers{" from 0 on" * (lowest == 0)}, got {value!r}', part)
    if kind == 'exponential' and not min(arguments['start'], arguments['end']) > 0:
        raise ConfigError('start and end of an exponential part are above 0', part)
    if kind == 'step':
        values, milestones = arguments['values'], arguments.get('milestones')
        if not values or milestones is not None and (len(milestones) != len(values) - 1
                                                     or list(milestones) != sorted(milestones)):
            raise ConfigError(f'step has one value more than milestones, which rise; got {values} and {milestones}',
                              part)
    if kind == 'cosine_restart':
        if arguments.get('wave', 'half') not in ('half', 'full'):
            raise ConfigError(f"wave is 'half' or 'full', got {arguments['wave']!r}", part)
        if not arguments['period'] > 0:
            raise ConfigError(f'period must be positive, got {arguments["period"]!r}', part)
        if arguments.get('adaptive') and arguments.get('multiplier', 1.) != 1:
            raise ConfigError('adaptive waves have the height of a single cosine, and no multiplier', part)
    if arguments.get('hold', 0.) < 0 or not arguments.get('power', 1.) > 0 or not arguments.get('multiplier', 1.) > 0:
        raise ConfigError('hold is not negative, power and multiplier are positive', part)
