// One room: where it is, its members and numbers, and where it was.
import { act, ask } from './asking.js';
import { get, post } from './api.js';
import { $, count, h, ms, time } from './dom.js';

let shown = '';
let hosts = [];
let can = [];

/** What the fleet can do, and where rooms can go. */
export function know(names, actions) { hosts = names; can = actions; }

export function open(room) {
  shown = room;
  $('room-name').textContent = room;
  $('room-body').replaceChildren(h('p', { class: 'soft' }, 'asking…'));
  $('room').showModal();
  refresh();
}

$('room').addEventListener('close', () => { shown = ''; });
setInterval(() => { if (shown && !$('ask').open) refresh(); }, 2000);

async function refresh() {
  const room = shown;
  let body;
  try {
    body = draw(await get(`/v1/room?room=${encodeURIComponent(room)}`));
  } catch (err) {
    body = [h('p', { class: 'soft' }, err.message)];
  }
  if (shown === room && !$('ask').open) $('room-body').replaceChildren(...body);
}

const fact = (name, value) => h('div', { class: 'fact' }, name, h('b', {}, String(value)));
const table = (heads, rows) => h('div', { class: 'scroll' }, h('table', {},
  h('thead', {}, h('tr', {}, ...heads.map((t) => h('th', {}, t)))),
  h('tbody', {}, ...rows.map((r) => h('tr', {}, ...r.map((c) => h('td', {}, c)))))));

function draw({ room: r, tenures, hosts: asked }) {
  const parts = r ? [...live(r)] : [h('p', { class: 'soft' }, 'The room lives on no host now. It starts again when somebody joins, unless it is closed.')];
  parts.push(h('h3', {}, 'Owners'), table(['host', 'epoch', 'from', 'how', 'until', 'why'], tenures.map((t) => [
    t.host, String(t.epoch), new Date(t.began).toLocaleTimeString(), t.age ? `${t.how}, ${time(t.age)} old` : t.how,
    t.ended ? new Date(t.ended).toLocaleTimeString() : 'now', t.why ?? ''])));
  if (asked.answered < asked.asked) parts.push(h('p', { class: 'soft small' }, `${asked.answered} of ${asked.asked} hosts answered`));
  return parts;
}

function* live(r) {
  yield h('div', { class: 'facts' },
    fact('host', r.host.split('#')[0]), fact('epoch', r.epoch), fact('incarnation', r.incarnation),
    fact('members', `${r.members} of ${r.max}`), fact('connected', r.connected), fact('takes members', r.open ? 'yes' : 'no'),
    fact('this copy is', `${time(r.age)} old`), fact('unsaved for', time(r.unsaved)), fact('checkpoints', count(r.saves)),
    fact('inputs', count(r.inputs)), fact('ticks', `${count(r.ticks)}, ${count(r.skipped)} left out`), fact('late', ms(r.lateness_ms)),
    ...Object.entries(r.numbers ?? {}).map(([k, v]) => fact(k, count(v))), ...Object.entries(r.labels ?? {}).map(([k, v]) => fact(k, v)));
  yield h('div', { class: 'buttons' }, button('Move', can.includes('move'), () => move(r)), button('Close room', can.includes('close'), () => close(r), 'bad'));
  yield h('h3', {}, r.roll.length < r.members ? `Members, the first ${r.roll.length} of ${r.members}` : 'Members');
  yield table(['member', 'user', 'applied', 'durable', 'connection', ''], r.roll.map((m) => [
    String(m.id), m.user || '–', count(m.applied), count(m.durable), m.connected ? 'stands' : `lost ${time(m.away)} ago`,
    button('Kick', can.includes('kick'), () => kick(r, m), 'bad')]));
}

const button = (text, there, click, cls = '') => h('button', { type: 'button', class: cls, hidden: !there, on: { click } }, text);

async function move(r) {
  const others = hosts.filter((n) => n !== r.host.split('#')[0]);
  const to = await ask({ title: `Move ${r.room}`, text: `Members see a short pause. Hosts: ${others.join(', ')}`, label: 'to host', value: others[0] ?? '', ok: 'Move' });
  if (to && await act(`${r.room} moved to ${to}`, () => post('/v1/move', { room: r.room, to }))) refresh();
}

async function close(r) {
  const reason = await ask({ title: `Close ${r.room} for good?`, text: `Its ${r.members} members are told, and its state is gone.`, label: 'reason, for the players', value: 'closed by the operators', ok: 'Close it', bad: true });
  if (reason !== null && await act(`${r.room} is closed`, () => post('/v1/close', { room: r.room, reason }))) refresh();
}

async function kick(r, m) {
  const reason = await ask({ title: `Kick ${m.user || `member ${m.id}`}?`, text: `Out of ${r.room}, for good.`, label: 'reason, for the player', value: 'removed by the operators', ok: 'Kick', bad: true });
  if (reason !== null && await act(`${m.user || m.id} is out`, () => post('/v1/kick', { room: r.room, member: m.id, reason }))) refresh();
}
