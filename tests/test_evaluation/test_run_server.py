"""The server of a run's report: this machine alone, one page, nothing else."""
import http.client
import json
import socket
import subprocess
import sys
import threading

import pytest

from mmssl.evaluation.run_server import ReportServer
from mmssl.utils.errors import ConfigError
from mmssl.utils.run_dir import LOCK


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'small.py').write_text("runner = dict(type='EpochBasedRunner', max_epochs=2)\n")
    (tmp_path / '20261129_194200.log.json'
     ).write_text(json.dumps(dict(mode='train', epoch=1, iter=5, lr=0.1, loss=2.5, time=0.5)) + '\n')
    (tmp_path / 'secret.txt').write_text('secret')
    return tmp_path


class Served:
    """A server in a thread; `get` asks it."""

    def __init__(self, *args, **kwargs):
        self.server = ReportServer(*args, port=0, **kwargs)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def get(self, path='/', method='GET', **headers):
        connection = http.client.HTTPConnection('127.0.0.1', self.server.server_address[1], timeout=20)
        connection.putrequest(method, path, skip_host='Host' in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body


def test_one_page_and_nothing_else(run):
    with Served(run) as served:
        assert served.server.server_address[0] == '127.0.0.1'
        status, headers, body = served.get()
        assert status == 200 and b'2.5' in body and headers['Cache-Control'] == 'no-store'
        assert (run / 'report.html').read_bytes() == body  # which the server has made
        head = served.get(method='HEAD')
        assert head[0] == 200 and head[2] == b'' and head[1]['Content-Length'] == str(len(body))
        assert head[1]['Last-Modified'] == headers['Last-Modified']
        for path in ('/secret.txt', '/../secret.txt', '/%2e%2e/secret.txt', '//secret.txt', '/report.html/', '/?/x/..',
                     '/.', '/small.py'):  # yapf: disable
            status, _, body = served.get(path)
            assert (status == 404 or path == '/?/x/..') and b'secret' not in body and b'runner' not in body, path
        for method in ('POST', 'PUT', 'DELETE', 'OPTIONS'):
            assert served.get(method=method)[0] == 501
        # a page of another site whose name leads here
        for host in ('evil.example', 'evil.example:80', '127.0.0.1.evil.example', '', '[', '10.0.0.1'):
            assert served.get(Host=host)[0] == 421, host
        for host in ('localhost', '127.0.0.1:99', '[::1]:8000'):
            assert served.get(Host=host)[0] == 200, host


def test_a_token_for_others(run):
    with pytest.raises(ConfigError, match='--host 0.0.0.0 lets other machines look .* add --token'):
        ReportServer(run, '0.0.0.0', 0)
    with pytest.raises(ConfigError, match="--token 'abc' is too short"):
        ReportServer(run, '0.0.0.0', 0, 'abc')
    with Served(run, host='0.0.0.0', token='') as served:
        token = served.server.token
        assert len(token) >= 20 and token in served.server.address
        for path in ('/', '/?token=', '/?token=wrong', f'/?token={token}x', f'/?token={token[:-1]}', '/?token=%ff'):
            assert served.get(path)[0] == 403, path
        assert served.get('/secret.txt')[0] == 403
        status, headers, _ = served.get(f'/?token={token}', Host='some-machine:80')
        assert status == 200 and 'HttpOnly' in headers['Set-Cookie'] and 'SameSite=Strict' in headers['Set-Cookie']
        cookie = headers['Set-Cookie'].partition(';')[0]
        assert served.get(Cookie=f'a=b; {cookie}')[0] == 200
        # nothing of an address comes back in a header: neither beside a cookie, nor where no token is asked for
        assert 'Set-Cookie' not in served.get('/?token=a%0d%0aX-Ours:%20no', Cookie=cookie)[1]
        assert served.server.address.startswith(f'http://{socket.gethostname()}:')
    with Served(run) as served:
        assert not {'Set-Cookie', 'X-Ours'} & set(served.get('/?token=a%0d%0aX-Ours:%20no')[1])
    with pytest.raises(ConfigError, match="--token 'two words' stands in an address"):
        ReportServer(run, port=0, token='two words')
        assert served.get(Cookie=cookie[:-1])[0] == 403 and served.get(Cookie='mmssl_token="\\')[0] == 403


def test_a_training_that_was_killed(run, monkeypatch):
    """Its page says that it trains; the server writes it anew when the process that held the folder is gone."""
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    (run / LOCK).write_text(f'process {ended.pid} on {socket.gethostname()}, started 2026-11-29 19:42:00\n')
    page = run / 'report.html'
    page.write_text('{"state":"running"}')
    with Served(run) as served:
        assert served.get()[2] == b'{"state":"running"}'  # a page of now is the hook's
        later = page.stat().st_mtime + 200
        monkeypatch.setattr('mmssl.evaluation.run_server.time.time', lambda: later)
        assert b'Stopped before its end' in served.get()[2]


def test_faults_in_one_line(run, tmp_path):
    with pytest.raises(FileNotFoundError, match='no such folder of a run'):
        ReportServer(tmp_path / 'absent', port=0)
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        with pytest.raises(ConfigError, match='another --port may be free'):
            ReportServer(run, port=taken.getsockname()[1])
    with Served(run) as served:
        (run / 'report.html').unlink(missing_ok=True)
        (tmp_path.parent / 'secret.html').write_text('secret')
        (run / 'report.html').symlink_to(tmp_path.parent / 'secret.html')
        status, _, body = served.get()
        assert status == 503 and body.startswith(b'The report cannot be made: report.html is a link to a file out of')
    (tmp_path / 'programs').mkdir()
    (tmp_path / 'programs/setup.py').write_text('raise SystemExit("executed")')
    with pytest.raises(FileNotFoundError, match='is no folder of a run'):
        ReportServer(tmp_path / 'programs', port=0)
    with pytest.raises(ConfigError, match='--port is 0 to 65535, got 99999'):
        ReportServer(run, port=99999)
