import { decodeStep, encodeStep, isResting, move, STEP_MS } from './step.js';

const BEHIND_MS = 100; // others are drawn this far in the past, between two snapshots
const KEEP = 12; // snapshots kept to draw between
const SNAP = 260; // a correction this long is shown at once
const AHEAD = 90; // steps that may be unanswered before the own limpet waits
const HISTORY = 512;

// What lies in a pool before one is joined, for the eye alone.
const ROCKS = [[800, 500, 92], [340, 260, 70], [1250, 250, 78], [300, 760, 74], [1290, 770, 68],
  [800, 130, 48], [790, 880, 54], [560, 520, 40], [1070, 530, 42]];

/**
 * What is known of a pool and what of it is to be drawn: the own limpet ahead
 * of the server, the others a little behind it. No DOM, no clock of its own.
 */
export class Model {
  constructor() { this.reset(); }

  reset() {
    this.ready = false;
    this.you = 0;
    this.slot = -1;
    this.rocks = ROCKS;
    this.tides = [460, 160, 180, 100];
    this.players = new Map(); // slot -> player
    this.shells = new Map(); // id -> {id, x, y, pearl}
    this.tick = 0;
    this.tide = 0;
    this.current = 0;
    this.own = null; // predicted {x, y, vx, vy, cool}
    this.history = []; // steps that may have to be taken again: {n, wish}
    this.forget();
  }

  /** Snapshots of another owner of the room are not comparable: start anew. */
  forget() { this.snapshots = []; this.offset = null; }

  get me() { return this.players.get(this.slot); }

  /** The pool as a whole, after a join and whenever something was lost. */
  full(e) {
    const before = this.players;
    Object.assign(this, { ready: true, you: e.you, slot: e.slot, rocks: e.rocks, tides: e.tide });
    this.players = new Map();
    for (const p of e.players) this.players.set(p.slot, { ...this.#fresh(p, before.get(p.slot)), score: p.score, away: p.away });
    this.shells = new Map(e.shells.map((s) => [s[0], shell(s)]));
  }

  joined(e) { this.players.set(e.slot, this.#fresh(e)); }
  leave(e) { this.players.delete(e.slot); }

  #fresh({ id, slot, name, hue }, old) {
    if (old?.id === id) return { ...old, name, hue };
    return { id, slot, name, hue, score: 0, string: 0, away: false, clinging: false, swept: false, x: 0, y: 0, vx: 0, vy: 0, errX: 0, errY: 0, seen: false };
  }

  /** Shells that were taken and that are new; returns the former with their takers. */
  tookShells(e) {
    const gone = [];
    for (const [id, slot, score] of e.taken ?? []) {
      const s = this.shells.get(id);
      const p = this.players.get(slot);
      this.shells.delete(id);
      if (p) p.score = score;
      if (s) gone.push({ ...s, slot });
    }
    for (const s of e.new ?? []) this.shells.set(s[0], shell(s));
    return gone;
  }

  /** Takes a snapshot that arrived at a time in milliseconds. */
  snapshot(s, now) {
    if (this.tick > s.tick && this.snapshots.length > 0) this.forget();
    Object.assign(this, { tick: s.tick, tide: s.tide, current: s.current });
    this.#clock(s.tick, now);
    this.snapshots.push({ tick: s.tick, bySlot: new Map(s.players.map((p) => [p.slot, p])) });
    if (this.snapshots.length > KEEP) this.snapshots.shift();
    for (const p of s.players) {
      const known = this.players.get(p.slot);
      if (!known) continue;
      const { away, clinging, swept, score, string, cool } = p;
      Object.assign(known, { away, clinging, swept, score, string, cool });
    }
    const mine = s.players.find((p) => p.slot === this.slot);
    if (mine) this.#reconcile(mine);
  }

  // When a tick would arrive that was not delayed: the least delay counts, and
  // the estimate creeps up in case the way became longer.
  #clock(tick, now) {
    const offset = now - tick * STEP_MS;
    if (this.offset === null || Math.abs(offset - this.offset) > 500) this.offset = offset;
    else if (offset < this.offset) this.offset += (offset - this.offset) * 0.25;
    else this.offset += (offset - this.offset) * 0.02;
  }

  // The server's word on the own limpet, and on top the steps that it has not
  // seen yet. The difference to what was drawn fades.
  #reconcile(s) {
    const p = { x: s.x, y: s.y, vx: s.vx, vy: s.vy, cool: s.cool };
    for (const h of this.history) if (isAfter(h.n, s.step)) move(p, h.wish, this.rocks);
    const me = this.me;
    if (this.own && me) {
      const dx = p.x - this.own.x, dy = p.y - this.own.y;
      me.errX -= dx;
      me.errY -= dy;
      this.prev = { x: this.prev.x + dx, y: this.prev.y + dy };
      if (Math.hypot(me.errX, me.errY) > SNAP) me.errX = me.errY = 0;
    } else this.prev = { x: p.x, y: p.y };
    this.own = p;
  }

  /** The own limpet may go on while the server has not answered for long. */
  mayStep(nextInput, applied) { return this.own !== null && nextInput - 1 - applied < AHEAD; }

  /** Whether there is anything to send: a wish, or movement that has not ended. */
  wantsStep(wish) { return wish.dx !== 0 || wish.dy !== 0 || !isResting(this.own) || this.own.cool > 0; }

  /** Takes one step ahead; returns the input to send as number n. */
  step(n, { dx, dy, dash }) {
    const bytes = encodeStep(n, dx, dy, dash);
    const wish = decodeStep(bytes);
    this.prev = { x: this.own.x, y: this.own.y };
    move(this.own, wish, this.rocks);
    this.history.push({ n, wish });
    if (this.history.length > HISTORY) this.history.shift();
    return bytes;
  }

  /** Durable steps are never taken again. */
  settle(durable) {
    while (this.history.length > 0 && this.history[0].n <= durable) this.history.shift();
  }

  /** No step was taken in this step's time: the own limpet stands. */
  rest() { if (this.own) this.prev = { x: this.own.x, y: this.own.y }; }

  /** Places everybody for a frame drawn now; part is how much of a step has gone by. */
  pose(now, part, dt) {
    const fade = Math.exp(-dt / 90);
    for (const p of this.players.values()) {
      const at = p.slot === this.slot ? this.#ownPlace(part) : this.#place(p.slot, now);
      if (!at) continue;
      if (p.slot !== this.slot && p.seen) this.#smooth(p, at);
      p.errX *= fade;
      p.errY *= fade;
      Object.assign(p, { rawX: at.x, rawY: at.y, x: at.x + p.errX, y: at.y + p.errY, vx: at.vx, vy: at.vy, seen: true });
    }
  }

  // A jump between frames (snapshots came late, or from a new owner) fades too.
  #smooth(p, at) {
    const jump = Math.hypot(at.x - p.rawX, at.y - p.rawY);
    if (jump < 30) return;
    p.errX -= at.x - p.rawX;
    p.errY -= at.y - p.rawY;
    if (Math.hypot(p.errX, p.errY) > SNAP) p.errX = p.errY = 0;
  }

  #ownPlace(part) {
    const { own, prev } = this;
    if (!own) return null;
    return { x: prev.x + (own.x - prev.x) * part, y: prev.y + (own.y - prev.y) * part, vx: own.vx, vy: own.vy };
  }

  // Between the two snapshots around the time drawn; a little beyond the last.
  #place(slot, now) {
    const list = this.snapshots;
    if (list.length === 0) return null;
    const tick = (now - BEHIND_MS - this.offset) / STEP_MS;
    let b = list.length - 1;
    while (b > 0 && list[b - 1].tick > tick) b -= 1;
    const to = list[b].bySlot.get(slot), from = list[Math.max(0, b - 1)].bySlot.get(slot) ?? to;
    if (!to) return null;
    const span = list[b].tick - list[Math.max(0, b - 1)].tick;
    const t = span > 0 ? (tick - list[b].tick + span) / span : 1;
    const k = Math.max(0, Math.min(t, 1 + 2 / Math.max(1, span)));
    return { x: from.x + (to.x - from.x) * k, y: from.y + (to.y - from.y) * k, vx: to.vx, vy: to.vy };
  }

  /** The tide's phase now: {name, left} with left in seconds. */
  phase() {
    const [out, rise, high, fall] = this.tides;
    let t = this.tick % (out + rise + high + fall);
    for (const [name, ticks] of [['out', out], ['rising', rise], ['high', high], ['falling', fall]]) {
      if (t < ticks) return { name, left: (ticks - t) * STEP_MS / 1000 };
      t -= ticks;
    }
    return { name: 'out', left: 0 };
  }
}

const shell = ([id, x, y, pearl]) => ({ id, x, y, pearl: pearl === 1 });

/** Is 16-bit number n after number m? */
export const isAfter = (n, m) => { const d = (n - m) & 0xffff; return d > 0 && d < 0x8000; };
