import { nameOf } from './dev.js';
import { el } from './lobby.js';

const $ = (id) => document.getElementById(id);
const KEPT = 60;

/** The session at work: where it is, how far it is, and what broke. */
export class Panel {
  constructor(client) {
    this.client = client;
    this.events = []; // {at, kind, text, tone}, newest last
    this.room = null;
    $('session').open = matchMedia('(min-width: 900px) and (min-height: 640px)').matches;
  }

  watch(room, onEvent) {
    this.room = room;
    const say = (kind, text, tone, more = '') => { this.log(kind, text + more, tone); onEvent?.(kind, text, tone); };
    room.on('dropped', ({ why }) => say('dropped', `connection lost: ${why}`, 'bad'));
    room.on('resumed', ({ ms, gateway }) => say('resumed', `back after ${ms} ms at ${nameOf(gateway)}`, 'good'));
    room.on('waiting', ({ forMs }) => { if (this.waiting !== room.epoch) { this.waiting = room.epoch; this.brokeAt = performance.now() - forMs; say('waiting', 'the room is being restored', 'bad'); } });
    room.on('moved', ({ host, epoch }) => {
      const took = this.brokeAt ? ` in ${Math.round(performance.now() - this.brokeAt)} ms` : '';
      this.brokeAt = null;
      say('moved', `room now on ${nameOf(host)}${took}`, 'good', `, epoch ${epoch}`);
    });
    room.on('rewound', ({ applied }) => say('rewound', `restored: inputs after ${applied} go again`, ''));
    room.on('gap', () => say('gap', 'messages were missed: full state follows', ''));
    room.on('skipped', ({ from, to }) => say('skipped', `inputs ${from} to ${to} were given up`, 'bad'));
    room.on('failed', ({ n, text }) => say('failed', `input ${n} failed: ${text}`, 'bad'));
    room.on('store', ({ running }) => say('store', running ? 'saves run again' : 'the store is away: saves pause', running ? 'good' : 'bad'));
    room.on('left', ({ reason, text }) => say('left', text || reason, 'bad'));
  }

  log(kind, text, tone = '') {
    this.events.push({ at: Date.now(), kind, text, tone });
    if (this.events.length > KEPT) this.events.shift();
    const li = el('li');
    li.dataset.tone = tone;
    li.append(el('time', new Date().toTimeString().slice(0, 8)), el('span', text));
    $('log').prepend(li);
    while ($('log').children.length > KEPT) $('log').lastChild.remove();
  }

  /** Gets out of the way of what lies under it. */
  shy(place) {
    const box = $('session').getBoundingClientRect();
    const under = place && place.x > box.left - 20 && place.x < box.right + 20 && place.y > box.top - 20 && place.y < box.bottom + 20;
    $('session').classList.toggle('shy', Boolean(under));
  }

  update() {
    const { client, room } = this;
    if (!room) return;
    const state = room.state === 'joined' ? 'joined' : client.state === 'waiting' ? 'waiting' : 'dropped';
    const rtt = client.rtt === null ? '–' : `${client.rtt.toFixed(client.rtt < 10 ? 1 : 0)} ms`;
    $('dot').dataset.state = state;
    $('session-line').textContent = state === 'joined' ? `${rtt} · ${nameOf(room.host)}` : 'reconnecting …';
    if (!$('session').open) return;
    this.#facts([['state', room.state], ['round trip', rtt], ['gateway', client.gateway], ['room host', room.host], ['epoch', room.epoch],
      ['sequence', room.seq], ['inputs sent', room.nextInput - 1], ['applied', room.applied],
      ['durable', room.storeRunning ? room.durable : `${room.durable} (paused)`], ['member', room.member]]);
  }

  #facts(rows) {
    const dl = $('facts');
    if (dl.children.length !== rows.length * 2) dl.replaceChildren(...rows.flatMap(([k]) => [el('dt', k), el('dd')]));
    rows.forEach(([, v], i) => {
      const dd = dl.children[i * 2 + 1], text = String(v);
      if (dd.textContent !== text) dd.textContent = dd.title = text;
    });
  }
}
