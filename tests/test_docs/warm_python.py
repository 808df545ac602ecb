"""A Python that has imported torch and mmssl already: `python tools/x.py` in a shell costs no seconds of imports.

`serve(path)` waits at a socket; the program of client_program() is called like Python, hands its arguments, folder,
environment and standard streams over, and ends as the script does, which a copy of the waiting process runs.
"""
import atexit
import json
import os
import runpy
import signal
import socket
import sys
import threading
import traceback

PRELOADED = ('matplotlib.pyplot', 'sklearn.svm', 'sklearn.linear_model', 'mmcls.models', 'mmssl.apis', 'mmssl.core',
             'mmssl.datasets', 'mmssl.evaluation', 'mmssl.models')
CLIENT = """#!{python} -ISB
import json, os, socket, sys
arguments = {first} + sys.argv[1:]
if arguments[:1] != ['-m'] and not arguments[0].endswith('.py') or arguments[:2] == ['-m', 'mmssl.utils.launch']:
    os.execv({python!r}, [{python!r}, *arguments])
client = socket.socket(socket.AF_UNIX)
client.connect({path!r})
socket.send_fds(client, [b'.'], [0, 1, 2])
client.sendall(json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode())
client.shutdown(socket.SHUT_WR)
sys.exit(int(client.recv(16) or 1))
"""


def client_program(path, *first):
    """Text of a program that calls the server at `path`; `first` are words before those of its caller."""
    return CLIENT.format(python=sys.executable, path=str(path), first=list(first))


def serve(path):
    """Answer calls until the process is ended."""
    for name in PRELOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for those that have ended
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    while True:
        call, _ = server.accept()
        if os.fork() == 0:
            server.close()
            answer(call)
        call.close()


def answer(call):
    """Run what a client asks for, in this process."""
    _, streams, _, _ = socket.recv_fds(call, 1, 3)
    received = b''
    while part := call.recv(65536):
        received += part
    arguments, folder, environment = json.loads(received)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = run(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    call.sendall(str(code).encode())
    os._exit(code)


def run(arguments):
    """Run a file, or a module after -m, as Python does; its exit status."""
    import numpy as np
    np.random.seed()  # torch and Python's own generator are seeded anew at a fork
    try:
        if arguments[0] == '-m':
            sys.argv = arguments[1:]
            sys.path[0] = os.getcwd()
            runpy.run_module(arguments[1], run_name='__main__', alter_sys=True)
        else:
            sys.argv = arguments
            sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
            runpy.run_path(arguments[0], run_name='__main__')
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    return code


if __name__ == '__main__':
    serve(sys.argv[1])
