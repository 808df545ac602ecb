# Copyright (c) mmssl contributors. All rights reserved.
"""A small HTTP server of a folder, with ranges, as slow as one likes: what shards from a server are measured with."""
import contextlib
import http.server
import os
import os.path as osp
import re
import threading
import time
import urllib.parse


class RangeServer:
    """Serves a folder on a port of this machine, in threads of this process.

    Args:
        folder (str | Path): What is served.
        latency (float): Seconds before each answer.
        answer (callable, optional): Called with the handler of a request, its path and the range that is asked for
            (start, stop; None: all), to answer it in another way; True: it has done so.

    Attributes:
        address (str): Where it is, such as http://127.0.0.1:8000.
        requests (list[tuple]): Method, path, start and stop of each request so far.
        sent (int): Bytes of bodies so far.
    """

    def __init__(self, folder, latency=0., answer=None):
        self.folder, self.latency, self.answer = os.fspath(folder), latency, answer
        self.requests, self.sent, self.lock = [], 0, threading.Lock()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    owner._serve(self)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.address = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def _serve(self, handler):
        path = urllib.parse.unquote(handler.path).lstrip('/')
        found = re.fullmatch(r'bytes=(\d+)-(\d+)', handler.headers.get('Range', ''))
        start, stop = (int(found[1]), int(found[2]) + 1) if found else (None, None)
        with self.lock:
            self.requests.append((handler.command, path, start, stop))
        time.sleep(self.latency)
        if self.answer is not None and self.answer(handler, path, start, stop):
            return
        file = osp.join(self.folder, path)
        if not osp.isfile(file):
            self.send(handler, 404, b'no such file')
            return
        size = osp.getsize(file)
        with open(file, 'rb') as opened:
            opened.seek(start or 0)
            body = opened.read((size if stop is None else stop) - (start or 0))
        headers = {'ETag': f'"{size}-{os.stat(file).st_mtime_ns}"'}
        if found:
            headers['Content-Range'] = f'bytes {start}-{start + len(body) - 1}/{size}'
        self.send(handler, 206 if found else 200, body, **headers)

    def send(self, handler, status, body, **headers):
        """Send an answer."""
        handler.send_response(status)
        for name, value in {'Content-Length': str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != 'HEAD':
            handler.wfile.write(body)
            with self.lock:
                self.sent += len(body)


def serve(folder, latency, pipe):
    """Serve a folder until None comes, for a process of its own.

    Args:
        folder (str | Path): What is served.
        latency (float): Seconds before each answer.
        pipe (multiprocessing.connection.Connection): Gets the address, and the number of requests for whatever comes.
    """
    with RangeServer(folder, latency) as server:
        pipe.send(server.address)
        while pipe.recv() is not None:
            pipe.send(len(server.requests))
