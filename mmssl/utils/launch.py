# Copyright (c) mmssl contributors. All rights reserved.
"""How this process was started, and how it ends with others. Imports nothing heavy.

`python -m mmssl.utils.launch [arguments of torchrun] SCRIPT ...` is torchrun without its traceback.
"""
import atexit
import contextlib
import ctypes
import hashlib
import logging
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from pathlib import Path

from .errors import ConfigError

# launcher: number of processes, number of this one, and of this one on its machine
VARIABLES = dict(
    pytorch=('WORLD_SIZE', 'RANK', 'LOCAL_RANK'),
    slurm=('SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID'),
    mpi=('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK'))
_HYDRA = ('PMI_SIZE', 'PMI_RANK', 'MPI_LOCALRANKID')  # mpirun of MPICH and Intel MPI


class LaunchError(ConfigError, RuntimeError):
    """Processes that were not started as they say."""


# What asks a process to end, and the exit status of a tool that has done so in order. 75 is EX_TEMPFAIL of sysexits.h:
# the same command with --auto-resume goes on. Slurm and its like send SIGUSR1 or SIGUSR2 before the end of a job's
# time; SIGTERM and SIGINT come from somebody who wants an end, and have the status that shells give them.
RESUME = 75
STOP_SIGNALS = {
    signal.SIGHUP: 129,
    signal.SIGINT: 130,
    signal.SIGTERM: 143,
    signal.SIGUSR1: RESUME,
    signal.SIGUSR2: RESUME
}


class Terminated(KeyboardInterrupt):
    """A signal of STOP_SIGNALS.

    Args:
        number (int): Of the signal.
    """

    def __init__(self, number=signal.SIGTERM):
        super().__init__()
        self.number = signal.Signals(number)


def stop_status(stop):
    """Exit status after a KeyboardInterrupt."""
    return STOP_SIGNALS[getattr(stop, 'number', signal.SIGINT)]


def variables(launcher):
    """Names of the variables in which a launcher tells number of processes, rank, and rank on this machine."""
    of_hydra = launcher == 'mpi' and VARIABLES['mpi'][1] not in os.environ and _HYDRA[1] in os.environ
    return _HYDRA if of_hydra else VARIABLES[launcher]


def find_launcher():
    """What has started several processes, of which this is one.

    Returns:
        tuple[str, int, int]: 'pytorch', 'slurm', 'mpi' or 'none', the number of this process and that of all.

    Raises:
        LaunchError: A number that is none.
    """
    for launcher in VARIABLES:
        size, rank, _ = variables(launcher)
        # a job of Slurm has SLURM_NTASKS too, where it has started one process for all
        if size in os.environ and rank in os.environ and (launcher != 'slurm' or 'SLURM_STEP_ID' in os.environ):
            try:
                found = int(os.environ[rank]), int(os.environ[size])
            except ValueError as error:
                raise LaunchError(f'the environment variables {size} and {rank} are numbers: {error}') from error
            if found[1] > 1:
                return launcher, *found
    return 'none', 0, 1


def launches():
    """What may start this process again when it fails: torchrun with --max-restarts, a job of Slurm.

    Returns:
        dict[str, int]: How often each has done so already, by a name that no other launch has.
    """
    env, found = os.environ, {}
    if 'TORCHELASTIC_RUN_ID' in env:
        name = f'torchrun {env["TORCHELASTIC_RUN_ID"]}, process {os.getppid()} on {platform.node()}'
        found[name] = int(env.get('TORCHELASTIC_RESTART_COUNT', 0))
    if 'SLURM_JOB_ID' in env:
        name = f'job {env["SLURM_JOB_ID"]} of Slurm {env.get("SLURM_CLUSTER_NAME", "")}'.strip()
        found[name] = int(env.get('SLURM_RESTART_COUNT', 0))
    return found


def refuse_many():
    """For tools that work in one process.

    Raises:
        LaunchError: Several were started.
    """
    launcher, rank, size = find_launcher()
    if size > 1:
        names = variables(launcher)
        raise LaunchError(f'{size} processes were started ({names[0]}={size}, {names[1]}={rank} in the environment), '
                          'and this tool works in one, without a launcher')


def die_with_parent():
    """End this process when its parent ends, by whatever.

    To be called by the main thread of a process whose parent has started it from a thread that lasts.
    """
    parent, started_by = multiprocessing.parent_process(), os.getppid()  # not the same, with the method forkserver
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    else:
        threading.Thread(target=_watch, args=(started_by, ), daemon=True).start()
    if os.getppid() != started_by or parent is not None and not parent.is_alive():  # it has ended before
        os._exit(1)


def _watch(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def handle_stop_signals(action, ctrl_c=False):
    """Have `action(number)` called in this process when a signal of STOP_SIGNALS comes.

    Signals that this process was started to ignore (nohup) stay so. Processes that it forks leave them to it, and end
    at SIGTERM. Outside of the main thread nothing is done, as Python has no handlers there.

    Args:
        action (callable): With the number of the signal.
        ctrl_c (bool): Also for SIGINT, which else raises KeyboardInterrupt as ever.

    Returns:
        dict: The handlers that were there, by signal.
    """
    own = os.getpid()

    def handle(number, frame):
        if os.getpid() == own:
            action(number)
        elif number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [number for number in STOP_SIGNALS if ctrl_c or number != signal.SIGINT]
    return {
        number: signal.signal(number, handle)
        for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }


def raise_at_signals():
    """Have the signals of STOP_SIGNALS raise Terminated in this process, and end its children as they would have."""

    def stop(number):
        raise Terminated(number)

    handle_stop_signals(stop)


def let_parent_stop():
    """In a process of a loader: leave signals of STOP_SIGNALS to the process that trains, which ends this one.

    Ctrl-C and Slurm's signals reach all processes at once, and the iteration that is to be finished needs its data. Of
    SIGTERM only that of the parent counts, by which multiprocessing ends its processes.
    """
    for number in set(STOP_SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None or not hasattr(signal, 'sigwaitinfo'):  # macOS
        return

    def wait():
        while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent.pid:
            pass
        os._exit(0)

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=wait, name='sigterm', daemon=True).start()


def leave_in_a_hurry(status):
    """End this process and those that multiprocessing has started, such as those of data loaders.

    Their orderly end, and that of an interpreter that has loaded torch, take many seconds on a busy machine. What is
    registered with atexit, such as the end of a tracker, is called.

    Args:
        status (int): Exit status.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise an error for each
    for child in multiprocessing.active_children():
        child.kill()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):  # nobody may read it any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def tell_once(message, first=False):
    """Print a last line on stderr, once where several processes of one torchrun say the same.

    Args:
        message (str): The line.
        first (bool): Leave it out where another line has been said: torchrun ends all processes when one has failed.
    """
    launcher, rank, size = find_launcher()
    error_file = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if size > 1 and error_file:
        # .../attempt_0/RANK/error.json
        said = Path(error_file).parent.parent / f'said_{hashlib.sha256(message.encode()).hexdigest()[:16]}'
        try:
            said.parent.mkdir(parents=True, exist_ok=True)
            if first and any(said.parent.glob('said_*')):
                return
            os.close(os.open(said, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        except OSError:
            pass
    elif rank:
        message = f'rank {rank}: {message}'
    print(message, file=sys.stderr, flush=True)


def main():
    """torchrun, with one line in place of its traceback, and the exit status of the process that failed first."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run
    arguments = parse_args(sys.argv[1:])
    # the processes get these signals too, and have as long to end as Slurm gives before the end of a job
    names = [number.name for number in STOP_SIGNALS] + ['SIGQUIT']
    if hasattr(arguments, 'signals_to_handle'):
        arguments.signals_to_handle = ','.join(names)
    os.environ['TORCHELASTIC_SIGNALS_TO_HANDLE'] = ','.join(names)
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    try:
        run(arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            print(f'rank {rank} was ended by {signal.Signals(-failure.exitcode).name}', file=sys.stderr)
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        sys.exit(STOP_SIGNALS.get(error.sigval, 128 + error.sigval))


if __name__ == '__main__':
    main()
