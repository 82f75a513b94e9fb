// The page of `ehos frontend`. What the API says is put in as text, never as markup; elements are made once and only
// what is new in them is written, so that focus, selection and scrolling stay.

const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();
const moment = (at) => (sameDay(at, now()) ? clockSeconds : dayAndClock).format(new Date(at));

// What the server says of the last tick: problems, phases in the order of a node's life, words.
let view = { problems: [], phases: [], decisions: [], results: [], limits: [], stuck: [], unknown_sources: [] };
const phaseOf = (phase) => view.phases.find((one) => one.phase === phase);
const family = (phase) => phaseOf(phase)?.family ?? 'doubt';
const meaning = (phase) => phaseOf(phase)?.meaning;
const rank = (phase) => (view.phases.findIndex((one) => one.phase === phase) + 1 || view.phases.length + 1);
const decision = (name) => view.decisions.find((one) => one.decision === name) ?? { words: name, family: 'doubt' };
const shape = (of) => make('span', { class: 'shape', 'data-family': of, 'aria-hidden': 'true' });

// ---------------------------------------------------------------- what is known

const once = $('data') ? JSON.parse($('data').textContent) : null;
let status = null; // The last tick.
let offset = 0; // The server's clock less this one's, in milliseconds.
let contact = { ok: true, error: '', since: null, next: null };
let range = '24h';

// The time that ages are counted to. In a simulated site that is the simulation's.
function now() {
  if (status?.simulated) return Date.parse(status.at);
  if (once) return Date.parse(once.written ?? status?.at ?? '') || Date.now();
  return Date.now() + offset;
}

const sinceTick = () => (now() - Date.parse(status.at)) / 1000;

// ---------------------------------------------------------------- heading

function drawHeading() {
  say($('cluster'), status ? status.policy?.cluster || 'pool' : 'pool');
  show($('simulated'), Boolean(status?.simulated));
  show($('dry-run'), Boolean(status?.dry_run));
  drawClock();
}

function drawClock() {
  let state = 'live';
  let text = 'live';
  if (once) [state, text] = ['still', `written ${once.written ? wholeDate.format(new Date(once.written)) : 'after the last tick'}, not live`];
  else if (!contact.ok) {
    const left = contact.next ? Math.max(0, Math.ceil((contact.next - Date.now()) / 1000)) : 0;
    const what = contact.answers ? 'nothing new' : 'not reachable';
    [state, text] = ['broken', left ? `${what}, next try in ${left} s` : `${what}, trying`];
  } else if (!status) [state, text] = ['waiting', 'live, no tick yet'];
  else if (view.is_late) [state, text] = ['late', 'live, but no tick'];
  mark($('live'), 'data-state', state);
  say($('live'), text);
  if (!status) say($('last-tick'), '');
  else if (status.simulated) say($('last-tick'), `last tick at ${wholeDate.format(new Date(status.at))} of the simulation`);
  else say($('last-tick'), `last tick ${once || sinceTick() < 0 ? wholeDate.format(new Date(status.at)) : `${span(sinceTick())} ago`}`);
  for (const one of document.querySelectorAll('[data-until]')) {
    const left = (Number(one.dataset.until) - now()) / 1000;
    say(one, left > 0 ? span(left) : 'over');
  }
}

// ---------------------------------------------------------------- what is wrong

const LEVELS = { error: 'Error', warning: 'Warning', note: 'Note' };

function drawTroubles() {
  const found = view.problems;
  const of = (level) => found.filter((one) => one.level === level).length;
  const worst = contact.ok ? found[0]?.level ?? 'none' : 'error';
  const counts = Object.keys(LEVELS).filter(of).map((level) => many(of(level), level));
  mark($('wrong'), 'data-worst', !status && contact.ok ? null : worst);
  if (counts.length) say($('verdict'), counts.join(', '));
  else if (!contact.ok) say($('verdict'), '');
  else if (status) say($('verdict'), `Nothing: all sources answered, no brake holds, nothing failed${once ? ' at the last tick' : ''}.`);
  else say($('verdict'), 'Nothing is known yet.');
  say($('connection'), contact.ok ? '' : `${contact.error}${status ? ` What is shown is of ${clockSeconds.format(contact.since)}.` : ''}`);
  shortened($('troubles'), $('more-troubles'), found, 8, 'lines', ({ level, word, subject }) => level + word + subject,
    ({ level }) => make('li', { 'data-level': level },
      make('span', { class: 'level' }, LEVELS[level]), make('span', {}, make('strong'), ' ', make('span'))),
    (item, { subject, text }) => {
      const [strong, , plain] = item.lastChild.childNodes;
      say(strong, subject);
      say(plain, text);
    });
  const pool = status?.policy?.cluster || 'pool';
  const bad = of('error') + (contact.ok ? 0 : 1);
  document.title = `${bad ? `(${bad}) ` : ''}${pool} – ehos`;
}

// ---------------------------------------------------------------- queue

function keyed(parent, rows) {
  list(parent, rows, ([label]) => label,
    ([, , of]) => make('div', {}, make('dt', {}, ...(of ? [make('span', { class: `swatch ${of}`, 'aria-hidden': 'true' })] : []), make('span')), make('dd')),
    (item, [label, text]) => {
      say(item.firstChild.lastChild, label);
      say(item.lastChild, text);
    });
}

function asks({ cpus, memory_mb, disk_kb, gpus }) {
  const parts = [many(cpus, 'core'), memory(memory_mb)];
  if (gpus) parts.push(many(gpus, 'GPU'));
  if (disk_kb >= 1024 * 1024) parts.push(`${memory(disk_kb / 1024)} disk`);
  return parts.join(', ');
}

// `7.0` is that job alone, and not `17.0`.
const isJob = (text) => /^(.+#)?\d+\.\d+$/.test(text);
const names = (job, text) => (isJob(text) ? job === text || job.endsWith(`#${text}`) : folded(job).includes(text));

function matchesJobs({ owners = [], job_ids: ids = [], example, reasons, request }) {
  const text = filter.job;
  if (!text) return true;
  if (ids.some((id) => names(id, text)) || (example && names(example, text))) return true;
  if (isJob(text)) return false;
  const words = [...owners.map(({ owner }) => owner), ...reasons.map((one) => one.text), asks(request)];
  return words.some((word) => folded(word).includes(text));
}

// The lists of a report are bounded: the rest is counted.
function owned({ owners = [], other_owners: others = 0, job_ids: ids = [], jobs }) {
  const parts = owners.slice(0, 3).map(({ owner, jobs: own }) => (owners.length + others > 1 ? `${owner} (${count(own)})` : owner));
  const rest = owners.length - parts.length + others;
  if (rest > 0) parts.push(many(rest, 'other owner'));
  const few = ids.slice(0, 3);
  const more = jobs - few.length;
  const jobWords = few.length ? [`${few.length > 1 || more > 0 ? 'jobs' : 'job'} ${few.join(', ')}${more > 0 ? ` and ${count(more)} more` : ''}`] : [];
  return [...(parts.length ? [parts.join(', ')] : []), ...jobWords].join(': ');
}

function drawQueue() {
  const { queue, demand, job_groups: groups } = status;
  const seen = queue.schedds > 0;
  const whole = view.knows_jobs;
  const jobs = [['idle', queue.idle], ['running', queue.running], ['held', queue.held]];
  const all = jobs.reduce((sum, [, n]) => sum + n, 0);
  for (const [name, n] of jobs) {
    const part = $('queue-bar').querySelector(`.${name}`);
    show(part, seen && n > 0);
    part.style.flexGrow = all ? n : 0;
  }
  keyed($('queue-numbers'), jobs.map(([name, n]) => [name, !seen ? 'unknown' : whole ? count(n) : `at least ${count(n)}`, name]));
  let text = 'No schedd answered: what waits is not known.';
  if (seen && queue.waiting === 0) text = queue.idle ? 'No job that waits could be read.' : 'No job waits.';
  else if (seen) {
    const parts = [`${many(queue.waiting, 'job waits', 'jobs wait')}, the longest for ${span(queue.longest_seconds)}; together they ask for ${asks(demand)}`];
    if (queue.unmatched) parts.push(`${many(queue.unmatched, 'fits', 'fit')} no node`);
    if (queue.limited) parts.push(`a limit holds back ${count(queue.limited)}`);
    if (queue.unmaterialized) parts.push(`${count(queue.unmaterialized)} more to come (late materialization)`);
    text = `${parts.join('; ')}.`;
  }
  if (seen && !whole) text = `Of the schedds that answered: ${text}`;
  say($('queue-text'), text);
  show($('groups'), groups.length > 0);
  show($('job-filter'), groups.length > 0);
  const waiting = groups.filter(matchesJobs).sort((a, b) => b.waiting_seconds - a.waiting_seconds);
  show($('no-groups'), groups.length > 0 && waiting.length === 0);
  say($('no-groups'), status.owners_hidden
    ? 'No job group is like that. This site hides owners and jobs here: run `ehos explain JOB`.'
    : 'No job group is like that. A group names its first 20 jobs: `ehos explain JOB` shows any job.');
  const cell = (label, properties = {}) => make('td', { role: 'cell', 'data-label': label, ...properties });
  shortened($('groups').tBodies[0], $('more-groups'), waiting, 8, 'groups',
    (group) => group.id ?? JSON.stringify([group.request, group.requirements]),
    () => {
      const row = make('tr', { role: 'row' }, cell('Jobs', { class: 'number' }), cell('Each asks for'), cell('Longest', { class: 'number' }), cell('Where', { class: 'why' }));
      row.cells[1].append(make('span'), make('span', { class: 'owned' }));
      return row;
    },
    (row, group) => {
      const [n, request, longest, why] = row.cells;
      say(n, count(group.jobs));
      say(request.firstChild, asks(group.request));
      say(request.lastChild, owned(group));
      mark(request, 'title', group.example ? `such as job ${group.example}` : null);
      say(longest, span(group.waiting_seconds));
      list(why, group.reasons.length ? group.reasons : [{ reason: '', text: '–' }], (one) => one.reason + one.text,
        () => make('p', { class: 'reason' }),
        (item, one) => {
          mark(item, 'data-bad', view.stuck.includes(one.reason) ? '' : null);
          say(item, one.text);
        });
    });
}

// ---------------------------------------------------------------- figures

// What is left of several limits together: the least.
const left = (usage) => (!usage || usage.limit === null ? null : Math.max(0, usage.limit - usage.used));

function drawFigures() {
  const { cores, cost, policy, clouds } = status;
  const existing = view.existing_nodes;
  const heard = view.knows_claims;
  const whole = view.knows_paid;
  const paid = whole ? count(cores.paid) : `at least ${count(cores.paid)}`;
  const share = cores.paid && heard && whole ? cores.claimed / cores.paid : null;
  const rows = [
    ['Cores used', `${heard ? count(cores.claimed) : 'unknown'} of ${paid}`,
      share !== null ? `${number(100 * share, 0)} % of those that are paid for` : whole ? 'none is paid for' : 'a cloud with nodes does not answer', share],
    ['Cores free', heard ? count(cores.free) : 'unknown', cores.unmanaged ? `and ${count(cores.unmanaged - cores.unmanaged_claimed)} of ${count(cores.unmanaged)} on other machines` : 'on nodes that take jobs'],
    ['Nodes', `${count(existing)} of ${count(policy.nodes_max)}`, `at least ${count(policy.nodes_min)}${policy.nodes_spare && policy.nodes_spare !== '0' ? `, ${policy.nodes_spare} to spare` : ''}`,
      policy.nodes_max ? existing / policy.nodes_max : null],
  ];
  if (!heard && cores.paid) rows[0][2] = view.knows_collector ? 'the collector has not heard from all nodes' : 'the collector does not answer';
  if (cost) {
    const { per_hour, per_month } = policy.budget;
    rows.push(['Cost an hour', money(cost.per_hour), per_hour !== null ? `of ${money(per_hour)} allowed` : 'no budget an hour', per_hour ? cost.per_hour / per_hour : null]);
    const since = cost.counted_since ? `, counted since ${dayAndClock.format(new Date(cost.counted_since))}` : '';
    const [year, month] = cost.month.split('-').map(Number);
    const its = year && month ? new Intl.DateTimeFormat('en-GB', { month: 'long', timeZone: 'UTC' }).format(new Date(Date.UTC(year, month - 1, 15))) : cost.month;
    rows.push([`Cost in ${its}`, money(cost.spent_this_month), (per_month !== null ? `of ${money(per_month)} allowed` : 'no budget a month') + since, per_month ? cost.spent_this_month / per_month : null]);
  }
  figures($('figures-list'), rows);

  const costs = new Map((cost?.clouds ?? []).map((one) => [one.cloud, one]));
  const all = [...clouds];
  for (const name of costs.keys()) if (!all.some(({ cloud }) => cloud === name)) all.push({ cloud: name, former: true });
  const budgeted = clouds.some(({ budget }) => budget?.per_hour != null || budget?.per_month != null);
  $('clouds').classList.toggle('no-prices', !cost);
  $('clouds').classList.toggle('no-budgets', !budgeted);
  const cell = (label, more = '') => make('td', { role: 'cell', 'data-label': label, class: `number ${more}` });
  list($('clouds').tBodies[0], all, ({ cloud }) => cloud,
    () => make('tr', { role: 'row' }, make('th', { role: 'rowheader', scope: 'row' }, make('span'), make('span', { class: 'aside' })), cell('Nodes'), cell('Servers left'), cell('Cores left'), cell('GiB left'),
      cell('An hour', 'priced'), cell('This month', 'priced'), cell('Budget left', 'budgeted')),
    (row, cloud) => {
      const [name, n, instances, its, ram, hour, month, budget] = row.cells;
      say(name.firstChild, cloud.cloud);
      say(name.lastChild, cloud.former ? ' not configured any more' : cloud.answers ? '' : ' no answer');
      mark(name, 'title', cloud.image ? `new nodes boot from ${cloud.image}` : null);
      say(n, cloud.former ? '–' : count(cloud.nodes) + (cloud.nodes_max != null ? ` of ${count(cloud.nodes_max)}` : ''));
      const quota = (cell, usage, format) => {
        const rest = left(usage);
        say(cell, cloud.former ? '–' : !cloud.quota ? 'unknown' : rest === null ? 'no limit' : `${format(rest)} of ${format(usage.limit)}`);
        mark(cell, 'data-bad', rest === 0 ? '' : null);
      };
      quota(instances, cloud.quota?.instances, count);
      quota(its, cloud.quota?.cores, count);
      quota(ram, cloud.quota?.ram_mb, (mb) => count(Math.round(mb / 1024)));
      const its_cost = costs.get(cloud.cloud);
      say(hour, its_cost ? money(its_cost.per_hour) : '–');
      say(month, its_cost ? money(its_cost.spent_this_month) : '–');
      mark(hour, 'title', its_cost?.nodes_without_price ? `${many(its_cost.nodes_without_price, 'node')} without a price not counted` : null);
      const rests = [];
      if (cloud.budget?.per_month != null) rests.push(`${money(Math.max(0, cloud.budget.per_month - (its_cost?.spent_this_month ?? 0)))}`);
      if (cloud.budget?.per_hour != null) rests.push(`${money(Math.max(0, cloud.budget.per_hour - (its_cost?.per_hour ?? 0)))} an hour`);
      say(budget, rests.join(', ') || '–');
      mark(budget, 'title', rests.length ? `of ${[cloud.budget.per_month, cloud.budget.per_hour].filter((one) => one != null).map(money).join(', ')}` : null);
    });
}

// ---------------------------------------------------------------- nodes

const tiles = new Map(); // id → { item, button, signature, node, words }
const groupBoxes = new Map(); // name → { box, heading, shape, title, number, list }
const filter = { find: '', job: '', cloud: '', phase: '', group: 'auto', size: '' };
let sized = '';

function utilisation({ startd, server }) {
  if (startd && startd.cpus) return [startd.claimed_cpus, startd.cpus];
  return [0, server?.vcpus ?? 0];
}

function nodeWords(node) {
  const [used, all] = utilisation(node);
  const parts = [node.name || node.node, node.phase];
  parts.push(!all ? 'cores not known' : node.startd ? `${used} of ${many(all, 'core')} used` : many(all, 'core'), `cloud ${node.cloud}`, node.flavor);
  if (node.server?.age_seconds != null) parts.push(`${span(node.server.age_seconds)} old`);
  if (node.decision !== 'keep') parts.push(`this tick: ${decision(node.decision).words}`);
  return parts.join(', ');
}

// What comes before its id in a name is that of all nodes.
function shortName({ name, node }) {
  return !name || name.endsWith(node) ? node : name;
}

function newTile(id) {
  const text = (name) => make('span', { class: name });
  const button = make('button', { type: 'button', tabindex: '-1', 'aria-haspopup': 'dialog' },
    shape('doubt'), make('span', { class: 'name' }, make('bdi')), text('phase'), make('span', { class: 'use' }, make('span')), text('cores'), text('place'), text('age'));
  button.dataset.node = id;
  return { item: make('li', {}, button), button, signature: '', node: null, words: '' };
}

function drawTile(tile, node, size) {
  const [used, all] = utilisation(node);
  const age = node.server?.age_seconds != null ? brief(node.server.age_seconds) : '';
  const signature = [node.name, node.phase, node.decision, node.cloud, node.flavor, used, all, age, size, node.startd ? 1 : 0].join('\u0000');
  tile.node = node;
  if (tile.signature === signature) return;
  tile.signature = signature;
  tile.words = nodeWords(node);
  const [mark_, name, phase, use, cores, place, old] = tile.button.children;
  mark(tile.button, 'aria-label', tile.words);
  mark(tile.button, 'data-family', family(node.phase));
  mark(tile.button, 'data-decision', node.decision === 'keep' ? null : node.decision);
  mark(mark_, 'data-family', family(node.phase));
  say(name.firstChild, shortName(node));
  mark(tile.button, 'title', size === 'small' ? tile.words : node.name);
  say(phase, node.phase);
  bar(use.firstChild, all ? used / all : 0);
  mark(use, 'data-none', node.startd ? null : '');
  say(cores, node.startd ? `${used}/${all}` : all ? `–/${all}` : '–');
  say(place, `${node.cloud} · ${node.flavor}`);
  say(old, age);
}

const folded = (text) => text.toLocaleLowerCase('en');
function matchesFilter(node) {
  if (filter.cloud && node.cloud !== filter.cloud) return false;
  if (filter.phase && node.phase !== filter.phase) return false;
  if (!filter.find) return true;
  const jobs = node.running_jobs ?? [];
  if (jobs.some(({ job }) => names(job, filter.find))) return true;
  const words = [node.name, node.node, node.server?.id, node.startd?.machine, node.flavor, node.zone, ...jobs.map(({ owner }) => owner)];
  return words.some((word) => word && folded(word).includes(filter.find));
}

function options(select, values) {
  const [all] = select.options;
  const wanted = values.includes(select.value) || !select.value ? values : [...values, select.value];
  list(select, [null, ...wanted], (value) => value ?? '', (value) => (value === null ? all : make('option', { value }, value)), () => {});
}

function drawNodes() {
  const nodes = status?.nodes ?? [];
  const size = filter.size || (nodes.length <= 60 ? 'large' : nodes.length <= 400 ? 'middle' : 'small');
  if (sized !== size) {
    sized = size;
    mark($('tiles'), 'data-size', size);
  }
  const by = filter.group === 'auto' ? (size === 'large' ? '' : 'phase') : filter.group;
  const groupOf = (node) => (by ? node[by] : '');
  const groups = new Map();
  const seen = new Set();
  const phases = new Map();
  let shown = 0;
  for (const node of nodes) {
    seen.add(node.node);
    phases.set(node.phase, (phases.get(node.phase) ?? 0) + 1);
    let tile = tiles.get(node.node);
    if (!tile) tiles.set(node.node, (tile = newTile(node.node)));
    drawTile(tile, node, size);
    if (!matchesFilter(node)) continue;
    shown += 1;
    const name = groupOf(node);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(tile);
  }
  const focused = document.activeElement?.dataset?.node;
  for (const id of tiles.keys()) if (!seen.has(id)) tiles.delete(id);
  const names = [...groups.keys()].sort(by === 'phase' ? (a, b) => rank(a) - rank(b) || order.compare(a, b) : order.compare);
  const boxes = [];
  for (const name of names) {
    let group = groupBoxes.get(name);
    if (!group) {
      group = { shape: shape('doubt'), title: make('span'), number: make('span', { class: 'count' }), list: make('ul', { class: 'tiles' }) };
      group.heading = make('h3', {}, group.shape, group.title, ' ', group.number);
      group.box = make('div', { class: 'tile-group' }, group.heading, group.list);
      groupBoxes.set(name, group);
    }
    const members = groups.get(name).sort((a, b) => rank(a.node.phase) - rank(b.node.phase) || compareNames(a.node, b.node));
    show(group.heading, Boolean(by));
    show(group.shape, by === 'phase');
    mark(group.shape, 'data-family', family(name));
    say(group.title, name || 'none');
    say(group.number, count(members.length));
    mark(group.list, 'aria-label', `${name || 'all'} nodes`);
    arrange(group.list, members.map(({ item }) => item));
    boxes.push(group.box);
  }
  for (const name of groupBoxes.keys()) if (!groups.has(name)) groupBoxes.delete(name);
  arrange($('tiles'), boxes);
  if (focused && document.activeElement?.dataset?.node !== focused) tiles.get(focused)?.button.focus({ preventScroll: true });
  stop(document.activeElement?.dataset?.node ?? stopAt);

  say($('nodes-count'), shown === nodes.length ? count(nodes.length) : `${count(shown)} of ${count(nodes.length)}`);
  show($('no-nodes'), shown === 0);
  say($('no-nodes'), nodes.length ? 'No node is like that.' : 'There is no node.');
  show($('node-filter'), nodes.length > 0);
  const ordered = [...phases].sort(([a], [b]) => rank(a) - rank(b));
  list($('phase-key'), ordered, ([phase]) => phase,
    ([phase]) => make('li', { title: meaning(phase) }, shape(family(phase)), make('span', {}, phase), ' ', make('strong')),
    (item, [, n]) => say(item.lastChild, count(n)));
  show($('phase-key'), ordered.length > 0 && by !== 'phase');
  options($('only-cloud'), [...new Set([...(status?.clouds ?? []).map(({ cloud }) => cloud), ...nodes.map(({ cloud }) => cloud)])].sort(order.compare));
  options($('only-phase'), ordered.map(([phase]) => phase));
  show($('node-line'), size === 'small' && shown > 0);
  if (size === 'small' && !$('node-line').textContent) say($('node-line'), 'Press a node for all that is known of it.');
}
const order = new Intl.Collator('en', { numeric: true });
const compareNames = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.node < b.node ? -1 : 1);

// One stop for the Tab key; the arrow keys go from there.
let stopAt = null;
function stop(id) {
  const buttons = $('tiles').querySelectorAll('button');
  const wanted = (id && tiles.get(id)?.item.isConnected && tiles.get(id).button) || buttons[0];
  const old = $('tiles').querySelector('button[tabindex="0"]');
  if (old && old !== wanted) old.tabIndex = -1;
  if (wanted) {
    if (wanted.tabIndex !== 0) wanted.tabIndex = 0;
    stopAt = wanted.dataset.node;
  }
}

function walk(event) {
  const from = event.target.closest('button[data-node]');
  if (!from || event.altKey || event.ctrlKey || event.metaKey) return;
  const buttons = [...$('tiles').querySelectorAll('button')];
  const at = buttons.indexOf(from);
  const here = from.getBoundingClientRect();
  const vertical = (step) => {
    // The nearest one of the next row.
    let best = null;
    for (let i = at + step, top = null; i >= 0 && i < buttons.length; i += step) {
      const box = buttons[i].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < 2) continue;
      top ??= box.top;
      if (Math.abs(box.top - top) > 2) break;
      const far = Math.abs(box.left - here.left);
      if (!best || far < best.far) best = { far, button: buttons[i] };
    }
    return best?.button;
  };
  const to = {
    ArrowRight: () => buttons[at + 1], ArrowLeft: () => buttons[at - 1],
    ArrowDown: () => vertical(1), ArrowUp: () => vertical(-1),
    Home: () => buttons[0], End: () => buttons.at(-1),
  }[event.key];
  if (!to) return;
  event.preventDefault();
  const button = to();
  if (button) {
    stop(button.dataset.node);
    button.focus();
  }
}

function wireNodes() {
  const box = $('tiles');
  const point = (event) => {
    const tile = tiles.get(event.target.closest?.('button[data-node]')?.dataset.node);
    if (tile) say($('node-line'), tile.words);
  };
  box.addEventListener('pointerover', point);
  box.addEventListener('focusin', (event) => {
    point(event);
    if (event.target.dataset.node) stop(event.target.dataset.node);
  });
  box.addEventListener('keydown', walk);
  box.addEventListener('click', (event) => {
    const id = event.target.closest('button[data-node]')?.dataset.node;
    if (id) openNode(id);
  });
  const listen = (id, name, change = (value) => value) => {
    $(id).addEventListener('input', () => {
      filter[name] = change($(id).value);
      drawNodes();
    });
  };
  listen('find', 'find', (text) => folded(text.trim()));
  $('find-job').addEventListener('input', () => {
    filter.job = folded($('find-job').value.trim());
    if (status) drawQueue();
  });
  $('job-filter').addEventListener('submit', (event) => event.preventDefault());
  listen('only-cloud', 'cloud');
  listen('only-phase', 'phase');
  listen('group-by', 'group');
  listen('tile-size', 'size');
  $('node-filter').addEventListener('submit', (event) => event.preventDefault());
}

// ---------------------------------------------------------------- one node

let opened = null; // { id, from, asked }

function pairs(parent, rows) {
  list(parent, rows.filter(([, value]) => value !== null && value !== undefined && value !== ''), ([label]) => label,
    ([label]) => make('div', {}, make('dt', {}, label), make('dd')),
    (item, [, value]) => {
      if (value instanceof Node) arrange(item.lastChild, [value]);
      else say(item.lastChild, String(value));
    });
}

function running({ running_jobs: jobs = [], startd }) {
  if (!jobs.length) return null;
  const more = (startd?.claims ?? 0) - jobs.length;
  return `${jobs.map(({ job, owner }) => (owner ? `${job} of ${owner}` : job)).join(', ')}${more > 0 ? ` and ${count(more)} more` : ''}`;
}

// The requests of operators, unless the reason names them.
function requestsOf({ requests = {}, reason }) {
  const { keep, drain_request: drain, delete_request: gone } = requests;
  return [
    keep && reason !== 'kept' && `kept by ${keep.by}${keep.until ? ` until ${keep.until}` : ''}`,
    drain && !String(reason).startsWith('drain_request') && `drain requested by ${drain.by}`,
    gone && reason !== 'delete_requested' && `delete requested by ${gone.by}`,
  ].filter(Boolean);
}

function drawNode(node, name) {
  say($('node-heading'), node?.name || name);
  say($('node-why'), node ? [node.text, ...requestsOf(node)].join('; ') : 'It is not among the nodes of the last tick.');
  if (!node) return pairs($('node-pairs'), []);
  const { server = {}, startd } = node;
  pairs($('node-pairs'), [
    ['Phase', meaning(node.phase) ? `${node.phase} (${meaning(node.phase)})` : node.phase],
    ['This tick', node.decision === 'keep' ? 'keeps it' : decision(node.decision).words],
    ['Cores used', startd ? `${startd.claimed_cpus} of ${startd.cpus}` : null],
    ['Memory used', startd ? `${memory(startd.claimed_memory_mb)} of ${memory(startd.memory_mb)}` : null],
    ['GPUs used', startd?.gpus ? `${startd.claimed_gpus} of ${startd.gpus}` : null],
    ['Claims', startd ? startd.claims : null],
    ['Jobs', running(node)],
    ['Cloud', node.cloud], ['Flavor', `${node.flavor}${server.vcpus ? ` (${many(server.vcpus, 'core')})` : ''}`], ['Zone', node.zone], ['Image', server.image],
    ['Age', server.age_seconds != null ? span(server.age_seconds) : null],
    ['Cost', server.per_hour != null ? `${money(server.per_hour)} an hour${server.age_seconds != null ? `, ${money((server.per_hour * server.age_seconds) / 3600)} so far` : ''}` : null],
    ['Node', node.node], ['Server', server.id], ['Host', startd?.machine],
  ]);
}

function drawEvents(events, more) {
  say($('events-say'), more ?? (events.length ? '' : 'Nothing is known of it in the history.'));
  show($('events-say'), Boolean($('events-say').textContent));
  list($('events'), events, (event) => `${event.at} ${event.decision} ${event.phase}`,
    (event) => make('li', {}, make('time', { datetime: event.at }), shape(family(event.phase)), make('div', {}, make('strong'), make('span'), make('em'))),
    (item, event) => {
      const [time, , words] = item.children;
      const [what, why, result] = words.children;
      say(time, dayAndClock.format(new Date(event.at)));
      say(what, whatOf(event));
      say(why, event.text ?? '');
      say(result, resultOf(event));
      mark(result, 'data-result', event.result);
    });
}

async function openNode(id, name = id) {
  opened = { id, name, from: document.activeElement };
  const node = status?.nodes.find((one) => one.node === id);
  drawNode(node, name);
  list($('events'), [], String, null, null);
  say($('events-say'), 'Loading…');
  show($('events-say'), true);
  if (!$('node').open) $('node').showModal();
  $('node').scrollTop = 0;
  $('node-heading').focus();
  await askNode();
}

async function askNode() {
  const { id, name } = opened;
  if (once) {
    const events = (once.decisions?.decisions ?? []).filter(({ node }) => node === id).reverse();
    drawEvents(events, 'Of the last decisions only; `ehos explain` says all.');
    return;
  }
  try {
    const answer = await ask(`api/node/${encodeURIComponent(id)}`);
    if (opened?.id !== id) return;
    const { node, events } = await answer.json();
    if (opened?.id !== id) return;
    if (node) drawNode(status?.nodes.find((one) => one.node === id) ?? node, name);
    drawEvents(events ?? []);
  } catch (error) {
    if (opened?.id === id) drawEvents([], `Its history could not be read: ${error.message}`);
  }
}

function wireDialog() {
  const dialog = $('node');
  $('close-node').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener('close', () => {
    const back = opened;
    opened = null;
    const target = back?.from?.isConnected ? back.from : tiles.get(back?.id)?.button;
    target?.focus?.({ preventScroll: true });
  });
}

// ---------------------------------------------------------------- charts

const seriesOf = {}; // range → what the API said
const CHARTS = [
  {
    id: 'chart-queue', title: 'Queue and demand', unit: 'jobs, cores', whole: true,
    lines: (s) => [
      { key: 'running', label: 'running', values: s.queue.running, class: 'c-running', area: true },
      { key: 'idle', label: 'idle', values: s.queue.idle, class: 'c-waiting' },
      { key: 'held', label: 'held', values: s.queue.held, class: 'c-held', dash: '6 3' },
      { key: 'unmatched', label: 'fit no node', values: s.queue.unmatched, class: 'c-unmatched', dash: '1.5 3' },
      { key: 'demand', label: 'cores asked for', values: s.demand_cpus, class: 'c-demand', dash: '8 3 1.5 3' },
    ],
  },
  {
    id: 'chart-nodes', title: 'Nodes by phase', unit: 'nodes', whole: true, stacked: true,
    lines: (s) => Object.keys(s.nodes).sort((a, b) => stackRank(a) - stackRank(b)).map((phase) => (
      { key: phase, label: phase, values: s.nodes[phase], class: `p-${phaseOf(phase) ? phase : 'unclear'}`, family: family(phase) })),
  },
  {
    id: 'chart-cores', title: 'Cores paid for and used', unit: 'cores', whole: true,
    lines: (s) => [
      { key: 'paid', label: 'paid for', values: s.cores.paid, class: 'c-paid', area: true },
      { key: 'claimed', label: 'used', values: s.cores.claimed, class: 'c-used', area: true },
      { key: 'others', label: 'on other machines', values: s.cores.unmanaged, class: 'c-others', dash: '6 3' },
    ],
  },
  {
    id: 'chart-cost', title: 'Cost and waste', unit: 'an hour', none: 'No prices are configured.',
    lines: (s) => (s.cost_per_hour ? [
      { key: 'cost', label: 'cost an hour', values: s.cost_per_hour, class: 'c-cost' },
      { key: 'waste', label: 'of it unused', values: s.waste_per_hour ?? [], class: 'c-waste', area: true, dash: '5 3' },
    ] : []),
  },
];
// Busy lies at the bottom of the stack: it is the steadiest.
const stackRank = (phase) => (phase === 'busy' ? 0 : phase === 'idle' ? 0.5 : rank(phase));
for (const name of ['chart-queue unmatched', 'chart-cores others']) hiddenLines.add(name);

function drawHistory() {
  const s = seriesOf[range];
  drawCharts(CHARTS, s);
  if (!s) return;
  const { totals } = s;
  const share = (part, whole) => (whole ? `${number((100 * part) / whole, 0)} % of it` : '');
  const rows = [
    ['Core-hours paid for', hours(totals.paid_core_hours), `in ${RANGES[range]}`],
    ['Core-hours used', hours(totals.claimed_core_hours), share(totals.claimed_core_hours, totals.paid_core_hours)],
    ['Core-hours unused', hours(totals.wasted_core_hours), share(totals.wasted_core_hours, totals.paid_core_hours)],
  ];
  if (totals.cost !== null && totals.cost !== undefined) {
    rows.push(['Cost', money(totals.cost), totals.wasted_cost != null ? `${money(totals.wasted_cost)} of it for unused cores` : '']);
  }
  rows.push(['Nodes made', count(totals.nodes_created), `${count(totals.nodes_deleted)} deleted`]);
  rows.push(['Ticks', count(totals.ticks), totals.ticks_failed ? `${count(totals.ticks_failed)} did not end well` : 'all ended well']);
  if (totals.missing_seconds >= 60) rows.push(['Not known', span(totals.missing_seconds), 'without a tick']);
  figures($('totals'), rows);
}
const RANGES = { '1h': 'an hour', '24h': '24 hours', '7d': '7 days', '30d': '30 days' };

let chosen = false; // Somebody has said which time is shown, or it was seen that a day is not too long.

// The first hour of a site is next to nothing on the chart of a day.
function isYoung({ t, queue, cores, step_seconds: step }) {
  const first = [queue.idle, cores.paid].map((values) => values.findIndex((one) => one !== null)).filter((at) => at >= 0);
  return first.length > 0 && (t.length - Math.min(...first)) * step <= 3600;
}

function markRange() {
  for (const input of document.querySelectorAll('input[name=range]')) input.checked = input.value === range;
}

async function loadSeries() {
  const wanted = range;
  if (once) seriesOf[wanted] = once.series?.[wanted];
  else {
    try {
      seriesOf[wanted] = await (await ask(`api/series?range=${wanted}`)).json();
    } catch (error) {
      lacking = true;
      if (wanted !== range) return;
      say($('charts-say'), `The history could not be read: ${error.message}`);
      show($('charts-say'), true);
      return;
    }
  }
  if (wanted !== range) return;
  const unread = (seriesOf[wanted]?.unread ?? []).map(({ file, why }) => `${file}: ${why}`);
  show($('charts-say'), !seriesOf[wanted] || unread.length > 0);
  if (!seriesOf[wanted]) say($('charts-say'), 'The history of this time was not written.');
  else if (unread.length > 0) say($('charts-say'), `Not in the charts: ${unread.join(', ')}`);
  if (!chosen && seriesOf[wanted]) {
    chosen = true;
    if (isYoung(seriesOf[wanted])) {
      range = '1h';
      markRange();
      await loadSeries();
      return;
    }
  }
  $('plots').removeAttribute('aria-busy');
  drawHistory();
}

function readHash() {
  const wanted = new URLSearchParams(location.hash.slice(1)).get('range');
  range = RANGES[wanted] ? wanted : '24h';
  if (RANGES[wanted]) chosen = true;
  markRange();
}

function wireRanges() {
  readHash();
  $('ranges').addEventListener('change', (event) => {
    range = event.target.value;
    chosen = true;
    cursor = null;
    history.replaceState(null, '', `#range=${range}`);
    if (seriesOf[range]) drawHistory();
    $('plots').setAttribute('aria-busy', 'true');
    loadSeries();
  });
  addEventListener('hashchange', () => {
    const before = range;
    readHash();
    if (range !== before) loadSeries();
  });
}

// ---------------------------------------------------------------- who uses it

const OTHERS = '(others)';
const UNUSED = 'not used';

// The parts of a day, from the bottom: its owners, and paid cores that nobody used.
function partsOf(day, owners) {
  const parts = [...owners, OTHERS].map((name) => [name, Object.hasOwn(day.owners, name) ? day.owners[name] : 0]);
  const used = parts.reduce((sum, [, n]) => sum + n, 0);
  return [...parts, [UNUSED, Math.max(0, (day.paid_core_hours ?? 0) - used)]];
}

function drawCosts({ month, days, owners, unread }) {
  const parts = days.map((day) => partsOf(day, owners));
  const sums = new Map();
  for (const day of parts) for (const [name, n] of day) sums.set(name, (sums.get(name) ?? 0) + n);
  const used = [...sums].reduce((sum, [name, n]) => (name === UNUSED ? sum : sum + n), 0);
  show($('costs'), used > 0);
  if (!used) return;
  say($('costs-month'), month);
  const priced = days.some(({ cost }) => cost != null);
  const cost = days.reduce((sum, day) => sum + (day.cost ?? 0), 0);
  const all = used + (sums.get(UNUSED) ?? 0);
  const without = (unread ?? []).map(({ file }) => file);
  say($('costs-say'), `${hours(all)} core-hours paid for, ${hours(used)} of them used${priced ? `; cost ${money(cost)}` : ''}. Days are those of UTC.${
    without.length ? ` Not shown: ${without.join(', ')}.` : ''} Exact sums: ehos cost.`);
  const names = [...sums].filter(([, n]) => n > 0).map(([name]) => name);
  const tone = (name) => (name === UNUSED ? 'unused' : name === OTHERS ? 'rest' : `o${owners.indexOf(name)}`);
  // Each pays its part of what is used, and of what is not.
  const share = (name) => (name === UNUSED ? null : sums.get(name) / used);
  keyed($('cost-key'), names.map((name) => [name, `${hours(sums.get(name))} core-hours${priced && share(name) !== null ? `, ${money(cost * share(name))}` : ''}`, tone(name)]));
  const most = Math.max(...parts.map((day) => day.reduce((sum, [, n]) => sum + n, 0)), 1e-9);
  list($('cost-days'), days.map((day, i) => ({ day, parts: parts[i] })), ({ day }) => day.day,
    ({ day }) => make('div', { class: 'day' }, make('div', { class: 'column' }), make('span', { class: 'label' }, String(Number(day.day.slice(8))))),
    (item, { day, parts: its }) => {
      mark(item, 'title', `${day.day}${day.cost != null ? `, cost ${money(day.cost)}` : ''}\n${its.filter(([, n]) => n > 0).map(([name, n]) => `${name}: ${hours(n)} core-hours`).join('\n')}`);
      list(item.firstChild, its.filter(([, n]) => n > 0).reverse(), ([name]) => name,
        ([name]) => make('span', { class: tone(name) }),
        (bit, [name, n]) => {
          bit.className = tone(name);
          bit.style.height = `${((100 * n) / most).toFixed(2)}%`;
        });
    });
  const row = (name, cells) => make('tr', {}, make('th', { scope: 'row' }, name), ...cells.map((text) => make('td', { class: 'number' }, text)));
  const head = make('tr', {}, make('th', { scope: 'col' }, 'Day'), ...[...names, ...(priced ? ['cost'] : [])].map((name) => make('th', { scope: 'col', class: 'number' }, name)));
  $('cost-table').tHead.replaceChildren(head);
  $('cost-table').tBodies[0].replaceChildren(...days.map((day, i) => {
    const its = new Map(parts[i]);
    return row(day.day, [...names.map((name) => hours(its.get(name) ?? 0)), ...(priced ? [money(day.cost)] : [])]);
  }));
}

async function loadCosts() {
  try {
    const costs = once ? once.costs : await (await ask('api/costs')).json();
    if (costs) draw(() => drawCosts(costs));
  } catch (error) {
    // An older server has none.
    show($('costs'), false);
  }
}

// ---------------------------------------------------------------- decisions

let rows = []; // The newest first.
let older = false; // There are more than were asked for.
let sought = null; // What is older was not looked for.
let visible = 15;

function whatOf({ decision: name, previous_phase: before, phase }) {
  if (name !== 'keep') return decision(name).words;
  return before && before !== phase ? `${before} → ${phase}` : phase;
}

function resultOf({ result, message }) {
  const word = view.results.find((one) => one.result === result)?.words ?? result ?? '';
  return message ? `${word}: ${message}` : word;
}

const keyOf = (one) => `${one.at} ${one.node} ${one.decision} ${one.phase}`;

function drawDecisions() {
  const cell = (label, more = '') => make('td', { role: 'cell', 'data-label': label, class: more });
  list($('decision-rows').tBodies[0], rows.slice(0, visible), keyOf,
    (one) => {
      const open = make('button', { type: 'button', class: 'link', 'aria-haspopup': 'dialog', title: one.name, 'aria-label': one.name, on: { click: () => openNode(one.node, one.name) } }, shortName(one));
      const row = make('tr', { role: 'row', 'data-decision': one.decision }, cell('When', 'when'), cell('What', 'what'), cell('Node', 'node'), cell('Why', 'why'), cell('Result', 'result'));
      row.cells[0].append(make('time', { datetime: one.at }));
      row.cells[1].append(shape(decision(one.decision).family ?? family(one.phase)), make('span', {}, whatOf(one)));
      row.cells[2].append(open, make('span', { class: 'place' }, `${one.cloud} · ${one.flavor}`));
      row.cells[3].textContent = one.text ?? '';
      row.cells[4].textContent = resultOf(one) || '–';
      if (one.result === 'failed') row.cells[4].setAttribute('data-bad', '');
      return row;
    },
    (row, one) => {
      say(row.cells[0].firstChild, moment(one.at));
    });
  show($('decision-rows'), rows.length > 0);
  show($('older'), rows.length > visible || (older && !once));
  if (!rows.length) say($('decisions-say'), older && sought ? `Nothing was decided since ${wholeDate.format(new Date(sought))}.` : 'Nothing was decided yet.');
  show($('decisions-say'), !rows.length);
}

async function askDecisions(before) {
  if (once) return once.decisions ?? { decisions: [], more: false };
  return (await ask(`api/decisions?limit=50${before ? `&before=${encodeURIComponent(before)}` : ''}`)).json();
}

async function loadDecisions(before) {
  try {
    let answer = await askDecisions(before);
    // A month in which nothing was decided is no end; each answer goes back by one.
    for (let months = 0; before && !answer.decisions.length && answer.more && answer.since && months < 12; months += 1) {
      answer = await askDecisions(answer.since);
    }
    const { decisions, more, since } = answer;
    if (before || !rows.length) sought = since;
    if (before) {
      rows = [...rows, ...decisions];
      older = more;
    } else {
      // What was loaded of older times stays, if it joins on.
      const last = decisions.at(-1)?.at ?? '';
      const keys = new Set(decisions.map(keyOf));
      const joins = rows.some((one) => keys.has(keyOf(one)));
      const rest = joins ? rows.filter((one) => one.at < last) : [];
      if (!rest.length) older = more;
      rows = [...decisions, ...rest];
    }
    drawDecisions();
  } catch (error) {
    lacking = true;
    say($('decisions-say'), `The decisions could not be read: ${error.message}`);
    show($('decisions-say'), true);
  }
}

function wireDecisions() {
  $('older').addEventListener('click', async () => {
    const from = Math.min(visible, rows.length);
    visible += 35;
    if (rows.length < visible && older && !once) {
      $('older').setAttribute('aria-busy', 'true');
      await loadDecisions(rows.at(-1)?.at ?? sought);
      $('older').removeAttribute('aria-busy');
    } else drawDecisions();
    $('decision-rows').tBodies[0].rows[from]?.querySelector('button')?.focus();
  });
}

// ---------------------------------------------------------------- last tick

function plainList(id, items, until) {
  show($(id), items.length > 0);
  show($(`${id}-heading`), items.length > 0);
  list($(id), items, ([text]) => text, () => make('li', {}, make('span'), ...(until ? [' ', make('span', { class: 'left' })] : [])),
    (item, [text, end]) => {
      say(item.firstChild, text);
      if (until) mark(item.lastChild, 'data-until', end);
    });
}

function drawTick() {
  pairs($('tick-figures'), [
    ['At', wholeDate.format(new Date(status.at))],
    ['Took', milliseconds(status.milliseconds)],
    ['Exit code', status.exit],
    ['Did', view.actions.join(', ') || 'nothing'],
    ['Simulation', status.simulated ? status.notices.join('; ') : null],
    ['Window', status.window?.text ?? 'none of schedules holds'],
  ]);
  const sources = Object.entries(status.source_milliseconds).sort(([, a], [, b]) => b - a);
  const longest = Math.max(1, ...sources.map(([, ms]) => ms));
  list($('sources'), sources, ([name]) => name,
    () => make('li', {}, make('span', { class: 'name' }), make('span', { class: 'use', 'aria-hidden': 'true' }, make('span')), make('span', { class: 'value' })),
    (item, [name, ms]) => {
      say(item.children[0], name + (view.unknown_sources.includes(name) ? ' (not seen)' : ''));
      bar(item.children[1].firstChild, ms / longest);
      say(item.children[2], milliseconds(ms));
    });
  plainList('limits', view.limits.map(({ name, jobs, text }) => [`${name}: ${many(jobs, 'job')}, such as: ${text}`]));
  const end = (seconds) => Date.parse(status.at) + seconds * 1000;
  plainList('backoffs', [
    ...status.backoffs.map((one) => [`${one.flavor} in ${one.cloud}, after ${many(one.failures, 'failure')} (${one.last_failure}):`, end(one.seconds)]),
    ...status.clouds.filter(({ pause }) => pause).map(({ cloud, pause }) => [`all of ${cloud} (${pause.cause}):`, end(pause.seconds)]),
  ], true);
  plainList('others', [
    ...status.builders.map((one) => [`builder ${one.name ?? ''} in ${one.cloud ?? ''}: ${one.text}`]),
    ...status.leftovers.map((one) => [`${String(one.kind ?? 'leftover').replace('_', ' ')} ${one.name ?? one.id ?? ''} in ${one.cloud ?? ''}: ${one.text}`]),
    ...status.floating_ips.map((one) => [`floating IP ${one.address ?? ''} in ${one.cloud ?? ''}: ${one.text}`]),
  ]);
}

// ---------------------------------------------------------------- all of it

const LISTS = ['nodes', 'clouds', 'job_groups', 'actions', 'unknown_sources', 'brakes', 'protected', 'budgets_spent', 'notices', 'backoffs', 'builders', 'leftovers', 'floating_ips'];

// What is of another version of ehos, or a fault of this page, must not stop it.
let broken = false;
function draw(part = drawAll) {
  if (broken && part !== drawAll) return;
  try {
    part();
    broken = false;
  } catch (error) {
    broken = true;
    console.error(error);
    mark($('wrong'), 'data-worst', 'error');
    say($('verdict'), `The last tick cannot be shown (${error.message}): it may be of another version of ehos. Restart ehos frontend and load this page again.`);
  }
}

function drawAll() {
  if (status) for (const name of LISTS) status[name] ??= [];
  show($('empty'), !status && contact.ok);
  show($('pool'), Boolean(status));
  drawHeading();
  drawTroubles();
  if (!status) return;
  drawQueue();
  drawFigures();
  drawNodes();
  drawTick();
  say($('program'), `ehos ${status.program}`);
  if (opened && $('node').open) {
    const node = status.nodes.find((one) => one.node === opened.id);
    if (node) drawNode(node, opened.name);
  }
}

async function ask(address, headers = {}) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(20000), cache: 'no-store', headers });
  if (answer.ok || answer.status === 304) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(error ?? `HTTP ${answer.status}`), { answers: true });
}

const POLL = 5000;
const POLL_HIDDEN = 60000;
const PATIENCE_MOST = 60000;
let etag = null;
let failures = 0;
let timer = null;
let polling = false;
let loaded = 0; // When the history was.
let lacking = false; // Something could not be read: it is asked for again.

async function poll() {
  clearTimeout(timer);
  if (polling) return;
  polling = true;
  let fresh = false;
  try {
    const answer = await ask('api/page', etag ? { 'If-None-Match': etag } : {});
    const date = Date.parse(answer.headers.get('Date') ?? '');
    // The header has whole seconds.
    if (date && Math.abs(date - Date.now() - offset) > 1500) offset = Math.abs(date - Date.now()) > 1500 ? date - Date.now() : 0;
    if (answer.status !== 304) {
      const next = await answer.json();
      etag = answer.headers.get('ETag');
      fresh = next.tick?.at !== status?.at || !contact.ok;
      ({ tick: status, view } = next);
    }
    failures = 0;
    const back = !contact.ok;
    contact = { ok: true, error: '', since: Date.now(), next: null };
    draw(answer.status !== 304 || back ? drawAll : drawTroubles);
  } catch (error) {
    failures += 1;
    const why = error.name === 'TimeoutError' ? 'it does not answer in time' : error instanceof TypeError ? 'no connection' : error.message;
    const what = error.answers ? 'has nothing new' : 'is not reachable';
    contact = { ok: false, answers: Boolean(error.answers), error: `The server of this page ${what}: ${why}.`, since: contact.since ?? Date.now(), next: null };
    draw();
  }
  polling = false;
  const wait = failures ? Math.min(PATIENCE_MOST, POLL * 2 ** (failures - 1)) : document.hidden ? POLL_HIDDEN : POLL;
  if (failures) contact.next = Date.now() + wait;
  timer = setTimeout(poll, wait);
  drawClock();
  // Without ticks time goes on, too.
  if (Date.now() - loaded > 60000 && !failures && !document.hidden) fresh = true;
  if ((fresh || (lacking && !failures)) && status) {
    lacking = false;
    loaded = Date.now();
    await Promise.all([loadSeries(), loadCosts(), loadDecisions(), opened ? askNode() : null]);
  }
}

function start() {
  wireTheme();
  wireNodes();
  wireDialog();
  wireRanges();
  wireDecisions();
  say($('zone'), `Times are those of ${zone}.`);
  if (once) {
    ({ tick: status, view } = once.page);
    draw();
    loadSeries();
    loadCosts();
    loadDecisions();
    return;
  }
  setInterval(drawClock, 1000);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
  addEventListener('online', poll);
  poll();
}

start();
