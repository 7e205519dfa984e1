// A small stand-in for games/arena and the room that runs it, for working on
// the demo without a cluster: enough of movement, tide, shells and restores.
import { move, decodeStep } from '../demo/step.js';

const ROCKS = [[800, 500, 92], [340, 260, 70], [1250, 250, 78], [300, 760, 74], [1290, 770, 68], [800, 130, 48], [790, 880, 54], [560, 520, 40], [1070, 530, 42]];
const TIDE = [460, 160, 180, 100];
const ALL = TIDE.reduce((a, b) => a + b);

const onRock = (p) => ROCKS.some(([x, y, r]) => Math.hypot(p.x - x, p.y - y) <= r);

export class FakePool {
  constructor(name) {
    this.name = name;
    this.epoch = Date.now();
    this.incarnation = this.epoch;
    this.host = 'host-1';
    this.sinks = new Map(); // member -> {message, latest, ...}: who is connected
    this.state = { clock: Number(process.env.CLOCK ?? 0), seq: 0, nextShell: 0, players: [], shells: [], counters: {} };
    while (this.state.shells.length < 70) this.#spawn();
    this.save();
  }

  save() { this.saved = structuredClone(this.state); }

  /** The host is killed: another one goes on from the last save. */
  crash() {
    this.state = structuredClone(this.saved);
    this.epoch = Math.max(this.epoch + 1, Date.now());
    this.host = `host-${(Number(this.host.slice(5)) % 3) + 1}`;
  }

  attach(member, data, sink) {
    let p = this.player(member);
    const fresh = !p;
    if (!p) {
      let f = {};
      try { f = JSON.parse(data); } catch { /* no profile */ }
      const taken = new Set(this.state.players.map((q) => q.slot));
      let slot = 0;
      while (taken.has(slot)) slot += 1;
      p = { id: member, slot, name: String(f.name ?? 'limpet').slice(0, 16), hue: f.hue ?? 200, x: 200 + Math.random() * 1200, y: 200 + Math.random() * 600,
        vx: 0, vy: 0, step: 0, cool: 0, grip: 0, score: 0, string: 0 };
      this.state.players.push(p);
    }
    this.sinks.set(member, sink);
    if (fresh) this.#all({ t: 'join', id: p.id, slot: p.slot, name: p.name, hue: p.hue }, member);
    return p;
  }

  player(member) { return this.state.players.find((p) => p.id === member); }

  sync(member) {
    const { players, shells } = this.state;
    this.#send(member, { t: 'full', you: member, slot: this.player(member).slot, rate: 20, width: 1600, height: 1000, rocks: ROCKS, tide: TIDE,
      players: players.map((p) => ({ id: p.id, slot: p.slot, name: p.name, hue: p.hue, score: p.score, away: !this.sinks.has(p.id) })), shells });
  }

  leave(member) {
    const p = this.player(member);
    this.state.players = this.state.players.filter((q) => q !== p);
    this.sinks.delete(member);
    if (p) this.#all({ t: 'leave', id: p.id, slot: p.slot, name: p.name });
  }

  input(member, bytes) {
    const p = this.player(member);
    if (!p || bytes[0] !== 1) { if (bytes[0] === 2) this.sync(member); return; }
    const w = decodeStep(bytes);
    p.step = w.number;
    move(p, w, ROCKS);
    const taken = [];
    this.state.shells = this.state.shells.filter(([id, x, y, pearl]) => {
      if (Math.hypot(x - p.x, y - p.y) > 27) return true;
      p.score += pearl ? 5 : 1;
      p.string = Math.min(40, p.string + 1);
      taken.push([id, p.slot, p.score]);
      return false;
    });
    if (taken.length) this.#all({ t: 'shells', taken });
  }

  tick() {
    const s = this.state;
    s.clock += 1;
    for (const p of s.players) p.grip = onRock(p) && Math.hypot(p.vx, p.vy) <= 1 ? Math.min(8, p.grip + 1) : 0;
    if (s.clock % 3 === 0 && s.shells.length < 70) this.#all({ t: 'shells', new: [this.#spawn()] });
    if (s.clock % 20 === 0) this.save();
    const frame = this.#snapshot();
    for (const sink of this.sinks.values()) sink.latest(1, frame);
  }

  #spawn() {
    const e = [++this.state.nextShell, Math.round(60 + Math.random() * 1480), Math.round(60 + Math.random() * 880), Math.random() < 0.08 ? 1 : 0];
    this.state.shells.push(e);
    return e;
  }

  #tide() {
    const ease = (t) => t * t * (3 - 2 * t);
    let t = this.state.clock % ALL;
    if (t < TIDE[0]) return 0;
    t -= TIDE[0];
    if (t < TIDE[1]) return ease(t / TIDE[1]);
    t -= TIDE[1];
    return t < TIDE[2] ? 1 : ease((TIDE[3] - (t - TIDE[2])) / TIDE[3]);
  }

  #snapshot() {
    const { players, clock } = this.state;
    const b = Buffer.alloc(8 + players.length * 18);
    b.writeUInt8(1, 0);
    b.writeUInt32BE(clock, 1);
    b.writeUInt8(Math.round(this.#tide() * 255), 5);
    b.writeUInt8((Math.floor(clock / ALL) + 1) * 83 & 255, 6);
    b.writeUInt8(players.length, 7);
    players.forEach((p, i) => {
      const at = 8 + i * 18;
      b.writeUInt8(p.slot, at);
      b.writeUInt8((this.sinks.has(p.id) ? 0 : 1) | (p.grip >= 8 ? 2 : 0), at + 1);
      b.writeUInt16BE(Math.round(p.x * 40), at + 2);
      b.writeUInt16BE(Math.round(p.y * 40), at + 4);
      b.writeInt16BE(Math.round(p.vx * 256), at + 6);
      b.writeInt16BE(Math.round(p.vy * 256), at + 8);
      b.writeUInt16BE(p.step, at + 10);
      b.writeUInt8(p.cool, at + 12);
      b.writeUInt8(p.string, at + 13);
      b.writeUInt32BE(p.score, at + 14);
    });
    return b;
  }

  #all(event, but) { for (const member of this.sinks.keys()) if (member !== but) this.#send(member, event); }

  // Every message takes a number; a stand-in needs no log, so nobody resumes over a hole.
  #send(member, event) {
    this.state.seq += 1;
    this.sinks.get(member)?.message(this.state.seq, Buffer.from(JSON.stringify(event)));
  }
}
