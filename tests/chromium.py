"""A headless Chromium for tests of pages, driven by its DevTools protocol over two pipes; needs no package."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
_FLAGS = ('--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync '
          '--disable-component-update --disable-extensions --disable-dev-shm-usage --hide-scrollbars --mute-audio '
          '--no-default-browser-check --disable-quic --remote-debugging-pipe').split()
_KEYS = dict(Tab=9, Enter=13, Escape=27, PageUp=33, PageDown=34, End=35, Home=36, ArrowLeft=37, ArrowUp=38,
             ArrowRight=39, ArrowDown=40)  # yapf: disable


class Chromium:
    """One page of a browser of its own; use it as a context.

    Attributes:
        problems (list[str]): Errors and warnings of the console, and exceptions of scripts, since it was emptied.
    """

    def __init__(self):
        self.problems = []
        self._folder = tempfile.mkdtemp()
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def pipes():  # the browser reads from 3 and writes to 4
            source, target = os.dup(to_browser), os.dup(from_browser)
            os.dup2(source, 3)
            os.dup2(target, 4)

        self._process = subprocess.Popen([BROWSER, *_FLAGS, f'--user-data-dir={self._folder}'],
                                         stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL,
                                         close_fds=False,
                                         preexec_fn=pipes)
        for end in (to_browser, from_browser):
            os.close(end)
        self._number, self._left, self._session = 0, b'', None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self._session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for part in ('Page', 'Runtime', 'Log'):
            self.call(f'{part}.enable')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        for end in (self._in, self._out):
            os.close(end)
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, method, **params):
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = dict(id=self._number, method=method, params=params)
        if self._session:
            message['sessionId'] = self._session
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._receive()
            if answer.get('id') == message['id']:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                return answer['result']

    def _receive(self, timeout=60):
        end = time.monotonic() + timeout
        while b'\0' not in self._left:
            if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError('the browser does not answer')
            part = os.read(self._in, 2**20)
            if not part:
                raise RuntimeError('the browser has ended')
            self._left += part
        line, _, self._left = self._left.partition(b'\0')
        message = json.loads(line)
        self._note(message.get('method'), message.get('params', {}))
        return message

    def _note(self, method, params):
        if method == 'Runtime.exceptionThrown':
            details = params['exceptionDetails']
            self.problems.append(details.get('exception', {}).get('description') or details['text'])
        elif method == 'Runtime.consoleAPICalled' and params['type'] in ('error', 'warning', 'assert'):
            self.problems.append(' '.join(str(part.get('value')) for part in params['args']))
        elif method == 'Log.entryAdded' and params['entry']['level'] in ('error', 'warning'):
            self.problems.append(params['entry']['text'])

    def open(self, address, width=1280, height=900, dark=False, phone=False):
        """Load a page, by its address or its file, in a window of this size."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone)
        scheme = dict(name='prefers-color-scheme', value='dark' if dark else 'light')
        self.call('Emulation.setEmulatedMedia', features=[scheme])
        address = str(address)
        self.call('Page.navigate', url=address if '://' in address else f'file://{address}')
        self.wait('document.readyState == "complete"')

    def wait(self, condition, timeout=30):
        """Wait until an expression is true."""
        end = time.monotonic() + timeout
        while True:
            try:
                if self.run(condition):
                    return
            except RuntimeError:  # between two pages
                pass
            if time.monotonic() > end:
                raise TimeoutError(f'{condition}; {self.problems}')
            time.sleep(0.05)

    def run(self, expression):
        """Value of an expression in JavaScript."""
        found = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in found:
            raise RuntimeError(found['exceptionDetails'])
        return found['result'].get('value')

    def press(self, *keys):
        """Press keys, one after another."""
        for key in keys:
            for kind in ('rawKeyDown', 'keyUp'):
                code = _KEYS.get(key, ord(key[0]))
                self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def point(self, x, y, click=False):
        """Move the mouse to a place of the window, and press its button there."""
        self.call('Input.dispatchMouseEvent', type='mouseMoved', x=x, y=y)
        for kind in ('mousePressed', 'mouseReleased') if click else ():
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def screenshot(self, path, whole=True):
        """Save a picture of the page, or of what the window shows of it."""
        options = {}
        if whole:
            size = self.call('Page.getLayoutMetrics')['cssContentSize']
            options = dict(captureBeyondViewport=True, clip=dict(x=0, y=0, scale=1, **{
                name: size[name] for name in ('width', 'height')}))  # yapf: disable
        content = self.call('Page.captureScreenshot', format='png', **options)['data']
        with open(path, 'wb') as file:
            file.write(base64.b64decode(content))
