# Copyright (c) mmssl contributors. All rights reserved.
"""Files behind addresses, kept on the disk under names that tell the addresses apart."""
import hashlib
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from .errors import ConfigError
from .locks import locked
from .misc import atomic_write


def download(address, folder):
    """Fetch a file once; of several processes, on machines that share the folder too, one does and the others wait.

    Args:
        address (str): http(s) address. Where its last part has eight or more hexadecimal digits behind its last '-', as
            names of torch's weights have, the SHA-256 of the content must begin with them.
        folder (str | Path): Where files are kept. Their names hold a part of the address' SHA-256: two addresses with
            the same last part are two files.

    Returns:
        Path: The file, which is there only when it is complete.

    Raises:
        ConfigError: It cannot be fetched, is cut short, or is not what its name says.
    """
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name or 'file'
    stem, dot, suffix = name.rpartition('.') if '.' in name else (name, '', '')
    path = Path(folder) / f'{stem}-{hashlib.sha256(address.encode()).hexdigest()[:12]}{dot}{suffix}'
    if path.is_file():
        return path
    lock = path.parent / '.locks' / path.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, 'ab') as file, locked(file.fileno()):
        if not path.is_file():
            _fetch(address, name, path)
    return path


def _fetch(address, name, path):
    expected = re.search(r'-([0-9a-f]{8,64})(\.|$)', name)
    digest, length = hashlib.sha256(), 0
    try:
        request = urllib.request.Request(address, headers={'User-Agent': 'mmssl'})
        with urllib.request.urlopen(request, timeout=60) as answer, atomic_write(path, 'wb') as file:
            promised = int(answer.headers.get('Content-Length') or 0)
            while block := answer.read(1 << 20):
                file.write(block)
                digest.update(block)
                length += len(block)
            if length < promised:
                raise ConfigError(f'{address} could not be downloaded: it ended after {length} of {promised} bytes')
            if expected and not digest.hexdigest().startswith(expected[1]):
                raise ConfigError(f'{address} could not be downloaded: its SHA-256 begins with '
                                  f'{digest.hexdigest()[:len(expected[1])]}, its name says {expected[1]}')
    except urllib.error.HTTPError as error:
        raise ConfigError(f'{address} could not be downloaded: HTTP {error.code} {error.reason}') from error
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        reason = getattr(error, 'reason', None) or error
        raise ConfigError(f'{address} could not be downloaded: {reason}') from error
