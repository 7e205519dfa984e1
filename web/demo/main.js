import { connect } from './client/limpet.js';
import { Controls } from './controls.js';
import { Dev, nameOf } from './dev.js';
import { Hud } from './hud.js';
import { Lobby, poolFromHash } from './lobby.js';
import { Model } from './model.js';
import { Panel } from './panel.js';
import { decodeSnapshot } from './snapshot.js';
import { STEP_MS, SYNC } from './step.js';
import { View } from './view.js';

const $ = (id) => document.getElementById(id);
const KIND = 'arena';
const ANSWER_MS = 1_500; // for full state, before asking again
const TRIES = 4; // joins that are refused for now

const client = connect(gatewayURLs());
const model = new Model();
const view = new View($('pool'), model);
const hud = new Hud(model);
const panel = new Panel(client);
const ownPlace = () => (model.me?.seen ? view.screen(model.me.x, model.me.y) : null);
const controls = new Controls($('pool'), { ownPlace });
const lobby = new Lobby({ watch: (options, show, failed) => client.watch(KIND, options, show, failed), enter });
const dev = new Dev({ client, host: () => room?.host ?? '', said: (text) => panel.log('break', text) });
let room = null;

/** The page's own server, or those in ?gateway=ws://... (it may repeat). */
function gatewayURLs() {
  const given = new URLSearchParams(location.search).getAll('gateway');
  return given.length > 0 ? given : [`${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/`];
}

async function enter(pool, mode, filter) {
  lobby.busy(true);
  try {
    play(await joined(pool, mode, filter));
  } catch (err) {
    lobby.show(err.reason === 'room_full' ? `${pool || 'Every pool'} is full.` : `Could not join ${pool || 'a pool'}: ${err.message}`);
  } finally { lobby.busy(false); }
}

// A cluster that is just starting, or busy, says "later": try a few times.
async function joined(pool, mode, filter) {
  for (let tries = 1; ; tries++) {
    try {
      return await client.join(KIND, pool, { mode, filter, data: lobby.profile, persist: true });
    } catch (err) {
      if (!err.retryable || err.reason === 'room_full' || tries === TRIES) throw err;
      await new Promise((resolve) => { setTimeout(resolve, Math.max(err.retryMs, 300) * (0.5 + Math.random())); });
    }
  }
}

function play(joinedRoom) {
  room = joinedRoom;
  model.reset();
  history.replaceState(null, '', `#${room.name}`);
  $('room-name').textContent = room.name;
  document.title = `${room.name} · Limpet`;
  lobby.hide();
  listen(room);
  panel.log('joined', `joined ${room.id} on ${nameOf(room.host)}`, 'good');
  panel.watch(room, tell);
}

function listen(r) {
  r.on('message', (m) => happened(m.json));
  r.on('latest', (m) => { const s = decodeSnapshot(m.bytes); if (s) model.snapshot(s, performance.now()); });
  r.on('ack', ({ durable }) => model.settle(durable));
  r.on('moved', () => model.forget());
  r.on('left', ({ reason, text }) => left(r, reason, text));
}

// One reliable message of the room (games/arena/events.go).
function happened(e) {
  switch (e.t) {
    case 'full': model.full(e); break;
    case 'join': model.joined(e); hud.toast(`${e.name} is here`); break;
    case 'leave': model.leave(e); break;
    case 'shells': for (const s of model.tookShells(e)) gathered(s); break;
    case 'ram': rammed(e); break;
  }
}

function gathered(s) {
  const mine = s.slot === model.slot;
  view.splash({ kind: 'bubble', x: s.x, y: s.y, r: s.pearl ? 20 : 9 });
  if (mine || s.pearl) view.splash({ kind: 'text', x: s.x, y: s.y, text: s.pearl ? '+5' : '+1', life: 900, color: s.pearl ? '#dff0ff' : undefined });
}

function rammed(e) {
  const on = model.players.get(e.on), by = model.players.get(e.by);
  if (!on) return;
  view.splash({ kind: 'ring', x: on.x, y: on.y });
  if (e.on === model.slot && e.lost > 0) hud.toast(`${by?.name ?? 'Somebody'} knocked ${e.lost} off you`, 'bad');
  if (e.by === model.slot) hud.toast(e.lost > 0 ? `${e.lost} knocked loose` : `${on.name} holds on`);
}

function tell(kind, text, tone) {
  if (['dropped', 'resumed', 'waiting', 'moved', 'store'].includes(kind)) hud.toast(text, tone);
}

function left(r, reason, text) {
  if (r !== room) return;
  room = null;
  model.reset();
  document.title = 'Limpet · the tide pool';
  const why = { left: '', replaced: 'You are playing in another window.', room_closed: 'The pool was closed.', kicked: 'You were taken out of the pool.',
    grace_over: 'You were away for too long.', ended: 'That pool is over.' }[reason];
  lobby.show(why ?? `${reason} ${text}`);
}

$('out').addEventListener('click', () => { room?.leave(); });
$('dash').addEventListener('pointerdown', (e) => { e.preventDefault(); controls.dash(); });
$('dash').addEventListener('click', (e) => { if (e.detail === 0) controls.dash(); }); // by key
$('invite').addEventListener('click', async () => {
  const link = new URL(`#${room.name}`, location.href).href;
  try { await navigator.clipboard.writeText(link); hud.toast('Link copied', 'good'); } catch { prompt('Send this link', link); }
});
addEventListener('hashchange', () => { if (!room) lobby.show(); });

// Steps go at a fixed pace whatever the frame rate; frames show what is between.
let last = performance.now(), owed = 0, slow = 0, askedAt = 0;

function frame(now) {
  const dt = Math.min(250, now - last);
  last = now;
  if (room && model.ready) steps(dt);
  else if (room) ask(now);
  model.pose(now, Math.min(1, owed / STEP_MS), dt);
  view.draw(now, dt);
  drawStick();
  slow += dt;
  if (slow > 120) { slow = 0; hud.update(); panel.update(); panel.shy(ownPlace()); }
  requestAnimationFrame(frame);
}

function steps(dt) {
  owed += dt;
  while (owed >= STEP_MS) {
    owed -= STEP_MS;
    if (!model.mayStep(room.nextInput, room.applied)) { model.rest(); continue; }
    const wish = controls.wish();
    if (model.wantsStep(wish)) room.send(model.step(room.nextInput, wish));
    else model.rest();
  }
}

// Full state comes by itself; should it not, it can be asked for.
function ask(now) {
  if (askedAt === 0) askedAt = now;
  if (now - askedAt < ANSWER_MS || room.state !== 'joined') return;
  askedAt = now;
  room.send(SYNC);
}

function drawStick() {
  const s = controls.stick;
  if (!s) return;
  const { g, ratio } = view;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.strokeStyle = 'rgba(255,255,255,.5)';
  g.lineWidth = 2;
  g.beginPath();
  g.arc(s.startX, s.startY, 50, 0, Math.PI * 2);
  g.stroke();
  g.fillStyle = 'rgba(255,255,255,.45)';
  g.beginPath();
  g.arc(s.x, s.y, 22, 0, Math.PI * 2);
  g.fill();
}

/** What tests and the curious can see. */
window.limpetDemo = {
  get state() { return room?.state ?? 'lobby'; },
  get room() { return room?.id ?? ''; },
  get id() { return model.you; },
  get me() { return shown(model.me); },
  get own() { return model.own && { ...model.own }; },
  get players() { return [...model.players.values()].map(shown); },
  get score() { return model.me?.score ?? 0; },
  get tide() { return { level: model.tide, ...model.phase() }; },
  get rocks() { return model.rocks; },
  get shells() { return [...model.shells.values()]; },
  get host() { return room?.host ?? ''; },
  get epoch() { return room?.epoch ?? 0; },
  get seq() { return room?.seq ?? 0; },
  get inputs() { return room && { sent: room.nextInput - 1, applied: room.applied, durable: room.durable, kept: room.kept }; },
  get stats() { return client.stats; },
  get events() { return panel.events; },
  get dev() { return dev.on ? dev.nodes : null; },
};

function found() {
  try { return JSON.parse(sessionStorage.getItem(`limpet:${KIND}/`))?.name ?? ''; } catch { return ''; }
}

function shown(p) {
  return p && { id: p.id, slot: p.slot, name: p.name, x: p.x, y: p.y, score: p.score, string: p.string, away: p.away, clinging: p.clinging, me: p.slot === model.slot };
}

const pool = poolFromHash(location.hash);
lobby.show();
// A reload: on with it. Who was given a pool asks for any again, and gets it back.
if (pool && sessionStorage.getItem(`limpet:${KIND}/${pool}`)) enter(pool, 'joinOrCreate');
else if (pool && found() === pool) enter('', 'any');
requestAnimationFrame(frame);
