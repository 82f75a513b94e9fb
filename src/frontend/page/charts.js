// Elements, numbers, charts and colours: what the page of `ehos frontend` and the page of `ehos simulate` have in common.
// Texts are put in as text, never as markup; elements are made once and only what is new in them is written, so that
// focus, selection and scrolling stay.

// ---------------------------------------------------------------- elements

const $ = (id) => document.getElementById(id);

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'class') element.className = value;
    else if (key === 'on') for (const [event, f] of Object.entries(value)) element.addEventListener(event, f);
    else if (value === true) element.setAttribute(key, '');
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function drawn(name, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

// Puts `children` into `parent` in this order; what stands right already is not moved.
function arrange(parent, children) {
  let next = parent.firstChild;
  for (const child of children) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

// One child for each item, found again by its key.
const kept = new WeakMap();
function list(parent, items, key, create, update) {
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    let name = String(key(item));
    while (after.has(name)) name += '+';
    const child = before.get(name) ?? create(item);
    update(child, item);
    after.set(name, child);
  }
  kept.set(parent, after);
  arrange(parent, [...after.values()]);
}

// A list of which all is shown only when it is asked for.
function shortened(parent, button, items, most, what, ...rest) {
  const draw = () => {
    const all = button.dataset.all === 'yes' || items.length <= most + 1;
    list(parent, all ? items : items.slice(0, most), ...rest);
    show(button, items.length > most + 1);
    say(button, all ? `Show the first ${most}` : `Show all ${count(items.length)} ${what}`);
  };
  button.onclick = () => {
    button.dataset.all = button.dataset.all === 'yes' ? 'no' : 'yes';
    draw();
  };
  draw();
}

// ---------------------------------------------------------------- words and numbers

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'local time';
const numbers = new Map();
function number(value, least = 0, most = least) {
  const key = `${least},${most}`;
  if (!numbers.has(key)) {
    numbers.set(key, new Intl.NumberFormat('en', { minimumFractionDigits: least, maximumFractionDigits: most }));
  }
  return numbers.get(key).format(value);
}
const count = (value) => (value === null || value === undefined ? '–' : number(value, 0, 1));
const money = (value) => (value === null || value === undefined ? '–' : number(value, 2, Math.abs(value) < 0.1 ? 4 : 2));
const hours = (value) => (value === null || value === undefined ? '–' : number(value, 0, value < 100 ? 1 : 0));
const many = (value, one, more = `${one}s`) => `${count(value)} ${value === 1 ? one : more}`;
const memory = (mb) => (mb >= 1024 ? `${number(mb / 1024, 0, 1)} GiB` : `${count(mb)} MiB`);

// 12 s, 4 min, 2 h 05 min, 3 d 4 h
function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min`;
  const h = Math.floor(minutes / 60);
  if (h < 24) return minutes % 60 ? `${h} h ${String(minutes % 60).padStart(2, '0')} min` : `${h} h`;
  const d = Math.floor(h / 24);
  return h % 24 && d < 10 ? `${d} d ${h % 24} h` : `${d} d`;
}

// 12 s, 4 min, 2 h, 3 d
const brief = (seconds) => span(seconds >= 86400 ? seconds - (seconds % 86400) : seconds >= 3600 ? seconds - (seconds % 3600) : seconds);

function milliseconds(ms) {
  return ms < 1000 ? `${ms} ms` : `${number(ms / 1000, 1)} s`;
}

const clockParts = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
const dayParts = { year: 'numeric', month: 'short', day: 'numeric' };
const clock = new Intl.DateTimeFormat('en-GB', clockParts);
const clockSeconds = new Intl.DateTimeFormat('en-GB', { ...clockParts, second: '2-digit' });
const monthDay = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const wholeDate = new Intl.DateTimeFormat('en-GB', { ...dayParts, ...clockParts, second: '2-digit', timeZoneName: 'short' });
const dayAndClock = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', ...clockParts });
function figures(parent, rows) {
  list(parent, rows, ([label]) => label,
    () => make('div', {}, make('dt'), make('dd', { class: 'value' }, make('span'), make('span', { class: 'of' })), make('dd', { class: 'meter', 'aria-hidden': 'true' }, make('span')), make('dd', { class: 'detail' })),
    (item, [label, value, detail = '', share = null]) => {
      const [term, is, meter, more] = item.children;
      say(term, label);
      const at = value.indexOf(' of ');
      say(is.firstChild, at < 0 ? value : value.slice(0, at));
      say(is.lastChild, at < 0 ? '' : value.slice(at));
      show(meter, share !== null);
      if (share !== null) bar(meter.firstChild, share);
      mark(meter, 'data-full', share !== null && share >= 1 ? '' : null);
      say(more, detail);
    });
}

function bar(element, share) {
  const width = `${(100 * Math.min(1, Math.max(0, share || 0))).toFixed(1)}%`;
  if (element.style.width !== width) element.style.width = width;
}

// ---------------------------------------------------------------- charts over time

const plots = [];
const hiddenLines = new Set(); // 'ID KEY' of a chart and its line
let series = null; // What the charts show: from, to, step_seconds, t, and a list for each line.
let cursor = null; // Index into the series' times.

function niceStep(most, whole, ticks = 4) {
  const rough = most / ticks;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough - 1e-12 && (!whole || Number.isInteger(n)));
  return whole ? Math.max(1, Math.round(step ?? 1)) : step;
}

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

// Times on the axis: on whole hours and days of the viewer's zone, or of a series that begins at no known time.
function timeTicks({ from, to, relative }, room) {
  const steps = [5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY, 7 * DAY, 10 * DAY, 30 * DAY, 100 * DAY, 365 * DAY, 3650 * DAY];
  const step = steps.find((one) => (to - from) / one <= room) ?? steps.at(-1);
  if (relative) return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => [from + i * step, span(i * step)]);
  const at = new Date(from * 1000);
  at.setHours(0, 0, 0, 0);
  const ticks = [];
  while (at / 1000 <= to) {
    const isMidnight = at.getHours() === 0 && at.getMinutes() === 0;
    const format = step >= DAY || (isMidnight && to - from > DAY / 2) ? monthDay : clock;
    if (at / 1000 >= from) ticks.push([at / 1000, format.format(at)]);
    // On the viewer's clock: a day may have 23 or 25 hours.
    at.setMinutes(at.getMinutes() + step / MINUTE);
  }
  return ticks;
}

function newPlot(chart) {
  const heading = make('h3', { id: `${chart.id}-title` }, chart.title, ' ', make('span', { class: 'unit' }, chart.unit));
  const time = make('span', { class: 'at', 'aria-hidden': 'true' });
  const legend = make('ul', { class: 'legend', 'aria-label': `${chart.title}: what is shown` });
  const area = make('div', { class: 'plot', id: chart.id, tabindex: '0', role: 'slider', 'aria-labelledby': `${chart.id}-title`,
    'aria-describedby': 'plot-help', 'aria-orientation': 'horizontal', 'aria-valuemin': '0', 'aria-valuemax': '0', 'aria-valuenow': '0' });
  const table = make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${chart.title} as a table` });
  const details = make('details', {}, make('summary', {}, 'As a table'), table);
  const box = make('figure', { class: 'chart' }, make('div', { class: 'head' }, heading, time), legend, area, details);
  const plot = { chart, box, heading, time, legend, area, table, details, lines: [], values: new Map(), line: null, width: 0 };
  const move = (x) => {
    const s = series;
    if (!s?.t.length || !plot.scale) return;
    const { left: begin, right: end } = plot.scale;
    const bounds = area.getBoundingClientRect();
    const t = s.from + ((x - bounds.left - begin) / (end - begin)) * (s.to - s.from);
    let best = 0;
    for (let i = 0; i < s.t.length; i += 1) if (Math.abs(s.t[i] - t) < Math.abs(s.t[best] - t)) best = i;
    point(best);
  };
  area.addEventListener('pointermove', (event) => move(event.clientX));
  area.addEventListener('pointerdown', (event) => move(event.clientX));
  // A finger that is lifted leaves what it has shown.
  area.addEventListener('pointerleave', ({ pointerType }) => {
    if (pointerType !== 'touch' && document.activeElement !== area) point(null);
  });
  area.addEventListener('blur', () => point(null));
  area.addEventListener('focus', () => {
    if (area.matches(':focus-visible')) point(cursor ?? (series?.t.length ?? 1) - 1);
  });
  area.addEventListener('keydown', (event) => {
    const length = series?.t.length ?? 0;
    if (!length || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = cursor ?? length - 1;
    const to = {
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, PageDown: at - 12, PageUp: at + 12, Home: 0, End: length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(Math.min(length - 1, Math.max(0, to)));
  });
  details.addEventListener('toggle', () => drawTable(plot));
  return plot;
}

const whenOf = (s, i, format) => (s.relative ? span(s.t[i] - s.from) : format.format(new Date(s.t[i] * 1000)));

function linesShown(plot) {
  return plot.lines.filter(({ key }) => !hiddenLines.has(`${plot.chart.id} ${key}`));
}

const valueOf = (chart, value) => (value === null || value === undefined ? '–' : chart.whole ? count(value) : money(value));

function point(index) {
  if (cursor === index && index === null) return;
  cursor = index;
  for (const plot of plots) drawCursor(plot);
}

function drawCursor(plot) {
  const s = series;
  if (!s || !s.t.length) return;
  const at = cursor === null ? s.t.length - 1 : Math.min(cursor, s.t.length - 1);
  const when = whenOf(s, at, s.to - s.from > DAY ? dayAndClock : clock);
  say(plot.time, cursor === null ? '' : when);
  for (const line of plot.lines) say(plot.values.get(line.key), valueOf(plot.chart, line.values[at]));
  const words = linesShown(plot).map(({ label, values }) => `${label} ${values[at] == null ? 'unknown' : valueOf(plot.chart, values[at])}`);
  mark(plot.area, 'aria-valuemax', s.t.length - 1);
  mark(plot.area, 'aria-valuenow', at);
  mark(plot.area, 'aria-valuetext', `${when}: ${words.join(', ')}`);
  if (!plot.cursor) return;
  plot.cursor.classList.toggle('off', cursor === null);
  if (cursor === null) return;
  const x = plot.scale.x(s.t[at]);
  plot.cursor.setAttribute('transform', `translate(${x.toFixed(1)} 0)`);
  const dots = plot.cursor.querySelectorAll('circle');
  linesShown(plot).forEach((line, i) => {
    const y = plot.tops.get(line.key)?.[at];
    const dot = dots[i];
    if (!dot) return;
    dot.classList.toggle('off', y == null);
    if (y != null) dot.setAttribute('cy', plot.scale.y(y).toFixed(1));
  });
}

// Runs of what is known: a gap ends one.
function runs(values) {
  const found = [];
  let begin = null;
  for (let i = 0; i <= values.length; i += 1) {
    const known = i < values.length && values[i] !== null && values[i] !== undefined;
    if (known && begin === null) begin = i;
    if (!known && begin !== null) {
      found.push([begin, i - 1]);
      begin = null;
    }
  }
  return found;
}

// Tops: where each line of a plot runs; bottoms: what an area stands on.
function layers(plot, s, shown) {
  plot.tops = new Map();
  plot.bottoms = new Map();
  let sum = s.t.map(() => 0);
  for (const line of shown) {
    if (!plot.chart.stacked) {
      plot.tops.set(line.key, line.values);
      continue;
    }
    const below = sum;
    plot.bottoms.set(line.key, below);
    plot.tops.set(line.key, below.map((base, i) => (line.values[i] == null ? null : base + line.values[i])));
    sum = below.map((base, i) => base + (line.values[i] ?? 0));
  }
  let most = 0;
  for (const tops of plot.tops.values()) for (const value of tops) if (value > most) most = value;
  return most || 1;
}

const HEIGHT = 190;

function scaleOf({ chart }, s, most, width) {
  const step = niceStep(most, chart.whole);
  const top = Math.ceil(most / step - 1e-9) * step;
  const labels = [];
  for (let value = 0; value <= top + step / 2; value += step) labels.push(value);
  const text = (value) => (chart.whole ? count(value) : number(value, step < 0.1 ? 3 : step < 1 ? 2 : 0, 3));
  const left_ = 12 + Math.max(...labels.map((value) => text(value).length)) * 7;
  const right = width - 8;
  const base = HEIGHT - 22;
  return {
    left: left_, right, base, labels, text,
    x: (t) => left_ + ((t - s.from) / Math.max(1, s.to - s.from)) * (right - left_),
    y: (value) => base - (value / top) * (base - 8),
  };
}

const fixed = (value) => value.toFixed(1);

// The lines and labels behind the data, and where nothing is known of any line.
function drawGround(svg, { left: begin, right, base, labels, text, x: xOf, y }, s, shown) {
  for (const value of labels) {
    svg.append(drawn('line', { class: value ? 'grid' : 'grid base', x1: begin, x2: right, y1: fixed(y(value)), y2: fixed(y(value)) }));
    svg.append(drawn('text', { class: 'tick', x: begin - 6, y: fixed(y(value) + 3.5), 'text-anchor': 'end' }, text(value)));
  }
  for (const [t, words] of timeTicks(s, Math.max(2, Math.floor((right - begin) / 72)))) {
    const x = xOf(t);
    svg.append(drawn('line', { class: 'grid time', x1: fixed(x), x2: fixed(x), y1: base, y2: base + 4 }));
    if (x > begin + 10 && x < right - 12) svg.append(drawn('text', { class: 'tick', x: fixed(x), y: HEIGHT - 5, 'text-anchor': 'middle' }, words));
  }
  const half = s.step_seconds / 2;
  const unknown = s.t.map((_, i) => (shown.every(({ values }) => values[i] == null) ? 1 : null));
  for (const [a, b] of runs(unknown)) {
    const x = Math.max(begin, xOf(s.t[a] - half));
    const end = Math.min(right, xOf(s.t[b] + half));
    svg.append(drawn('rect', { class: 'gap', x: fixed(x), y: 8, width: fixed(Math.max(0, end - x)), height: base - 8 }));
    if (end - x > 110) svg.append(drawn('text', { class: 'tick', x: fixed((x + end) / 2), y: fixed(8 + (base - 8) / 2), 'text-anchor': 'middle' }, 'nothing known'));
  }
}

// The areas go into the drawing; the lines, which lie upon all areas, are returned.
function drawLine(svg, { chart, tops: allTops, bottoms, scale }, s, line) {
  const tops = allTops.get(line.key);
  const floor = bottoms.get(line.key);
  const path = (from, to) => {
    let d = '';
    for (let i = from; i <= to; i += 1) d += `${i === from ? 'M' : 'L'}${fixed(scale.x(s.t[i]))} ${fixed(scale.y(tops[i]))}`;
    return d;
  };
  let stroke_ = '';
  let fill = '';
  for (const [a, b] of runs(tops)) {
    const upper = path(a, b) + (a === b ? 'h1.5' : '');
    stroke_ += upper;
    if (chart.stacked || line.area) {
      fill += upper.replace('M', fill ? ' M' : 'M');
      for (let i = b; i >= a; i -= 1) fill += `L${fixed(scale.x(s.t[i]) + (a === b && i === b ? 1.5 : 0))} ${fixed(scale.y(floor?.[i] ?? 0))}`;
      fill += 'Z';
    }
  }
  if (fill) svg.append(drawn('path', { class: `area ${chart.stacked ? 'stacked' : ''} ${line.class}`, d: fill }));
  if (!chart.stacked) return drawn('path', { class: `line ${line.class}`, d: stroke_, ...(line.dash ? { 'stroke-dasharray': line.dash } : {}) });
  // A thin line between what lies upon each other; none on what is not there.
  const seams = runs(tops.map((value, i) => (line.values[i] > 0 ? value : null)));
  return drawn('path', { class: 'seam', d: seams.map(([a, b]) => path(a, b)).join('') });
}

function drawLegend(plot) {
  list(plot.legend, plot.lines, ({ key }) => key,
    (line) => make('li', {}, make('button', { type: 'button', on: { click: () => toggle(plot, line.key) } },
      line.family ? make('span', { class: `shape chip ${line.class}`, 'data-family': line.family, 'aria-hidden': 'true' }) : stroke(line),
      make('span', {}, line.label), make('span', { class: 'value' }))),
    (item, { key, label }) => {
      plot.values.set(key, item.firstChild.lastChild);
      say(item.firstChild.children[1], label);
      mark(item.firstChild, 'aria-pressed', String(!hiddenLines.has(`${plot.chart.id} ${key}`)));
    });
}

function drawPlot(plot) {
  const s = series;
  if (!s) return;
  const { chart, area } = plot;
  plot.lines = chart.lines(s);
  drawLegend(plot);
  const width = area.clientWidth;
  if (!width) return;
  plot.width = width;
  const shown = linesShown(plot);
  const most = layers(plot, s, shown);
  if (!shown.length || !s.t.length || !shown.some(({ values }) => values.some((value) => value != null))) {
    plot.scale = null;
    plot.cursor = null;
    arrange(area, [make('p', { class: 'say' }, !plot.lines.length && chart.none ? chart.none : shown.length ? 'Nothing is known of this time.' : 'Nothing is chosen.')]);
  } else {
    plot.scale = scaleOf(plot, s, most, width);
    const svg = drawn('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, 'aria-hidden': 'true', focusable: 'false' });
    drawGround(svg, plot.scale, s, shown);
    svg.append(...shown.map((line) => drawLine(svg, plot, s, line)));
    plot.cursor = drawn('g', { class: 'cursor off' }, drawn('line', { y1: 8, y2: plot.scale.base }), ...shown.map((line) => drawn('circle', { r: 3.5, class: line.class })));
    svg.append(plot.cursor);
    arrange(area, [svg]);
  }
  drawCursor(plot);
  drawTable(plot);
}

function stroke(line) {
  return drawn('svg', { class: 'key', viewBox: '0 0 18 8', width: 18, height: 8, 'aria-hidden': 'true' },
    drawn('path', { class: `line ${line.class}`, d: 'M0 4H18', ...(line.dash ? { 'stroke-dasharray': line.dash } : {}) }));
}

function toggle(plot, key) {
  const name = `${plot.chart.id} ${key}`;
  if (!hiddenLines.delete(name)) hiddenLines.add(name);
  drawPlot(plot);
}

function drawTable(plot) {
  if (!plot.details.open) return;
  const s = series;
  const head = make('tr', {}, make('th', { scope: 'col' }, s.relative ? 'Time' : `Time (${zone})`), ...plot.lines.map(({ label }) => make('th', { scope: 'col', class: 'number' }, label)));
  const body = make('tbody');
  for (let i = s.t.length - 1; i >= 0; i -= 1) {
    body.append(make('tr', {}, make('th', { scope: 'row' }, whenOf(s, i, dayAndClock)),
      ...plot.lines.map(({ values }) => make('td', { class: 'number' }, valueOf(plot.chart, values[i])))));
  }
  arrange(plot.table, [make('table', {}, make('caption', { class: 'unseen' }, plot.chart.title), make('thead', {}, head), body)]);
}

// Draws `shown` as the charts, which are made once.
function drawCharts(charts, shown) {
  series = shown;
  if (!plots.length) {
    for (const chart of charts) plots.push(newPlot(chart));
    const help = make('p', { id: 'plot-help', class: 'unseen' }, 'The arrow keys go through the times.');
    $('plots').append(help, ...plots.map(({ box }) => box));
    const watch = new ResizeObserver(() => {
      for (const plot of plots) if (plot.area.clientWidth !== plot.width) drawPlot(plot);
    });
    watch.observe($('plots'));
    document.addEventListener('pointerdown', ({ target }) => {
      if (!target.closest('.plot')) point(null);
    });
  }
  if (!series) return;
  if (cursor !== null) cursor = Math.min(cursor, series.t.length - 1);
  for (const plot of plots) drawPlot(plot);
}

// ---------------------------------------------------------------- colours

function wireTheme() {
  const root = document.documentElement;
  const inputs = [...document.querySelectorAll('input[name=theme]')];
  const use = (theme) => {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
    else delete root.dataset.theme;
    for (const input of inputs) input.checked = input.value === (root.dataset.theme ?? 'system');
  };
  try {
    use(localStorage.getItem('ehos-theme'));
  } catch { /* Storage is not allowed: the system's colours. */ }
  for (const input of inputs) {
    input.addEventListener('change', () => {
      use(input.value);
      try {
        localStorage.setItem('ehos-theme', input.value);
      } catch { /* As above. */ }
    });
  }
}
