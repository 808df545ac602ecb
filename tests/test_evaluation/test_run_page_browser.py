"""The report of a run in a browser: drawn, without errors, by mouse and keyboard, on a phone, in the dark."""
import sys
from pathlib import Path

import numpy as np
import pytest

from mmssl.evaluation.run_page import run_page
from mmssl.evaluation.run_pictures import look
from mmssl.evaluation.run_record import read_run
from mmssl.evaluation.run_report import PAGE, write_page
from mmssl.evaluation.run_server import ReportServer
from mmssl.evaluation.sprites import sprite

sys.path.append(str(Path(__file__).parents[1]))
from chromium import BROWSER, Chromium  # noqa: E402
from test_evaluation.test_run_page import make_pictures, make_run  # noqa: E402

pytestmark = pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed (package chromium)')


@pytest.fixture(scope='module')
def browser():
    with Chromium() as browser:
        yield browser


def pictures_of(count=60, side=16):
    """Pictures with a thumbnail of its own brightness for each image."""
    found = make_pictures(count)
    images = [np.full((side, side, 1), 4 * i % 256, np.uint8) for i in range(count)]
    uri, tile, columns, sizes = sprite(images, count)
    found['gallery'].update(sprite=uri, tile=tile, columns=columns, size=sizes[0])
    view = dict(uri=uri, caption='view', width=32, height=32)
    return dict(found, views=[dict(image=view, rows=[[view, view]], more=0)] * 3)


def chosen(browser):
    return browser.run('[...document.querySelectorAll("circle.chosen")].map(dot => dot.id).join()')


def test_drawn_explored_and_read(browser, tmp_path):
    page = tmp_path / 'report.html'
    pictures = pictures_of()
    page.write_text(run_page(read_run(make_run(tmp_path / 'run')), pictures))
    browser.open(page)
    # drawn: a line in each chart, all dots within the map, thumbnails
    for shape, count in (('.chart svg path.line', 8), ('#map circle', 60), ('.query .thumb', 3 * 13)):
        boxes = browser.run(f'[...document.querySelectorAll("{shape}")].filter(e => {{ const b = '
                            'e.getBoundingClientRect(); return b.width + b.height > 1; }).length')  # yapf: disable
        assert boxes >= count, (shape, boxes)
    assert browser.run('getComputedStyle(document.querySelector(".thumb")).backgroundImage').startswith('url("data:')

    # curves: the values below the pointer, and by the arrow keys
    browser.run('document.getElementById("chart-0").focus()')
    browser.press('Home')
    output = 'document.querySelector("#chart-0 output").textContent'
    assert browser.run(output) == 'epoch 0.5: 4'
    browser.press('ArrowRight', 'ArrowRight')
    assert browser.run(output) == 'epoch 1.5: 2'
    browser.press('Escape')
    assert browser.run(output) == '1'

    # the map by keyboard: Tab reaches it, arrows go in their direction
    browser.run('document.querySelector("#chart-0").focus()')
    for _ in range(20):
        browser.press('Tab')
        if browser.run('document.activeElement.id') == 'map':
            break
    assert browser.run('document.activeElement.id') == 'map'
    first = chosen(browser)
    assert first == 'dot0'
    browser.press('ArrowUp')
    second = chosen(browser)
    above = '+document.getElementById("{}").getAttribute("cy")'
    if second == first:  # it is the uppermost
        browser.press('ArrowDown')
        second = chosen(browser)
        assert browser.run(above.format(second)) > browser.run(above.format(first))
    else:
        assert browser.run(above.format(second)) < browser.run(above.format(first))
    i = int(second[3:])
    words = browser.run('document.getElementById("dot").textContent')
    assert pictures['gallery']['names'][i] in words and 'Most alike' in words
    assert browser.run('document.getElementById("map").getAttribute("aria-activedescendant")') == second
    shown = browser.run('[...document.querySelectorAll("#dot .strip button")].map(b => b.title.split(",")[0])')
    assert shown == [pictures['gallery']['names'][j] for j in pictures['now']['neighbours'][i]]
    browser.press('PageDown')
    assert chosen(browser) == f'dot{(i + 1) % 60}'
    browser.press('Escape')
    assert chosen(browser) == ''

    # by mouse: pointing shows, pressing keeps; a class can be hidden
    browser.run('document.getElementById("map").scrollIntoView({block: "center"})')
    x, y = browser.run('(b => [b.x + b.width / 2, b.y + b.height / 2])'
                       '(document.getElementById("dot33").getBoundingClientRect())')
    browser.point(x, y)
    assert chosen(browser) == 'dot33'
    browser.point(2, 2)
    assert chosen(browser) == ''
    browser.point(x, y, click=True)
    browser.point(2, 2)
    assert chosen(browser) == 'dot33'
    browser.run('document.getElementById("class0").click()')
    hidden = browser.run('[...document.querySelectorAll("#map circle")].filter(d => d.style.display == "none").length')
    assert hidden == sum(label == 0 for label in pictures['gallery']['labels'])
    browser.run('document.getElementById("pictures").click()')
    assert browser.run('document.querySelectorAll(".pin").length') == 60
    assert browser.problems == []


def test_phone_dark_and_large(browser, tmp_path):
    """1,000 photographs: below 5 MB, and no scrolling to the side on a small phone."""
    rng = np.random.default_rng(0)
    pictures = make_pictures(30)
    labels = rng.integers(0, 40, 1000)
    sides = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(4)]  # noise: nothing is larger as a file
    uri, tile, columns, sizes = sprite((sides[i % 4] for i in range(1000)), 1000, 48, 2_400_000)
    names = [
        f'a-rather-long-folder-name-{label}/an_even_longer_name_of_a_file_{i}.jpg' for i, label in enumerate(labels)
    ]
    pictures['gallery'].update(
        sprite=uri, tile=tile, columns=columns, size=sizes[0], names=names, labels=labels.tolist(),
        classes=[f'class {i}' for i in range(40)], labelled=[True] * 40)  # yapf: disable
    found = look(rng.normal(size=(1000, 8)), labels, 40, 4, quick=True)
    pictures.update(now=found, first=dict(found, points=None, iteration=0))
    page = tmp_path / 'report.html'
    page.write_text(run_page(read_run(make_run(tmp_path / f'a_{"long_" * 20}name')), pictures))
    assert page.stat().st_size < 5e6
    for width, dark in ((320, True), (390, False)):
        browser.open(page, width, 740, dark=dark, phone=True)
        assert browser.run('document.documentElement.scrollWidth') == width
        back = browser.run('getComputedStyle(document.body).backgroundColor')
        assert (back == 'rgb(15, 19, 24)') == dark
    wide = browser.run('[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > '
                       'innerWidth + 1 && !e.closest(".scroll, .classes, svg")).map(e => e.className).join()')
    assert wide == ''
    assert browser.problems == []


def test_it_renews_itself_and_keeps_the_place(browser, tmp_path):
    folder = make_run(tmp_path / 'run')
    record, pictures = read_run(folder), pictures_of()
    record.state, record.seconds_left = 'running', 60.
    write_page(folder / PAGE, record, pictures, every=5)
    with ReportServer(folder, port=0) as server:
        import threading
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(server.address, height=500)
        browser.run('document.getElementById("map").focus()')
        browser.run('scrollTo(0, 900)')
        browser.press('PageDown')
        assert chosen(browser) == 'dot1'
        record.name = 'renewed'
        write_page(folder / PAGE, record, pictures, every=5)
        browser.run('Date.now = ((now, start) => () => start + 10 * (now() - start))(Date.now.bind(Date), Date.now())')
        browser.wait('document.querySelector("h1").textContent == "renewed"')
        browser.wait('document.readyState == "complete"')
        assert chosen(browser) == 'dot1' and browser.run('document.activeElement.id') == 'map'
        assert abs(browser.run('scrollY') - 900) < 5
        assert 'written' in browser.run('document.getElementById("news").textContent')
        server.shutdown()
    assert browser.problems == []
    # nobody has written for long
    record.seconds_left = None
    page = run_page(record, {}, every=1).replace('"written":', '"written":1e9,"x":')
    (tmp_path / 'old.html').write_text(page)
    browser.open(tmp_path / 'old.html')
    assert browser.run('document.title') == 'Seems to have stopped: renewed'
    assert browser.run('document.querySelector(".status.stopped b").textContent') == 'Seems to have stopped'
