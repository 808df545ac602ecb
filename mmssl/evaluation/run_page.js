'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const find = id => document.getElementById(id);
const KEY = 'mmssl report ' + location.pathname;
const memory = (() => {
  try { return JSON.parse(sessionStorage.getItem(KEY)) || {}; } catch { return {}; }
})();

// ---- curves: a line follows the pointer or the arrow keys

function number(value, percent) {
  if (value === null) return 'not a number';
  if (percent) return (100 * value).toFixed(1) + ' %';
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString('en') : String(+value.toPrecision(4));
}

for (const figure of document.querySelectorAll('[data-chart]')) {
  const chart = data.charts[figure.dataset.chart], { x } = chart;
  const area = figure.querySelector('.area'), cross = figure.querySelector('.cross');
  const output = figure.querySelector('output'), resting = output.textContent;
  let at = null;
  function show(i) {
    at = i;
    cross.hidden = i === null;
    if (i === null) { output.textContent = resting; return; }
    cross.style.left = 100 * (x[i] - chart.from) / (chart.to - chart.from) + '%';
    output.textContent = `${chart.unit} ${+x[i].toPrecision(4)}: ${number(chart.y[i], chart.percent)}`;
  }
  area.addEventListener('pointermove', event => {
    const box = area.getBoundingClientRect();
    const place = chart.from + (event.clientX - box.left) / box.width * (chart.to - chart.from);
    let best = 0;
    x.forEach((value, i) => { if (Math.abs(value - place) < Math.abs(x[best] - place)) best = i; });
    show(best);
  });
  area.addEventListener('pointerleave', () => show(null));
  figure.addEventListener('focus', () => output.setAttribute('aria-live', 'polite'));
  figure.addEventListener('blur', () => { output.setAttribute('aria-live', 'off'); show(null); });
  figure.addEventListener('keydown', event => {
    const last = x.length - 1, now = at === null ? last : at;
    const to = { ArrowLeft: Math.max(0, now - (at === null ? 0 : 1)), ArrowRight: Math.min(last, now + 1), Home: 0,
                 End: last }[event.key];
    if (event.key === 'Escape') show(null);
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
}

// ---- the map of features

const map = find('map');
let chosen = null, tell = () => {};
if (map) {
  const { points, labels, names, classes, neighbours } = data.map, shown = classes.map(() => true);
  const dots = points.map((_, i) => find('dot' + i)), panel = find('dot'), empty = panel.innerHTML;
  let marked = [];

  function thumb(i, name = '') {
    const { tile, columns, size: [w, h] } = data.sprite, rows = Math.ceil(points.length / columns);
    const part = (n, all, side) => all * tile > side ? 100 * n * tile / (all * tile - side) : 0;
    const box = document.createElement('i');
    box.className = 'thumb';
    box.style.backgroundPosition =
      `${part(i % columns, columns, w)}% ${part(Math.floor(i / columns), rows, h)}%`;
    if (name) { box.setAttribute('role', 'img'); box.setAttribute('aria-label', name); }
    return box;
  }
  const named = i => data.map.labelled[labels[i]] ? classes[labels[i]] : '';
  const element = (tag, kind, text) => Object.assign(document.createElement(tag), { className: kind, textContent: text });

  // look at a dot, which may be another one than that which was chosen
  tell = i => {
    for (const j of marked) dots[j].classList.remove('chosen', 'near');
    marked = i === null ? [] : [i, ...neighbours[i]];
    if (i === null) {
      map.removeAttribute('aria-activedescendant');
      panel.innerHTML = empty;
      return;
    }
    for (const j of neighbours[i]) dots[j].classList.add('near');
    dots[i].classList.add('chosen');
    dots[i].setAttribute('aria-label', [names[i], named(i)].filter(Boolean).join(', '));
    map.setAttribute('aria-activedescendant', 'dot' + i);
    const big = element('div', 'big', '');
    big.append(thumb(i, names[i]));
    const strip = element('div', 'strip', '');
    for (const j of neighbours[i]) {
      const button = element('button', '', ''), both = named(i) && named(j);
      button.className = 'near' + (!both ? '' : labels[i] === labels[j] ? ' same' : ' other');
      button.title = [names[j], named(j)].filter(Boolean).join(', ');
      button.setAttribute('aria-label', button.title);
      button.append(thumb(j));
      button.onclick = () => { choose(j); map.focus({ preventScroll: true }); };
      strip.append(button);
    }
    const file = element('span', 'file', names[i]);
    panel.replaceChildren(big, ...(named(i) ? [element('b', '', named(i))] : []), file);
    if (neighbours[i].length) panel.append(element('h3', '', 'Most alike'), strip);
  };
  function choose(i) {
    chosen = i;
    for (const dot of dots) dot.removeAttribute('aria-selected');
    if (i !== null) dots[i].setAttribute('aria-selected', 'true');
    tell(i);
  }
  function nearest(event) {
    const box = map.getBoundingClientRect(), [width, height] = data.map.extent;
    const x = (event.clientX - box.left) / box.width * width, y = (event.clientY - box.top) / box.height * height;
    let best = null, least = (32 * width / box.width) ** 2;
    points.forEach((p, i) => {
      const distance = (p[0] - x) ** 2 + (p[1] - y) ** 2;
      if (distance < least && shown[labels[i]]) { least = distance; best = i; }
    });
    return best;
  }
  map.addEventListener('pointermove', event => {
    if (event.pointerType === 'mouse') { const i = nearest(event); tell(i === null ? chosen : i); }
  });
  map.addEventListener('pointerleave', () => tell(chosen));
  map.addEventListener('click', event => choose(nearest(event)));
  map.addEventListener('focus', () => { if (chosen === null && map.matches(':focus-visible')) choose(first()); });
  const first = () => data.map.queries.find(i => shown[labels[i]]) ?? labels.findIndex(label => shown[label]);
  map.addEventListener('keydown', event => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const step = { PageUp: -1, PageDown: 1 }[event.key];
    if (event.key === 'Escape') choose(null);
    if (!way && !step) return;
    event.preventDefault();
    if (chosen === null) { if (first() >= 0) choose(first()); return; }
    let best = null, least = Infinity;
    if (step) {
      const all = points.length;
      for (let n = 1; n < all && best === null; n++) {
        const i = (chosen + n * step + all * n) % all;
        if (shown[labels[i]]) best = i;
      }
    } else {
      points.forEach((p, i) => {
        const dx = p[0] - points[chosen][0], dy = p[1] - points[chosen][1];
        const along = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
        if (along > 0 && shown[labels[i]] && along + 2 * aside < least) { least = along + 2 * aside; best = i; }
      });
    }
    if (best !== null) choose(best);
  });

  const buttons = [...document.querySelectorAll('[data-class]')];
  function apply() {
    points.forEach((_, i) => {
      dots[i].style.display = shown[labels[i]] ? '' : 'none';
      if (pins[i]) pins[i].style.display = dots[i].style.display;
    });
    buttons.forEach(button => button.setAttribute('aria-pressed', shown[button.dataset.class]));
  }
  buttons.forEach(button => button.addEventListener('click', () => {
    shown[button.dataset.class] = !shown[button.dataset.class];
    if (chosen !== null && !shown[labels[chosen]]) choose(null);
    apply();
  }));
  const pins = [], toggle = find('pictures');
  toggle.addEventListener('change', () => {
    map.classList.toggle('pictures', toggle.checked);
    if (!toggle.checked) { pins.splice(0).forEach(pin => pin.remove()); return; }
    points.forEach((p, i) => {
      const pin = element('div', 'pin', '');
      pin.style.left = 100 * p[0] / data.map.extent[0] + '%';
      pin.style.top = 100 * p[1] / data.map.extent[1] + '%';
      pin.style.setProperty('--h', data.map.hues[labels[i]]);
      pin.append(thumb(i));
      map.parentElement.append(pin);
      pins.push(pin);
    });
    apply();
  });
  memory.restore = () => {
    (memory.hidden || []).forEach(name => { if (classes.includes(name)) shown[classes.indexOf(name)] = false; });
    apply();
    if (memory.pictures) { toggle.checked = true; toggle.dispatchEvent(new Event('change')); }
    const i = names.indexOf(memory.dot);
    if (i >= 0) choose(i);
  };
  memory.note = () => ({ dot: chosen === null ? null : names[chosen], pictures: toggle.checked,
                         hidden: classes.filter((_, k) => !shown[k]) });
}

// ---- news: the page loads itself anew while the training goes on

const opened = Date.now(), news = find('news'), status = document.querySelector('.status');
const STATE = status.firstChild.textContent, NAME = document.title.slice(STATE.length), LOST = 'Seems to have stopped';
let busy = 0, gone = false, asking = false;
const touch = () => { busy = Date.now(); };
for (const kind of ['pointermove', 'pointerdown', 'keydown', 'wheel', 'touchmove']) {
  addEventListener(kind, touch, { passive: true });
}

function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : seconds < 172800 ? `${Math.round(seconds / 3600)} h ago`
    : `${Math.round(seconds / 86400)} days ago`;
}

async function refresh() {
  if (location.protocol.startsWith('http')) {
    asking = true;
    try {
      const answer = await fetch(location.href, { method: 'HEAD', cache: 'no-store' });
      gone = !answer.ok;
      const date = answer.headers.get('Last-Modified');
      const same = date !== null && date === memory.date;
      memory.date = date;
      if (gone || same) return;
    } catch { gone = true; return; } finally { asking = false; }
  }
  const open = { y: scrollY, focus: document.activeElement && document.activeElement.id, date: memory.date,
                 ...(memory.note ? memory.note() : {}) };
  try { sessionStorage.setItem(KEY, JSON.stringify(open)); } catch { /* it begins at the top then */ }
  location.reload();
}

let last = opened;
function tick() {
  const now = Date.now(), age = Math.max(0, now / 1000 - data.written), late = age > 3 * data.every + 60;
  const lost = late && data.state === 'running', words = lost ? LOST : STATE;
  news.textContent = `written ${ago(age)}` + (gone ? ', and the server does not answer' : '');
  news.classList.toggle('bad', gone || lost);
  if (status.firstChild.textContent !== words) {
    status.firstChild.textContent = words;
    status.className = 'status ' + (lost ? 'stopped' : data.state);
    document.title = words + NAME;
  }
  if (data.state !== 'running' || document.hidden || asking || now - busy < 2500) return;
  const wait = 1000 * (late ? 60 : Math.min(120, Math.max(5, data.every)));
  if (now - last < wait || String(getSelection())) return;
  last = now;
  refresh();
}

if (memory.restore) memory.restore();
if (data.state === 'running') {
  history.scrollRestoration = 'manual';
  if (memory.y) scrollTo(0, memory.y);
  if (memory.focus && find(memory.focus)) find(memory.focus).focus({ preventScroll: true });
}
tick();
setInterval(tick, 1000);
document.addEventListener('visibilitychange', tick);
