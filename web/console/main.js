// The operator's page: asks its node once a second and shows the answers.
import { act, ask } from './asking.js';
import { get, post, query, token } from './api.js';
import { Tile, colour, drawRing } from './charts.js';
import { $, Rows, cells, count, h, ms, rate, say, time } from './dom.js';
import { know, open } from './room.js';

const EVERY = 1000;
const BY = 'count, sum(members), sum(connected), sum(inputs), p99(lateness), max(unsaved)';

const tiles = {
  hosts: new Tile('hosts', 'hosts', count), rooms: new Tile('rooms', 'rooms', count), members: new Tile('members', 'members connected', count),
  inputs: new Tile('inputs', 'inputs a second', rate), late: new Tile('late', 'tick lateness, worst p99', ms), unsaved: new Tile('unsaved', 'oldest unsaved change', time),
};

/** Rates from counters that only grow, and start again with their process. */
class Rates {
  #last = new Map();
  of(key, total, now) {
    const was = this.#last.get(key);
    this.#last.set(key, { total, now });
    return was && now > was.now && total >= was.total ? 1000 * (total - was.total) / (now - was.now) : null;
  }
}
const rates = new Rates();

const blank = (n, num = []) => h('tr', {}, ...Array.from({ length: n }, (_, i) => h('td', { class: num.includes(i) ? 'num' : '' })));

function hostRow(x) {
  const row = blank(8, [1, 2, 3, 4, 5, 6]);
  const button = (text, path, name, told) => h('button', { type: 'button', 'data-do': name, on: { click: () => order(x.name, text, path, told) } }, text);
  row.cells[0].append(h('span', { class: 'dot', 'data-dot': true }), h('span', {}, x.name), h('span', { class: 'state' }),
    h('div', { class: 'drain', hidden: true }, h('progress', { max: 1, value: 0 }), h('span', {})));
  row.querySelector('.dot').style.background = colour(x.name);
  if (x.part) {
    row.className = 'part';
    row.title = `a process of ${x.host} for rooms of kind ${x.part}: it drains and restarts with its host`;
    row.cells[0].children[1].textContent = x.part;
  }
  row.cells[7].className = 'actions';
  row.cells[7].append(button('Drain', '/v1/drain', 'drain', 'drains'), button('Cancel drain', '/v1/drain/cancel', 'cancel', 'serves again'), button('Restart', '/v1/restart', 'restart', 'restarts'));
  return row;
}

async function order(host, what, path, told) {
  const text = { Drain: 'It takes no new rooms, and its rooms move to others, live.', 'Cancel drain': 'It takes rooms again.', Restart: 'Its rooms stand still for a moment; nobody is disconnected.' }[what];
  if (await ask({ title: `${what}: ${host}?`, text, ok: what }) !== null && await act(`${host} ${told}`, () => post(path, { host }))) refresh();
}

function showHost(row, x) {
  const [state, kind] = x.missing ? ['no answer', 'bad'] : x.draining ? [x.drain?.state === 'drained' ? 'drained' : 'drains', 'warn'] : ['', ''];
  const label = row.querySelector('.state');
  say(label, state);
  label.className = `state ${kind}`;
  label.title = x.missing ?? '';
  [count(x.rooms), count(x.members), rate(x.rate), ms(x.late), time(x.unsaved), x.cpu == null ? '–' : `${x.cpu} %`].forEach((t, i) => say(row.cells[i + 1], t));
  const d = x.draining && x.drain?.total > 0 ? x.drain : null, box = row.querySelector('.drain');
  box.hidden = !d;
  if (d) {
    box.querySelector('progress').value = (d.total - d.left) / d.total;
    say(box.querySelector('span'), `${d.left} of ${d.total} rooms left, ${rate(d.rate)}/s${d.eta >= 0 && d.left ? `, ${time(d.eta)} to go` : ''}`
      + (d.waits ? `; ${d.waits}` : d.blockers?.length ? `; waits for ${d.blockers[0].room}: ${d.blockers[0].error}` : ''));
  }
  const show = x.part ? {} : { drain: !x.draining && x.can.includes('drain'), cancel: x.draining, restart: !x.draining && x.can.includes('restart') };
  for (const b of row.querySelectorAll('[data-do]')) b.hidden = !show[b.dataset.do];
}

const hostRows = new Rows($('hosts').tBodies[0], hostRow, showHost);
const gatewayRows = new Rows($('gateways').tBodies[0], () => blank(5, [1, 2]), (row, g) => cells(row, g.name, g.report ? count(g.report.connections) : 'no answer', `${g.cpu} %`, g.report ? time(g.report.up_ms / 1000) : '–', g.build));
const kindRows = new Rows($('kinds').tBodies[0], () => blank(6, [1, 2, 3, 4, 5]), (row, k) => cells(row, k.kind, count(k.count), count(k['sum(members)']), rate(k.rate), ms(k['p99(lateness)']), time(k['max(unsaved)'])));
const roomRows = new Rows($('rooms').tBodies[0], (r) => {
  const row = blank(6, [2, 3, 4, 5]);
  row.tabIndex = 0;
  row.addEventListener('click', () => open(r.room));
  row.addEventListener('keydown', (e) => { if (e.key === 'Enter') open(r.room); });
  return row;
}, (row, r) => cells(row, r.room, r.host, `${count(r.members)}`, ms(r.lateness), time(r.unsaved), time(r.age)));

const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** Puts together what gossip, nodes and rooms say of each host. The processes of
 * a host's isolated kinds, HOST~KIND, follow it. */
function hostsOf(fleet, answer, now) {
  const missing = new Map(answer.hosts.missing.map((m) => [m.host.split('#')[0], m.why]));
  return fleet.nodes.filter((n) => n.role === 'host').map((n) => {
    const q = answer.rows.find((r) => r.host === n.name), gone = missing.get(n.name) ?? n.error;
    const [host, part] = n.name.split('~');
    return { name: n.name, host, part, cpu: n.cpu, draining: n.draining || n.drain?.state === 'draining', drain: n.drain, missing: gone, can: fleet.actions,
      rooms: q?.count ?? (gone ? n.rooms : 0), members: q?.['sum(members)'] ?? (gone ? n.members : 0), late: q?.['p99(lateness)'], unsaved: q?.['max(unsaved)'],
      connected: q?.['sum(connected)'] ?? 0, rate: q ? rates.of(`host ${n.node}`, q['sum(inputs)'], now) : null };
  }).sort((a, b) => byText(a.host, b.host) || byText(a.part ?? '', b.part ?? ''));
}

const sum = (list, key) => list.reduce((n, x) => n + (x[key] ?? 0), 0);
const top = (list, key) => list.reduce((n, x) => Math.max(n, x[key] ?? 0), 0);

async function refresh() {
  const [fleet, answer, kinds] = await Promise.all([get('/v1/fleet'), query(`${BY} by host limit 1000`), query(`${BY} by kind`)]);
  const now = performance.now(), hosts = hostsOf(fleet, answer, now);
  for (const k of kinds.rows) k.rate = rates.of(`kind ${k.kind}`, k['sum(inputs)'], now);
  hostRows.show(hosts, (x) => x.name);
  gatewayRows.show(fleet.nodes.filter((n) => n.role === 'gateway'), (n) => n.name);
  kindRows.show(kinds.rows, (k) => k.kind);
  drawRing(fleet, hosts, sum(hosts, 'rooms'));
  const known = hosts.filter((x) => x.rate != null);
  for (const [name, v] of Object.entries({ hosts: hosts.filter((x) => !x.part).length, rooms: sum(hosts, 'rooms'), members: sum(hosts, 'connected'),
    inputs: known.length ? sum(known, 'rate') : null, late: top(hosts, 'late'), unsaved: top(hosts, 'unsaved') })) tiles[name].add(v);
  know(hosts.filter((x) => !x.missing && !x.draining).map((x) => x.name), fleet.actions);
  const c = answer.hosts, whole = c.answered === c.asked && fleet.answered === fleet.asked;
  say($('health'), `${fleet.answered} of ${fleet.asked} nodes answer; rooms of ${c.answered} of ${c.asked} hosts, ${(100 * c.share).toFixed(c.share < 1 ? 1 : 0)} %`);
  document.body.dataset.state = whole ? 'live' : 'partial';
}

async function search() {
  const part = $('search').value.replace(/[^\w.~/-]/g, '');
  const where = part ? ` where room ~ '*${part}*'` : '';
  const a = await query(`room, host, members, lateness, unsaved, age${where} order by members desc limit 50`);
  roomRows.show(a.rows, (r) => r.room);
  say($('found'), a.matched > a.rows.length ? `the ${a.rows.length} with most members of ${count(a.matched)}` : a.matched === 1 ? '1 room' : `${a.matched} rooms`);
}

async function askToken() {
  const t = await ask({ title: 'Token', text: 'The operations listener asks for one: a line of its --ops-token-file. It stays in this tab.', label: 'token', secret: true, ok: 'Use it' });
  if (t !== null) { token.set(t.trim()); turn(); }
}
$('token').addEventListener('click', askToken);

let wait, asked = false;
async function turn() {
  clearTimeout(wait);
  try {
    await Promise.all([refresh(), search()]);
    asked = false;
  } catch (err) {
    document.body.dataset.state = 'lost';
    say($('health'), err.message);
    if (err.status === 401 && !asked && !$('ask').open) { asked = true; askToken(); }
  }
  clearTimeout(wait);
  wait = setTimeout(turn, document.hidden ? 5 * EVERY : EVERY);
}

let typing;
$('search').addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(() => search().catch(() => {}), 150); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) turn(); });
turn();
