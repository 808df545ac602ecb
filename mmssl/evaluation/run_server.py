# Copyright (c) mmssl contributors. All rights reserved.
"""A small server of one page: the report of a run. Imports nothing heavy."""
import hmac
import ipaddress
import re
import secrets
import socket
import threading
import time
from email.utils import formatdate
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from mmssl.utils.errors import ConfigError, printable
from .run_record import check_run, read_run, seems_alive
from .run_report import PAGE, load_pictures, write_page

_COOKIE = 'mmssl_token'
_HOOK = 120  # seconds after which a page that ReportHook has not renewed is written by the server


class ReportServer(ThreadingHTTPServer):
    """A server of one page, at / only, for GET and HEAD.

    Args:
        folder (str | Path): Of the run.
        host (str): Address to listen at.
        port (int): 0 takes a free one.
        token (str, optional): What each request must bring, as ?token=... or in a cookie, which the first sets. ''
            draws one. Any address that others can reach needs one.

    Attributes:
        token (str | None): The token.
        address (str): Of the page.

    Raises:
        ConfigError: An address that others can reach without a token, a token that can be guessed or does not fit into
            an address, or a port that is taken.
        FileNotFoundError: No folder of a run.
    """
    daemon_threads = True

    def __init__(self, folder, host='127.0.0.1', port=8000, token=None):
        self.page = Page(folder)
        self.local = _is_local(host)
        if not self.local and token is None:
            raise ConfigError(f'--host {host} lets other machines look at the run: add --token, which they then need, '
                              'or leave --host out and go through SSH')
        if token is not None and token and len(token) < 8:
            raise ConfigError(f'--token {token!r} is too short: take 8 characters or more, or leave the word out, then '
                              'one is drawn')
        if re.search(r'[^\w.~-]', token or '', re.ASCII):
            raise ConfigError(f'--token {token!r} stands in an address and a cookie: letters, digits and - . _ ~ do')
        self.token = secrets.token_urlsafe(18) if token == '' else token
        self.address_family = socket.AF_INET6 if ':' in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OverflowError:
            raise ConfigError(f'--port is 0 to 65535, got {port}') from None
        except OSError as error:
            raise ConfigError(f'cannot listen at {host}, port {port}: {error.strerror or error}; another --port may be '
                              'free, 0 takes one that is') from None

    @property
    def address(self):
        """str: Of the page."""
        host, port = self.server_address[:2]
        if ipaddress.ip_address(host).is_unspecified:  # all addresses of this machine: it is known by its name
            host = socket.gethostname()
        host = f'[{host}]' if ':' in host else host
        return f'http://{host}:{port}/' + (f'?token={self.token}' if self.token else '')


def _is_local(host):
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Page:
    """The page of a run, as it is on the disk; made where no hook makes it.

    Args:
        folder (str | Path): Of the run.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.path = self.folder / PAGE
        self._lock = threading.Lock()
        check_run(self.folder)

    def read(self):
        """tuple[bytes, float]: The page and the time when it was written.

        Raises:
            PermissionError: The page is a link to a file elsewhere.
        """
        with self._lock:
            if self.path.resolve().parent != self.folder.resolve():  # whose run this is may not read all that we may
                raise PermissionError(f'{PAGE} is a link to a file out of the folder of the run')
            if self._is_old():
                write_page(self.path, read_run(self.folder), load_pictures(self.folder))
            return self.path.read_bytes(), self.path.stat().st_mtime

    def _is_old(self):
        """Whether no hook has written it for a while, and it lacks lines of the logs or the end of the training."""
        if not self.path.is_file():
            return True
        written = self.path.stat().st_mtime
        if time.time() - written <= _HOOK:
            return False
        news = max((log.stat().st_mtime for log in self.folder.glob('*.log.json')), default=0.)
        return news > written or b'"state":"running"' in self.path.read_bytes() and not seems_alive(self.folder)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = 'mmssl', ''
    timeout = 30

    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def _answer(self, body):
        where = urlsplit(self.path)
        if not self._host_is_ours():
            return self._refuse(421, 'This server has another name.', body)
        given = parse_qs(where.query).get('token', [None])[0]
        if not self._may_see(given):
            return self._refuse(403, 'The token is missing or wrong: open the address that mmssl watch printed.', body)
        if where.path != '/':
            return self._refuse(404, 'There is one page, at /.', body)
        try:
            content, written = self.server.page.read()
        except (OSError, ValueError) as error:
            return self._refuse(503, f'The report cannot be made: {printable(str(error))}', body)
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Last-Modified', formatdate(written, usegmt=True))
        if self.server.token and given == self.server.token:  # and not what else an address brings, such as line ends
            self.send_header('Set-Cookie', f'{_COOKIE}={given}; HttpOnly; SameSite=Strict; Path=/')
        self._finish(content, body)

    def _refuse(self, status, words, body):
        self.send_response(status)
        self.send_header('Content-Type', 'text/plain; charset=utf-8')
        self._finish(words.encode() + b'\n', body)

    def _finish(self, content, body):
        for name, value in (('Content-Length', str(len(content))), ('Cache-Control', 'no-store'),
                            ('X-Content-Type-Options', 'nosniff'), ('Referrer-Policy', 'no-referrer'),
                            ('X-Frame-Options', 'DENY'), ('Cross-Origin-Resource-Policy', 'same-origin')):
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _host_is_ours(self):
        """A page of another site may have its name lead here (DNS rebinding): then the name is not ours."""
        if not self.server.local:
            return True  # a machine has many names; the token guards it
        try:
            name = urlsplit(f'//{self.headers.get("Host", "")}').hostname
        except ValueError:
            return False
        return name is not None and _is_local(name)

    def _may_see(self, given):
        token = self.server.token
        if token is None:
            return True
        try:
            cookie = SimpleCookie(self.headers.get('Cookie', '')).get(_COOKIE)
        except CookieError:
            cookie = None
        words = [given, cookie and cookie.value]
        return any([hmac.compare_digest(word.encode(), token.encode()) for word in words if word])

    def log_message(self, *_):
        """Nothing: the terminal is for the address."""


def serve(folder, host='127.0.0.1', port=8000, token=None):
    """Serve the report of a run until Ctrl-C; see ReportServer."""
    with ReportServer(folder, host, port, token) as server:
        print(f'{server.address}   (Ctrl-C ends it)', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
