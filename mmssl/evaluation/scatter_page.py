# Copyright (c) mmssl contributors. All rights reserved.
"""A page that shows points with their images: one HTML file that loads nothing else."""
import html
import json

import numpy as np

from mmssl.utils.misc import atomic_write
from .plots import class_colors, class_name
from .sprites import sprite


def write_page(path, *args, **kwargs):
    """Write the page of `scatter_page` into the file `path`."""
    page = scatter_page(*args, **kwargs)
    with atomic_write(path) as file:
        file.write(page)


def scatter_page(embeddings, labels, classes, files, images, title='t-SNE'):
    """Points as an HTML page with a tab for each embedding.

    Hovering over a point shows its class, file and image; the legend hides and shows classes; the wheel zooms, dragging
    moves the plane or turns the space.

    Args:
        embeddings (dict[str, ndarray]): N x 2 or N x 3 points under the title of their tab.
        labels (ndarray): N integers, -1 = unlabelled.
        classes (Sequence[str] | None): Names of the classes 0, 1, ...
        files (Sequence[str]): Name of each sample.
        images (Iterable[ndarray]): The image of each sample, uint8 H x W x C; read once.
        title (str): Above it.

    Returns:
        str: The page.
    """
    present = np.unique(labels).tolist()
    colors = class_colors(present)
    uri, tile, columns, sizes = sprite(images, len(labels))
    points = {}
    for name, x in embeddings.items():
        middle = (x.max(0) + x.min(0)) / 2
        points[name] = (np.round((x - middle) / max(1e-12, np.abs(x - middle).max()) * 1e4)).astype(int).tolist()
    data = dict(
        points=points,
        labels=[present.index(label) for label in labels.tolist()],
        classes=[dict(name=class_name(label, classes), color=colors[label]) for label in present],
        files=[str(file) for file in files],
        sizes=sizes,
        tile=tile,
        columns=columns,
        sprite=uri)
    # a file name must not end the script that it stands in
    data = json.dumps(data, separators=(',', ':')).replace('<', '\\u003c')
    return _PAGE.replace('@TITLE@', html.escape(title)).replace('@DATA@', data)


_PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
  * { box-sizing: border-box; }
  body { margin: 0; height: 100vh; display: flex; flex-direction: column; font: 14px system-ui, sans-serif;
         color: #222; background: #fff; }
  header { padding: 10px 16px 0; display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 18px;
           border-bottom: 1px solid #ddd; }
  h1 { font-size: 15px; margin: 0; font-weight: 600; overflow-wrap: anywhere; }
  #tabs { display: flex; flex-wrap: wrap; gap: 2px; flex: 1; }
  button { font: inherit; color: inherit; background: none; border: 0; cursor: pointer; padding: 6px 10px; }
  #tabs button { border-bottom: 3px solid transparent; }
  #tabs button[aria-selected=true] { border-color: #2b6cb0; font-weight: 600; }
  main { flex: 1; display: flex; min-height: 0; }
  #plane { flex: 1; min-width: 0; position: relative; }
  canvas { position: absolute; inset: 0; width: 100%; height: 100%; cursor: crosshair; touch-action: none; }
  aside { width: 210px; padding: 10px 12px; border-left: 1px solid #ddd; overflow-y: auto; }
  #legend button { display: flex; gap: 8px; align-items: center; width: 100%; padding: 3px 4px; text-align: left; }
  #legend button[aria-pressed=false] { opacity: .35; }
  #legend i { width: 11px; height: 11px; border-radius: 50%; flex: none; }
  #legend span { flex: 1; overflow-wrap: anywhere; }
  #legend small, .hint { color: #777; }
  .hint { font-size: 12px; line-height: 1.4; }
  label { display: block; padding: 6px 4px; }
  #tip { position: absolute; display: none; pointer-events: none; background: #fff; border: 1px solid #bbb;
         border-radius: 4px; padding: 6px; box-shadow: 0 2px 8px #0003; max-width: 260px; font-size: 12px;
         overflow-wrap: anywhere; z-index: 1; }
  #tip canvas { position: static; display: block; margin-bottom: 4px; }
  @media (max-width: 560px) {
    main { flex-direction: column; }
    aside { width: auto; max-height: 38%; border-left: 0; border-top: 1px solid #ddd; }
    #legend { display: grid; grid-template-columns: 1fr 1fr; }
  }
</style>
</head>
<body>
<header><h1>@TITLE@</h1><div id="tabs" role="tablist"></div></header>
<main>
  <div id="plane"><canvas id="view"></canvas><div id="tip"><canvas id="thumb"></canvas><b id="kind"></b>
    <div id="file"></div></div></div>
  <aside>
    <div><button id="all">all</button><button id="none">none</button></div>
    <div id="legend"></div>
    <label><input type="checkbox" id="images"> show the images</label>
    <p class="hint">Click a class to hide or show it, double-click it to see it alone. Wheel: zoom. Drag: move
      (turn, in space). Double-click: as at first.</p>
  </aside>
</main>
<script type="application/json" id="data">@DATA@</script>
<script>
const data = JSON.parse(document.getElementById('data').textContent);
const find = id => document.getElementById(id);
const view = find('view'), context = view.getContext('2d'), names = Object.keys(data.points);
const shown = data.classes.map(() => true);
let layer = names[0], zoom, shift, turn, extent, screen = [], hot = -1, drag = null;
const sprite = new Image();
sprite.onload = draw;
sprite.src = data.sprite;

function reset() {
  const points = data.points[layer], reach = axis => Math.max(1, ...points.map(p => Math.abs(p[axis])));
  zoom = 1; shift = [0, 0]; turn = [0.5, 0.4];
  extent = points[0].length === 3 ? [1.4e4, 1.4e4] : [reach(0), reach(1)];
}

function project([x, y, z]) {
  if (z === undefined) return [x, y, 0];
  const [a, b] = turn, u = x * Math.cos(a) + z * Math.sin(a), w = z * Math.cos(a) - x * Math.sin(a);
  return [u, y * Math.cos(b) - w * Math.sin(b), w * Math.cos(b) + y * Math.sin(b)];
}

function picture(target, i, x, y, scale) {
  const [w, h] = data.sizes[i], left = i % data.columns * data.tile, top = Math.floor(i / data.columns) * data.tile;
  target.imageSmoothingEnabled = data.tile > 32;
  target.drawImage(sprite, left, top, w, h, x, y, w * scale, h * scale);
}

function draw() {
  const ratio = window.devicePixelRatio || 1, w = view.clientWidth, h = view.clientHeight;
  view.width = w * ratio; view.height = h * ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const unit = zoom * Math.min((w / 2 - 20) / extent[0], (h / 2 - 20) / extent[1]);
  const images = find('images').checked;
  screen = data.points[layer].map(p => {
    const [x, y, depth] = project(p);
    return [w / 2 + shift[0] + x * unit, h / 2 + shift[1] - y * unit, depth];
  });
  const order = screen.map((_, i) => i).filter(i => shown[data.labels[i]]);
  if (data.points[layer][0].length === 3) order.sort((i, j) => screen[j][2] - screen[i][2]);
  const radius = Math.min(7, (order.length > 3000 ? 2.2 : 3.2) * Math.sqrt(zoom));
  for (const i of order) {
    const [x, y] = screen[i], color = data.classes[data.labels[i]].color;
    if (images) {
      const side = Math.min(96, 22 * Math.sqrt(zoom)), scale = side / Math.max(...data.sizes[i]);
      const [sw, sh] = data.sizes[i].map(n => n * scale);
      picture(context, i, x - sw / 2, y - sh / 2, scale);
      context.strokeStyle = color; context.lineWidth = 2; context.strokeRect(x - sw / 2, y - sh / 2, sw, sh);
    } else {
      context.globalAlpha = .8; context.fillStyle = color;
      context.beginPath(); context.arc(x, y, radius, 0, 7); context.fill(); context.globalAlpha = 1;
    }
  }
  if (hot >= 0 && shown[data.labels[hot]]) {
    context.strokeStyle = '#000'; context.lineWidth = 1.5;
    context.beginPath(); context.arc(screen[hot][0], screen[hot][1], images ? 15 : radius + 2, 0, 7); context.stroke();
  }
}

function hover(x, y) {
  let best = find('images').checked ? 200 : 100;
  hot = -1;
  screen.forEach((p, i) => {
    const distance = (p[0] - x) ** 2 + (p[1] - y) ** 2;
    if (distance < best && shown[data.labels[i]]) { best = distance; hot = i; }
  });
  const tip = find('tip');
  tip.style.display = hot < 0 ? 'none' : 'block';
  if (hot >= 0) {
    const thumb = find('thumb'), [w, h] = data.sizes[hot], scale = 128 / Math.max(w, h);
    thumb.width = w * scale; thumb.height = h * scale;
    thumb.style.width = thumb.width + 'px'; thumb.style.height = thumb.height + 'px';
    picture(thumb.getContext('2d'), hot, 0, 0, scale);
    find('kind').textContent = data.classes[data.labels[hot]].name;
    find('file').textContent = data.files[hot];
    tip.style.left = tip.style.top = 0;  // where nothing makes it narrower
    const right = x + tip.offsetWidth + 24 < view.clientWidth, low = y + tip.offsetHeight + 20 < view.clientHeight;
    tip.style.left = (right ? x + 14 : Math.max(0, x - tip.offsetWidth - 14)) + 'px';
    tip.style.top = (low ? y + 12 : Math.max(0, y - tip.offsetHeight - 12)) + 'px';
  }
  draw();
}

view.addEventListener('pointerdown', e => { drag = [e.offsetX, e.offsetY]; view.setPointerCapture(e.pointerId); });
view.addEventListener('pointerup', () => { drag = null; });
view.addEventListener('pointerleave', () => { if (!drag) hover(-1e6, 0); });
view.addEventListener('pointermove', e => {
  if (!drag) return hover(e.offsetX, e.offsetY);
  const [dx, dy] = [e.offsetX - drag[0], e.offsetY - drag[1]];
  drag = [e.offsetX, e.offsetY];
  if (data.points[layer][0].length === 3 && !e.shiftKey) { turn[0] += dx / 150; turn[1] += dy / 150; }
  else { shift[0] += dx; shift[1] += dy; }
  draw();
});
view.addEventListener('wheel', e => {
  e.preventDefault();
  const factor = Math.exp(-e.deltaY / 400), next = Math.min(60, Math.max(.5, zoom * factor)), grown = next / zoom;
  shift[0] = (shift[0] + view.clientWidth / 2 - e.offsetX) * grown - view.clientWidth / 2 + e.offsetX;
  shift[1] = (shift[1] + view.clientHeight / 2 - e.offsetY) * grown - view.clientHeight / 2 + e.offsetY;
  zoom = next; draw();
}, { passive: false });
view.addEventListener('dblclick', () => { reset(); draw(); });
window.addEventListener('resize', draw);
find('images').addEventListener('change', draw);

for (const name of names) {
  const tab = document.createElement('button');
  tab.textContent = name; tab.role = 'tab';
  tab.onclick = () => {
    layer = name; reset(); hot = -1;
    for (const other of find('tabs').children) other.ariaSelected = other === tab;
    draw();
  };
  find('tabs').append(tab);
}
const entries = data.classes.map((kind, k) => {
  const entry = document.createElement('button'), dot = document.createElement('i');
  const text = document.createElement('span'), count = document.createElement('small');
  dot.style.background = kind.color; text.textContent = kind.name;
  count.textContent = data.labels.filter(label => label === k).length;
  entry.append(dot, text, count);
  entry.onclick = () => { shown[k] = !shown[k]; toggle(); };
  entry.ondblclick = () => { shown.fill(false); shown[k] = true; toggle(); };
  find('legend').append(entry);
  return entry;
});
function toggle() { entries.forEach((entry, k) => { entry.ariaPressed = shown[k]; }); draw(); }
find('all').onclick = () => { shown.fill(true); toggle(); };
find('none').onclick = () => { shown.fill(false); toggle(); };
reset();
toggle();
find('tabs').children[0].click();
</script>
</body>
</html>
'''
