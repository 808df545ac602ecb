# Copyright (c) mmssl contributors. All rights reserved.
"""Files on servers (S3, Google's storage, HTTP and what else fsspec knows), read by ranges that end in time."""
import asyncio
import concurrent.futures
import os
import os.path as osp
import queue
import re
import threading
import time
import urllib.parse

from .errors import ConfigError, RemoteFileError

# packages beside fsspec: protocol -> what pip installs
_PACKAGES = dict(
    http='aiohttp', https='aiohttp', s3='s3fs', s3a='s3fs', gs='gcsfs', gcs='gcsfs', abfs='adlfs', az='adlfs')
_HTTP, _S3 = ('http', 'https'), ('s3', 's3a')
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError)  # one and the same from Python 3.11
_FINAL = (400, 401, 403, 404, 405, 410, 416)  # answers that another try would not change
_LONGEST_PAUSE = 8.  # seconds between two tries
_inherited = []  # file systems of the process that this one was forked from


def is_remote(path):
    """Whether a path is an address, such as s3://bucket/set."""
    found = re.match(r'([a-zA-Z][a-zA-Z0-9+.-]+)://', os.fspath(path)) if isinstance(path, (str, os.PathLike)) else None
    return found is not None and found[1].lower() not in ('file', 'local')


class Answer:
    """What a server has sent.

    Args:
        body (bytes): The bytes that were asked for.
        total (int | None): Length of the whole file, where the server tells.
        tag (str | None): Its tag of the content, another one after each change, where it has such.
    """
    __slots__ = ('body', 'total', 'tag')

    def __init__(self, body, total=None, tag=None):
        self.body, self.total, self.tag = body, total, tag


class _Refused(Exception):
    """An answer that is of no use; `final` where another try would be in vain."""

    def __init__(self, message, final=False):
        super().__init__(message)
        self.final = final


class RemoteFolder:
    """A folder on a server. Connections are made anew in each process: those of fsspec do not outlive a fork.

    Args:
        address (str): Such as s3://bucket/folder, gs://bucket/folder or https://host/folder.
        storage_options (dict, optional): Arguments of fsspec's file system for this protocol. Keys and passwords are
            taken from the environment, see check_no_secrets.
        timeout (float): Seconds within which the answer to one request must have come, the connection included.
        tries (int): Number of tries before an error.

    Raises:
        ConfigError: A package is absent, the protocol is unknown, or the address has a query or a password in it.
    """

    def __init__(self, address, storage_options=None, timeout=60., tries=4):
        for name, value in (('timeout', timeout), ('tries', tries)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0 or (name == 'tries'
                                                                                                   and value % 1):
                kind = 'a whole number' if name == 'tries' else 'a number of seconds'
                raise ConfigError(f'{name} is {kind} above 0, got {value!r}')
        address = os.fspath(address).rstrip('/')
        parts = urllib.parse.urlsplit(address)
        if parts.query or parts.fragment or parts.password:
            shown = parts._replace(query='', fragment='', netloc=parts.netloc.rpartition('@')[2]).geturl()
            raise ConfigError(
                f'the address {shown} has a query, a fragment or a password in it; it is the address of a '
                'folder, and keys come from the environment (see "From a server" in the docs)')
        check_no_secrets(storage_options or {})
        self.address, self.protocol = address, parts.scheme.lower()
        self.storage_options = dict(storage_options or {})
        self.timeout, self.tries = timeout, int(tries)
        self._filesystem, self._process, self._lock = None, None, threading.Lock()
        self._made()  # tells what is not installed, at once

    def __getstate__(self):
        return {**self.__dict__, '_filesystem': None, '_process': None, '_lock': None}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    def _opened(self):
        """The file system of this process."""
        if self._process != os.getpid():  # also after a fork, which may have come while a thread held the lock
            _inherited.append(self._filesystem)  # to end it would wait for a thread that this process does not have
            self._filesystem, self._process, self._lock = None, os.getpid(), threading.Lock()
        with self._lock:
            if self._filesystem is None:
                filesystem = self._made()
                if hasattr(filesystem, 'set_session'):  # several threads at once would make several of them
                    self._wait(filesystem.set_session(), filesystem)
                self._filesystem = filesystem
            return self._filesystem

    def _made(self):
        options = dict(self.storage_options, skip_instance_cache=True)
        package = _PACKAGES.get(self.protocol, self.protocol)
        try:
            import fsspec
            if self.protocol in _S3:
                # the tries are ours: an answer such as 503 shall be told, and not end as a time-out of many more tries
                options['config_kwargs'] = dict(
                    dict(connect_timeout=self.timeout, read_timeout=self.timeout, retries=dict(total_max_attempts=1)),
                    **options.get('config_kwargs', {}))
            elif self.protocol in _HTTP:  # proxies of the environment, and passwords of ~/.netrc
                options['client_kwargs'] = dict(dict(trust_env=True), **options.get('client_kwargs', {}))
            filesystem = fsspec.filesystem(self.protocol, **options)
        except ImportError as error:
            raise ConfigError(f'{self.address} needs a package that is not installed ({error}): '
                              f'pip install fsspec {package}') from error
        except ValueError as error:
            raise ConfigError(f'{self.address}: {error}; addresses begin with s3://, gs:// or https://') from error
        except TypeError as error:
            raise ConfigError(f'storage_options of {self.protocol}: {error}') from error
        except OSError as error:  # such as a library that is not there
            raise ConfigError(f'{self.address}: {_one_line(error)}') from error
        if self.protocol in _S3:
            filesystem.retries = 1
        return filesystem

    def read(self, name, start=None, stop=None):
        """Some bytes of a file, or all.

        Args:
            name (str): The file, relative to the folder.
            start (int | None): The first byte.
            stop (int | None): The byte behind the last one.

        Returns:
            Answer: Of `stop - start` bytes.

        Raises:
            RemoteFileError: It cannot be read: what came instead, of which address.
        """
        path = f'{self.address}/{name}'
        for number in range(1, self.tries + 1):
            try:
                return self._ask(path, start, stop)
            except _Refused as error:
                reason, final = str(error), error.final
            except _TIMEOUTS:
                reason, final = f'no whole answer within {self.timeout:g} s', False
            except FileNotFoundError:
                reason, final = 'there is no such file (404)', True
            except PermissionError as error:
                reason, final = f'access is denied ({_one_line(error)})', True
            except Exception as error:  # those of aiohttp, botocore and others have no common kind
                reason, final = f'{type(error).__name__}: {_one_line(error)}', False
                if 'Credentials' in type(error).__name__:
                    reason += '; a bucket that is open to all takes storage_options=dict(anon=True)'
                    final = True
            if final or number == self.tries:
                break
            # not all at once again, and without a draw from a generator
            time.sleep(min(0.25 * 2**number, _LONGEST_PAUSE) * (0.75 + time.monotonic_ns() // 1000 % 512 / 1024))
        tried = '' if final else (f', in {number} tries of up to {self.timeout:g} s each; data_source.timeout and '
                                  'data_source.tries set other limits')
        wanted = 'the file was' if start is None else f'{stop - start} bytes from {start} on were'
        raise RemoteFileError(f'{path}: {reason}; {wanted} asked for{tried}')

    def _ask(self, path, start, stop):
        filesystem = self._opened()
        ask = _ask_http if self.protocol in _HTTP else _ask_s3 if self.protocol in _S3 else _ask_any
        if filesystem.async_impl:
            answer = self._wait(ask(filesystem, path, start, stop), filesystem)
        else:
            answer = Answer(_in_a_thread(lambda: filesystem.cat_file(path, start=start, end=stop), self.timeout))
        _check_count(len(answer.body), answer.total, start, stop)
        return answer

    def _wait(self, coroutine, filesystem):
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, self.timeout), filesystem.loop)
        try:
            return future.result(self.timeout + 5)
        finally:
            future.cancel()  # where it is given up


def _in_a_thread(function, timeout):
    box = queue.SimpleQueue()

    def run():
        try:
            box.put((function(), None))
        except BaseException as error:
            box.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = box.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result


def _one_line(error):
    # addresses may have been signed: what is behind the question mark lets everyone in
    return re.sub(r'\?\S*', '', ' '.join(str(error).split()))[:300] or 'no words on it'


async def _ask_http(filesystem, path, start, stop):
    options = dict(filesystem.kwargs)
    headers = {**options.pop('headers', {}), 'Accept-Encoding': 'identity'}
    if start is not None:
        headers['Range'] = f'bytes={start}-{stop - 1}'
    session = await filesystem.set_session()
    async with session.get(filesystem.encode_url(path), headers=headers, **options) as response:
        kind = response.headers.get('Content-Type', 'no kind').partition(';')[0]
        if response.status == 404:
            raise FileNotFoundError(path)
        if response.status >= 400:
            raise _Refused(f'the server answers {response.status} {response.reason}', response.status in _FINAL)
        if start is not None and response.status != 206:
            raise _Refused(
                f'the server answers {response.status} with {response.headers.get("Content-Length", "some")} '
                f'bytes of {kind} to a request for a range, which must be answered by 206: it has no ranges, '
                'or this is a page of words')
        if start is None and kind == 'text/html':
            raise _Refused(f'the server answers with a page ({kind})')
        total = _checked(response.headers.get('Content-Range'), response.content_length, start, stop)
        tag = response.headers.get('ETag') or response.headers.get('Last-Modified')
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if start is not None and len(body) > stop - start:  # it may have no end
                break
        return Answer(bytes(body), total, None if tag and tag.startswith('W/') else tag)


def _check_count(count, total, start, stop):
    if start is not None and count != stop - start:
        if total is not None and stop > total:
            raise _Refused(f'it has {total} bytes', True)
        raise _Refused(f'{count} bytes came')


async def _ask_s3(filesystem, path, start, stop):
    bucket, key, _ = filesystem.split_path(path)
    wanted = {} if start is None else dict(Range=f'bytes={start}-{stop - 1}')
    response = await filesystem._call_s3('get_object', Bucket=bucket, Key=key, **wanted)
    async with response['Body'] as body:
        total = _checked(response.get('ContentRange'), response.get('ContentLength'), start, stop)
        return Answer(await body.read(), total, response.get('ETag'))


async def _ask_any(filesystem, path, start, stop):
    return Answer(await filesystem._cat_file(path, start=start, end=stop))


def _checked(content_range, length, start, stop):
    """Length of the whole file, where the header of an answer tells; refused before a wrong body is in memory."""
    found = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', content_range or '')
    total = None if found is None or found[2] == '*' else int(found[2])
    if start is not None and found is not None and int(found[1]) != start:
        raise _Refused(f'the server answers with bytes from {found[1]} on')
    if length is not None:
        _check_count(length, total, start, stop)
    return total


def check_no_secrets(options, place='storage_options'):
    """Refuse keys and passwords in a config, which is written to the log and beside the weights.

    Args:
        options (dict): Of a file system.
        place (str): Its name in messages.

    Raises:
        ConfigError: With the name of the option, and without its value.
    """
    for name, value in options.items():
        if isinstance(value, dict):
            check_no_secrets(value, f'{place}.{name}')
        elif isinstance(value, str) and re.search(
                '(?i)secret|password|token|credential|account_key|authorization|cookie', str(name)):
            if value not in ('anon', 'google_default', 'cloud', 'cache', 'browser') and not osp.isfile(value):
                raise ConfigError(
                    f'{place}.{name} is a secret, and a config is written to the log and beside the weights: leave it '
                    'out and set the variables of the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY '
                    'or GOOGLE_APPLICATION_CREDENTIALS, or the files ~/.aws/credentials and ~/.netrc')
