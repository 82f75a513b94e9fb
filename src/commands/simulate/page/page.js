// The page of `ehos simulate`: runs of one workload side by side.

const { command, program, comparison } = JSON.parse($('data').textContent);
const { workload, runs: RUNS, advice } = comparison;
const current = RUNS.find((run) => run.is_current) ?? RUNS[0];
const hasPrices = RUNS.some(({ figures: { cost } }) => cost !== null);

// ---------------------------------------------------------------- figures of a run

const isOfEhos = (run) => run.is_current || Object.keys(run.settings).length > 0;
const costOf = ({ figures: { cost, paid_core_hours: paid } }) => cost ?? paid;
const waitOf = ({ figures: { wait } }) => wait.mean_seconds;
// Jobs that could run and never started make a mean wait worthless.
const isComplete = ({ figures: { jobs } }) => jobs.never_started === 0;
const hasSeries = ({ figures: { series } }) => series.paid_cores.length > 0;
const ratio = (value) => (value === null ? '–' : number(value, 2));
// 4.2 s, 64 s, 3.5 min, 25 min, 2 h 05 min
function waitText(seconds) {
  if (seconds < 120) return `${number(seconds, 0, seconds < 10 ? 1 : 0)} s`;
  return seconds < 7200 ? `${number(seconds / 60, 0, seconds < 600 ? 1 : 0)} min` : span(seconds);
}
const coreHours = (value) => `${number(value, 0, value < 100 ? 1 : 0)}`;
const costText = (run) => (hasPrices ? money(run.figures.cost) : `${coreHours(costOf(run))} core-hours`);
const lowerBound = () => (hasPrices ? workload.bound_cost : workload.bound_core_hours);
const costAxis = hasPrices ? 'Cost, in the money of prices' : 'Paid core-hours';

function kindOf(run) {
  if (run.is_current) return 'current';
  if (!isOfEhos(run)) return 'rule';
  if (run.is_knee) return 'knee';
  return run.is_on_frontier ? 'frontier' : 'sweep';
}
const KINDS = {
  current: 'current configuration', knee: 'knee: beyond it, less waiting costs most', frontier: 'frontier: no other run is cheaper and waits less', sweep: 'other runs', rule: 'other rules',
};

// A figure: its name, its heading in the table, its value, its text, and whether it can be better or worse.
const FIGURES = [
  ['Paid core-hours', 'Paid core-h', ({ figures: f }) => f.paid_core_hours, coreHours],
  ['Used core-hours', 'Used core-h', ({ figures: f }) => f.used_core_hours, coreHours, false],
  ['Paid per used', 'Paid/used', ({ figures: f }) => f.paid_per_used, ratio],
  ...(hasPrices ? [['Cost', 'Cost', ({ figures: f }) => f.cost, money]] : []),
  ['Mean wait', 'Mean wait', ({ figures: f }) => f.wait.mean_seconds, waitText],
  ['Median wait', 'Median', ({ figures: f }) => f.wait.median_seconds, waitText],
  ['95th percentile', '95 %', ({ figures: f }) => f.wait.p95_seconds, waitText],
  ['Longest wait', 'Longest', ({ figures: f }) => f.wait.max_seconds, waitText],
  ['Created nodes', 'Created', ({ figures: f }) => f.nodes.created, count],
  ['Most nodes', 'Peak', ({ figures: f }) => f.nodes.peak, count],
  ['Most actions in a pass', 'Actions/pass', ({ figures: f }) => f.passes.max_actions, count],
  ['Job-hours of waiting at limits', 'At limits', ({ figures: f }) => f.limits.reduce((sum, one) => sum + one.job_hours, 0), hours],
  ['Too large for any node', 'Too large', ({ figures: f }) => f.jobs.too_large, count],
  ['Never started', 'Never started', ({ figures: f }) => f.jobs.never_started, count],
  ['Jobs lost with a node', 'Lost', ({ figures: f }) => f.jobs.lost, count],
];

// ---------------------------------------------------------------- heading

function drawHeading() {
  const days = workload.hours / 24;
  const time = days >= 2 ? `${number(days, 0, 1)} days` : `${number(workload.hours, 0, 1)} h`;
  say($('workload'), `${many(workload.jobs, 'job')} of ${many(workload.owners, 'owner')}, ${coreHours(workload.core_hours)} core-hours in ${time}, from ${workload.source}`);
  show($('advice'), Boolean(advice));
  say($('advice').lastElementChild, advice ?? '');
  const { interrupted } = comparison;
  show($('interrupted'), Boolean(interrupted));
  if (interrupted) say($('interrupted').lastElementChild, `Interrupted: ${count(interrupted.finished_runs)} of ${count(interrupted.planned_runs)} runs finished. This page has these runs only.`);
  const { paid_core_hours: paid, used_core_hours: used, paid_per_used: each, cost, wait, jobs, nodes, passes, lost_core_hours: lost } = current.figures;
  const bound = workload.bound_core_hours;
  figures($('figures'), [
    ['Paid core-hours', coreHours(paid), bound > 0 ? `lower bound ${coreHours(bound)}` : ''],
    ['Used core-hours', coreHours(used), lost > 0 ? `${coreHours(lost)} more were lost with nodes` : 'by jobs that ended', paid > 0 ? used / paid : null],
    ['Paid per used', ratio(each), 'core-hours'],
    ...(cost === null ? [] : [['Cost', money(cost), 'in the money of prices']]),
    ['Mean wait', waitText(wait.mean_seconds), `median ${waitText(wait.median_seconds)}`],
    ['95 % wait at most', waitText(wait.p95_seconds), `longest ${waitText(wait.max_seconds)}`],
    ['Created nodes', count(nodes.created), `at most ${count(nodes.peak)} at a time`],
    ['Actions', count(passes.actions), `at most ${count(passes.max_actions)} in a pass`],
    ['Jobs that ended', count(jobs.ended), unfinished(jobs)],
  ]);
  const without = $('figures').querySelectorAll('.detail');
  mark(without[without.length - 1], 'data-bad', jobs.too_large + jobs.never_started + jobs.lost > 0 ? '' : null);
  say($('command'), command);
  say($('program'), program);
}

function unfinished({ too_large: large, never_started: never, removed, lost }) {
  const parts = [[large, 'too large for any node'], [never, 'never started'], [removed, 'removed while idle'], [lost, 'lost with a node']];
  return parts.filter(([jobs]) => jobs > 0).map(([jobs, words]) => `${count(jobs)} ${words}`).join(', ') || 'all of them';
}

// ---------------------------------------------------------------- cost and wait

// The axes hold the runs of ehos; another rule far beyond them stands at the edge, with its values in words.
function rangeOf(value, from) {
  const plotted = RUNS.filter(isComplete);
  const own = plotted.filter(isOfEhos).map(value);
  const beyond = (own.length ? Math.max(...own) : Infinity) * 2;
  const values = plotted.map(value).filter((one) => one <= beyond);
  const least = Math.min(...values, ...(from === null ? [] : [from]));
  const most = Math.max(...values);
  const room = (most - least || most || 1) * 0.06;
  return [from === 0 ? 0 : Math.max(0, least - room), most + room];
}

function axis([least, most], ticks, whole) {
  const step = niceStep(most - least, whole, ticks);
  const labels = [];
  for (let i = Math.ceil(least / step - 1e-9); i * step <= most + step * 1e-9; i += 1) labels.push(i * step);
  return { labels, text: (value) => number(value, 0, step < 0.1 ? 3 : step < 1 ? 2 : step < 10 ? 1 : 0) };
}

const WAITS = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2592000];
function waitAxis([, most]) {
  const step = WAITS.find((one) => most / one <= 6) ?? 10 ** Math.ceil(Math.log10(most / 6));
  return { labels: Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step), text: waitText };
}

function shapeOf(kind, x, y) {
  const points = (list_) => list_.map(([a, b]) => `${(x + a).toFixed(1)},${(y + b).toFixed(1)}`).join(' ');
  const name = `mark-${kind}`;
  if (kind === 'knee') return drawn('polygon', { class: name, points: points([[0, -8], [8, 0], [0, 8], [-8, 0]]) });
  if (kind === 'rule') return drawn('polygon', { class: name, points: points([[0, -7], [7, 6], [-7, 6]]) });
  const radius = { current: 7, frontier: 4.5, sweep: 2.5 }[kind];
  return drawn('circle', { class: name, cx: x.toFixed(1), cy: y.toFixed(1), r: radius });
}

const RANKS = ['sweep', 'frontier', 'rule', 'knee', 'current'];
let chosen = RUNS.find((run) => run.is_knee && !run.is_current && hasSeries(run))
  ?? RUNS.find((run) => run.is_on_frontier && !run.is_current && hasSeries(run)) ?? RUNS.find((run) => run !== current && hasSeries(run)) ?? current;

function drawAxes(svg, place) {
  const { left: begin, right: end, base, top, x, y, costs, waits, width } = place;
  const f = (value) => value.toFixed(1);
  for (const value of waits.labels) {
    svg.append(drawn('line', { class: value ? 'grid' : 'grid base', x1: begin, x2: end, y1: f(y(value)), y2: f(y(value)) }));
    svg.append(drawn('text', { class: 'tick', x: begin - 6, y: f(y(value) + 3.5), 'text-anchor': 'end' }, waits.text(value)));
  }
  for (const value of costs.labels) {
    svg.append(drawn('line', { class: 'grid', x1: f(x(value)), x2: f(x(value)), y1: top, y2: base }));
    svg.append(drawn('text', { class: 'tick', x: f(x(value)), y: base + 16, 'text-anchor': 'middle' }, costs.text(value)));
  }
  svg.append(drawn('text', { class: 'axis', x: (begin + end) / 2, y: base + 36, 'text-anchor': 'middle' }, `${costAxis} →`));
  svg.append(drawn('text', { class: 'axis', x: 2, y: 12 }, '↑ Mean wait'));
  const bound = lowerBound();
  if (!(bound > 0)) return;
  svg.append(drawn('line', { class: 'mark-bound', x1: f(x(bound)), x2: f(x(bound)), y1: top, y2: base }));
  const isRight = x(bound) > width / 2;
  svg.append(drawn('text', { class: 'axis', x: f(x(bound) + (isRight ? -5 : 5)), y: top + 12, 'text-anchor': isRight ? 'end' : 'start' }, `lower bound ${hasPrices ? money(bound) : coreHours(bound)}`));
}

function titleOf(run) {
  return `${run.name}: ${costText(run)}, mean wait ${waitText(waitOf(run))}, ${ratio(run.figures.paid_per_used)} paid per used core-hour`;
}

// Names beside the marks of the current configuration, the knee and other rules, none upon another.
function drawNames(svg, named, { width, base, right: end, top }) {
  named.sort((a, b) => a.y - b.y);
  const placed = [];
  for (const { run, x, y, isOutside } of named) {
    const words = run.is_current ? 'current' : run.is_knee ? 'knee' : run.name;
    const arrow = x >= end ? '→' : y <= top ? '↑' : '';
    const text = isOutside ? `${words}: ${costText(run)}, ${waitText(waitOf(run))} ${arrow}` : words;
    const room = text.length * 6.5 + 14;
    const isLeft = x + room > width;
    const [from, to] = isLeft ? [x - room, x] : [x, x + room];
    let at = Math.min(y + 4, base - 8);
    while (placed.some((other) => Math.abs(other.at - at) < 14 && other.from < to && other.to > from)) at += 14;
    placed.push({ at, from, to });
    svg.append(drawn('text', { class: 'label', x: (x + (isLeft ? -1 : 1) * (run === chosen ? 16 : 12)).toFixed(1), y: at.toFixed(1), 'text-anchor': isLeft ? 'end' : 'start' }, text));
  }
}

function scatterScale(width, height) {
  const bound = lowerBound() > 0 ? lowerBound() : null;
  const [costRange, waitRange] = [rangeOf(costOf, bound), rangeOf(waitOf, 0)];
  const waits = waitAxis(waitRange);
  const place = { left: 16 + Math.max(...waits.labels.map((value) => waits.text(value).length)) * 6.5, right: width - 14, base: height - 44, top: 22, width, waits };
  place.costs = axis(costRange, Math.max(2, Math.floor((place.right - place.left) / 90)), false);
  const within = (share) => Math.min(1, Math.max(0, share));
  place.x = (value) => place.left + within((value - costRange[0]) / (costRange[1] - costRange[0])) * (place.right - place.left);
  place.y = (value) => place.base - within(value / waitRange[1]) * (place.base - place.top);
  place.isOutside = (run) => costOf(run) > costRange[1] || waitOf(run) > waitRange[1];
  return place;
}

function drawScatter() {
  const box = $('scatter');
  const plotted = RUNS.filter(isComplete);
  const width = box.clientWidth;
  if (!width || !plotted.length) return;
  const height = Math.max(300, Math.min(440, width * 0.55));
  const place = scatterScale(width, height);
  const svg = drawn('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${many(plotted.length, 'run')} by cost and mean wait; the table of runs has the same values` });
  drawAxes(svg, place);
  const frontier = plotted.filter((run) => run.is_on_frontier).sort((a, b) => costOf(a) - costOf(b));
  if (frontier.length > 1) {
    svg.append(drawn('path', { class: 'frontier-line', d: frontier.map((run, i) => `${i ? 'L' : 'M'}${place.x(costOf(run)).toFixed(1)} ${place.y(waitOf(run)).toFixed(1)}`).join('') }));
  }
  const named = [];
  const taken = new Set();
  const ranked = [...plotted].sort((a, b) => RANKS.indexOf(kindOf(a)) - RANKS.indexOf(kindOf(b)));
  for (const run of ranked) {
    const [x, y, kind] = [place.x(costOf(run)), place.y(waitOf(run)), kindOf(run)];
    // Of thousands of runs most marks would hide each other.
    const cell = `${Math.round(x / 3)} ${Math.round(y / 3)}`;
    if (kind === 'sweep' && run !== chosen && taken.has(cell)) continue;
    taken.add(cell);
    const group = drawn('g', { class: 'run' }, shapeOf(kind, x, y), drawn('title', {}, titleOf(run)));
    if (run === chosen && run !== current) group.append(drawn('circle', { class: 'chosen', cx: x.toFixed(1), cy: y.toFixed(1), r: 11 }));
    group.addEventListener('click', () => choose(run));
    svg.append(group);
    if (['current', 'knee', 'rule'].includes(kind)) named.push({ run, x, y, isOutside: place.isOutside(run) });
  }
  drawNames(svg, named, place);
  arrange(box, [svg]);
}

function drawMarks() {
  const kinds = RANKS.filter((kind) => RUNS.some((run) => isComplete(run) && kindOf(run) === kind)).reverse();
  arrange($('marks'), kinds.map((kind) => make('li', {}, drawn('svg', { viewBox: '0 0 18 18', width: 16, height: 16, 'aria-hidden': 'true' }, shapeOf(kind, 9, 9)), make('span', {}, KINDS[kind]))));
  say($('run-count'), many(RUNS.length, 'run'));
  const missing = RUNS.filter((run) => !isComplete(run)).length;
  show($('left-out'), missing > 0);
  say($('left-out'), `${many(missing, 'run')} not drawn: jobs that could run never started there.`);
}

// ---------------------------------------------------------------- one run and the current one

function drawDifferences() {
  const settings = Object.entries(chosen.settings);
  arrange($('settings'), settings.map(([key, value]) => make('li', {}, make('code', {}, `${key}: ${value}`))));
  arrange($('differences').tBodies[0], FIGURES.filter(([, , value]) => value(current) || value(chosen)).map(([label, , value, text, isJudged = true]) => {
    const [before, after] = [value(current), value(chosen)];
    const change = make('td', { class: 'number' });
    if (before !== null && after !== null && before !== after) {
      const share = before ? ((after - before) / before) * 100 : null;
      change.textContent = share === null ? `+${text(after)}` : Math.abs(share) < 0.05 ? '' : Math.abs(share) > 999 ? `× ${number(after / before, 0, 1)}` : `${share > 0 ? '+' : '−'}${number(Math.abs(share), 0, 1)} %`;
      if (isJudged && change.textContent) change.className += after < before ? ' better' : ' worse';
    }
    return make('tr', {}, make('th', { scope: 'row' }, label), make('td', { class: 'number' }, text(before)), make('td', { class: 'number' }, text(after)), change);
  }));
}

// Runs that end earlier have nothing to show for the rest.
function charted() {
  const [one, two] = [current.figures.series, chosen.figures.series];
  const step = one.step_seconds || two.step_seconds;
  const length = Math.max(one.paid_cores.length, two.paid_cores.length);
  const filled = (values) => Array.from({ length }, (_, i) => values[i] ?? 0);
  const from = comparison.workload.start ? Date.parse(comparison.workload.start) / 1000 : 0;
  return {
    from, to: from + length * step, step_seconds: step, relative: !comparison.workload.start,
    t: Array.from({ length }, (_, i) => from + (i + 0.5) * step),
    current: { idle: filled(one.idle_jobs), used: filled(one.used_cores), paid: filled(one.paid_cores) },
    chosen: chosen === current || !hasSeries(chosen) ? null : { idle: filled(two.idle_jobs), used: filled(two.used_cores), paid: filled(two.paid_cores) },
  };
}

const shortName = (run) => (run.name.length > 40 ? `${run.name.slice(0, 39)}…` : run.name);
const CHARTS = [
  {
    id: 'chart-idle', title: 'Idle jobs', unit: 'jobs', whole: true,
    lines: (s) => [
      { key: 'current', label: 'current', values: s.current.idle, class: 'c-waiting', area: true },
      ...(s.chosen ? [{ key: 'chosen', label: shortName(chosen), values: s.chosen.idle, class: 'c-other', dash: '5 3' }] : []),
    ],
  },
  {
    id: 'chart-cores', title: 'Cores paid for and used', unit: 'cores', whole: true,
    lines: (s) => [
      { key: 'paid', label: 'paid, current', values: s.current.paid, class: 'c-paid', area: true },
      { key: 'used', label: 'used, current', values: s.current.used, class: 'c-used', area: true },
      ...(s.chosen ? [
        { key: 'paid2', label: `paid, ${shortName(chosen)}`, values: s.chosen.paid, class: 'c-other', dash: '5 3' },
        { key: 'used2', label: `used, ${shortName(chosen)}`, values: s.chosen.used, class: 'c-other-used', dash: '1.5 3' },
      ] : []),
    ],
  },
];

function choose(run) {
  chosen = run;
  drawChosen();
}

function drawChosen() {
  const select = $('run');
  const options = RUNS.filter((run) => listed.has(run) || run === chosen);
  arrange(select, options.map((run) => {
    const option = make('option', { value: RUNS.indexOf(run) }, run.name);
    option.selected = run === chosen;
    return option;
  }));
  say($('charts-run'), chosen === current ? '' : hasSeries(chosen) ? `current configuration and ${chosen.name}` : `current configuration; this page has no time series of ${chosen.name}`);
  drawScatter();
  drawDifferences();
  drawRuns();
  drawCharts(CHARTS, charted());
}

// ---------------------------------------------------------------- tables

const MAX_LISTED = 200;
let showsAll = false;
const isNamed = (run) => run.is_current || run.is_on_frontier || !isOfEhos(run);
const listed = new Set((RUNS.length <= MAX_LISTED ? RUNS : RUNS.filter(isNamed)).slice(0, MAX_LISTED));

// A line breaks between settings, never within one.
const nameParts = (run) => run.name.split(' ').flatMap((word, i) => [...(i ? [' '] : []), make('span', { class: 'word' }, word)]);

function drawRuns() {
  const columns = FIGURES.filter(([label, , value]) => !['Job-hours of waiting at limits', 'Too large for any node', 'Never started', 'Jobs lost with a node'].includes(label) || RUNS.some((run) => value(run) > 0));
  arrange($('runs').tHead, [make('tr', {}, make('th', { scope: 'col' }, 'Run'), ...columns.map(([label, heading]) => make('th', { scope: 'col', class: 'number', title: label }, heading)))]);
  const shown = [...listed].filter((run) => showsAll || isNamed(run) || run === chosen);
  const rows = shown.sort((a, b) => (a.is_current ? -1 : b.is_current ? 1 : isOfEhos(a) !== isOfEhos(b) ? (isOfEhos(a) ? -1 : 1) : costOf(a) - costOf(b)));
  const body = rows.map((run) => {
    const kind = kindOf(run);
    const tag = kind === 'rule' ? 'other rule' : run.is_knee ? 'knee' : kind === 'frontier' || (run.is_current && run.is_on_frontier) ? 'frontier' : '';
    const row = make('tr', { 'aria-selected': String(run === chosen), on: { click: () => choose(run) } }, make('th', { scope: 'row', title: run.name }, ...nameParts(run), ...(tag ? [make('span', { class: 'tag' }, tag)] : [])),
      ...columns.map(([, , value, text]) => make('td', { class: 'number' }, text(value(run)))));
    return row;
  });
  if (workload.bound_core_hours > 0) {
    const { bound_core_hours: bound, core_hours: used } = workload;
    const known = { 'Paid core-hours': coreHours(bound), 'Used core-hours': coreHours(used), 'Paid per used': used > 0 ? ratio(bound / used) : '–', 'Mean wait': '0 s', ...(workload.bound_cost === null ? {} : { Cost: money(workload.bound_cost) }) };
    body.push(make('tr', { 'data-bound': '' }, make('th', { scope: 'row' }, 'lower bound', make('span', { class: 'tag' }, 'no rule pays less')), ...columns.map(([label]) => make('td', { class: 'number' }, known[label] ?? ''))));
  }
  arrange($('runs').tBodies[0], body);
  const more = $('more-runs');
  show(more, [...listed].some((run) => !isNamed(run)));
  say(more, showsAll ? 'Show the frontier only' : `Show all ${count(listed.size)} runs`);
  const rest = RUNS.length - listed.size;
  show($('not-listed'), rest > 0);
  say($('not-listed'), `${many(rest, 'run')} not listed: other runs are cheaper and wait less.`);
}

function drawGroups(id, heading, groups) {
  show($(id), groups.length > 0);
  arrange($(id).tHead, [make('tr', {}, ...[heading, 'Jobs', 'Mean', 'Median', '95 %', 'Longest'].map((text, i) => make('th', { scope: 'col', class: i ? 'number' : '' }, text)))]);
  arrange($(id).tBodies[0], groups.map((group) => make('tr', {}, make('th', { scope: 'row' }, group.name || '(none)'),
    ...[count(group.jobs), ...['mean_seconds', 'median_seconds', 'p95_seconds', 'max_seconds'].map((key) => waitText(group[key]))].map((text) => make('td', { class: 'number' }, text)))));
}

function drawLimits() {
  const { limits } = current.figures;
  const most = Math.max(1e-9, ...limits.map((one) => one.job_hours));
  show($('no-limits'), limits.length === 0);
  list($('limits'), limits, (one) => one.limit,
    () => make('li', {}, make('span', { class: 'name' }), make('span', { class: 'value' }), make('span', { class: 'use', 'aria-hidden': 'true' }, make('span'))),
    (item, one) => {
      say(item.children[0], one.limit);
      say(item.children[1], `${hours(one.hours)} h, ${hours(one.job_hours)} job-hours of waiting`);
      bar(item.children[2].firstChild, one.job_hours / most);
    });
}

function drawNotes() {
  const { records, counts, left_out: unused, added } = workload.notes;
  const notes = Object.entries(counts);
  say($('records'), `${many(records, 'record')} read, ${many(workload.jobs, 'job')} simulated.${unused ? ` ${many(unused, 'record')} became no job.` : ''}${added ? ` The split of parallel jobs added ${many(added, 'job')}.` : ''}${notes.length ? '' : ' No record is odd.'}`);
  arrange($('notes'), notes.map(([what, one]) => make('li', {}, make('strong', {}, count(one.records)), ` ${what}`, make('span', { class: 'detail' }, `, first: ${one.example}`))));
}

// ---------------------------------------------------------------- all of it

function start() {
  wireTheme();
  drawHeading();
  if (!current) return;
  for (const id of ['frontier', 'compare', 'all-runs']) show($(id), RUNS.length > 1);
  drawMarks();
  drawChosen();
  drawLimits();
  drawGroups('owners', 'Owner', current.figures.wait_by_owner);
  drawGroups('requests', 'Request', current.figures.wait_by_request);
  drawNotes();
  $('run').addEventListener('change', ({ target }) => choose(RUNS[Number(target.value)]));
  $('more-runs').addEventListener('click', () => {
    showsAll = !showsAll;
    drawRuns();
  });
  let width = $('scatter').clientWidth;
  new ResizeObserver(() => {
    if ($('scatter').clientWidth === width) return;
    width = $('scatter').clientWidth;
    drawScatter();
  }).observe($('scatter'));
}

start();
