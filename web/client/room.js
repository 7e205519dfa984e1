import { encode, fromBytes, Mode, toBytes, Type } from './codec.js';
import { codeName, LimpetError, isRetryable } from './codes.js';
import { Emitter } from './emitter.js';
import { Inputs } from './inputs.js';

const MAX_JOIN_DATA = 4 << 10;
const SEND_AHEAD = 256 << 10; // bytes that may wait in the socket before sending pauses
const STUCK_MS = 5_000; // without an ack for what was sent: send it again
const EVENTS = ['message', 'latest', 'ephemeral', 'ack', 'dropped', 'resumed', 'moved', 'rewound', 'gap', 'waiting', 'store',
  'failed', 'skipped', 'left', 'error'];
const FORGIVEN_EVERY = 10_000; // ms between fresh starts after missed messages

/** A payload from a room. `bytes` is valid for as long as it is held. */
class Payload {
  constructor(bytes, fields) { this.bytes = bytes; Object.assign(this, fields); }
  get text() { return fromBytes(this.bytes); }
  get json() { return JSON.parse(this.text); }
}

/**
 * One membership of one room. It outlives connections: members whose names
 * start with an underscore belong to the client that made it.
 */
export class Room extends Emitter {
  constructor(link, { kind, name, mode, filter, data, memo, saved, limits }) {
    super(EVENTS);
    this._link = link; // {send, env, buffered, open, minor, reconnect, forget, inputLimit}
    this.kind = kind;
    this.name = name;
    this.member = 0;
    this.state = 'joining'; // then 'joined', 'dropped' in between, 'left' at the end
    this.host = '';
    this.epoch = 0;
    this.incarnation = 0;
    this.storeRunning = true;
    this._mode = mode;
    this._filter = filter ?? new Uint8Array(0);
    this._data = toBytes(data);
    if (this._data.length > MAX_JOIN_DATA) throw new RangeError(`join data of ${this._data.length} bytes: want at most ${MAX_JOIN_DATA}`);
    encode.join({ ref: 0, mode: 0, kind, name }); // throws here, and not at each connection, what can't be said
    encode.find({ ref: 0, kind, filter: this._filter });
    this._memo = memo;
    this._inputs = new Inputs(limits);
    this._at = { epoch: 0, seq: 0 }; // the last reliable message handled
    this._count = 0;
    this._token = null;
    this._handle = null;
    this._expected = { n: 0, at: -Infinity };
    this._forgiven = -Infinity;
    this._fresh = false;
    this.ready = new Promise((resolve, reject) => { this._resolve = resolve; this._reject = reject; });
    if (saved) this._restore(saved);
  }

  get id() { return `${this.kind}/${this.name}`; }
  get seq() { return this._at.seq; }
  get applied() { return this._inputs.applied; }
  get durable() { return this._inputs.durable; }
  /** The number that the next send will take. */
  get nextInput() { return this._inputs.next; }
  /** How many inputs are kept because they are not durable yet. */
  get kept() { return this._inputs.kept.length; }

  /** Sends one input and returns its number. While there is no connection it is kept and sent later. */
  send(data) {
    if (this.state === 'left' || this._leaving) throw new LimpetError(300, 'this membership is over');
    const payload = toBytes(data);
    if (payload.length > this._link.inputLimit) throw new RangeError(`input of ${payload.length} bytes: want at most ${this._link.inputLimit}`);
    const n = this._inputs.push(payload === data ? payload.slice() : payload);
    this._pump();
    return n;
  }

  /** Ends the membership; resolves when the room has confirmed it. */
  leave() {
    if (this.state === 'left') return Promise.resolve();
    if (!this._leaving) {
      this._leaving = new Promise((resolve) => { this.once('left', resolve); });
      this._memo?.clear();
      if (this._token) { this._inputs.pushLeave(); this._pump(); } else this._over(300, '');
    }
    return this._leaving;
  }

  _restore(saved) {
    this._token = saved.token;
    this._data = saved.data;
    this.name = saved.name;
    if (saved.at) this._at = saved.at;
  }

  // The request that (re)opens this membership on a new connection; null where that can't be said there.
  _request(ref) {
    const { _data: data, kind, name } = this;
    this._ref = ref;
    if (this._token) return encode.resume({ ref, token: this._token, ...this._at, data });
    if (this._filter.length === 0) return encode.join({ ref, mode: Mode[this._mode], kind, name, data });
    if (this._link.minor >= 1) return encode.find({ ref, kind, filter: this._filter, data });
    this._over(203, 'the gateway is of an older version, without filters');
    return null;
  }

  // The connection is gone.
  _dropped(end) {
    this._handle = this._held = null;
    this._ref = 0;
    this._stopTimers();
    if (this.state !== 'joined') return;
    this.state = 'dropped';
    this._droppedAt = this._link.env.now();
    this.emit('dropped', end);
  }

  _joined(f, gateway) {
    const first = this.state === 'joining';
    if (this._isStale(f)) return;
    Object.assign(this, { name: f.name, member: f.member, state: 'joined', _handle: f.handle, _ref: 0 });
    if (first) { this._hold(); this._resolve(this); }
    const ms = first ? 0 : Math.round(this._link.env.now() - this._droppedAt);
    if (!first) this.emit('resumed', { ms, how: f.how, gateway });
    this._attach(f, !first);
  }

  // Frames right behind the answer wait until whoever awaits it has listeners on.
  _hold() {
    this._held = [];
    this._holding = this._link.env.setTimeout(() => {
      const held = this._held ?? [];
      this._held = null;
      for (const f of held) if (this._handle === f.handle) this._frame(f);
    }, 0);
  }

  // Neither an old owner nor another room of the same name may take over.
  _isStale(f) {
    const other = this.incarnation !== 0 && f.incarnation !== this.incarnation;
    if (f.epoch >= this.epoch && !other) return false;
    this._link.reconnect(other ? 'another room answered' : 'the room answered with an old epoch');
    return true;
  }

  // Takes over what a new owner, or the old one again, says of this membership.
  _attach(f, tell) {
    const moved = f.host !== this.host || f.epoch !== this.epoch;
    const before = { host: this.host, epoch: this.epoch };
    // Asked from nowhere, a room answers as after a restore; in the same epoch it is a gap.
    const how = this._fresh && f.epoch === this.epoch && f.how === 'rewound' ? 'gap' : f.how;
    this._fresh = false;
    Object.assign(this, { host: f.host, epoch: f.epoch, incarnation: f.incarnation });
    if (f.token.length > 0) this._token = f.token;
    this._at = { epoch: f.epoch, seq: f.seq };
    this._count = f.count;
    this._inputs.attach(f.applied, f.durable);
    this._storeRuns(true);
    this._expected = { n: 0, at: -Infinity };
    this.save();
    if (tell && moved) this.emit('moved', { host: f.host, epoch: f.epoch, from: before });
    if (tell && (how === 'rewound' || how === 'gap')) {
      this.emit(how, { from: f.from, to: f.to, epoch: f.epoch, host: f.host, applied: f.applied });
    }
    this._pump();
  }

  /** Writes what a reload needs; called by itself where it matters. */
  save() {
    if (this._token && !this._leaving) this._memo?.save({ token: this._token, data: this._data, name: this.name, at: this._at });
  }

  // A join or a resume was refused.
  _refused(code, text, retryMs, retryIn) {
    if (this._token && isRetryable(code)) {
      this._retry = this._link.env.setTimeout(() => this._link.request(this), retryIn(retryMs));
      this.emit('waiting', { code, reason: codeName(code), text, forMs: 0 });
      return;
    }
    if (this.state === 'joining' && this._token) { // a saved membership that is over: join anew
      this._token = null;
      this._at = { epoch: 0, seq: 0 };
      this._memo?.clear();
      this._link.request(this);
      return;
    }
    this._over(code, text, retryMs);
  }

  _over(code, text = '', retryMs = 0) {
    if (this.state === 'left') return;
    const err = new LimpetError(code, text, retryMs);
    this._reject(err);
    this.state = 'left';
    this._handle = null;
    this._stopTimers();
    this._memo?.clear();
    this._link.forget(this);
    this.emit('left', { code, reason: err.reason, text });
  }

  _stopTimers() {
    for (const t of [this._retry, this._pumping, this._holding, this._watching]) this._link.env.clearTimeout(t);
    this._pumping = this._watching = null;
  }

  // Writes what is due, as fast as the socket takes it.
  _pump() {
    if (this._pumping || this._handle === null || !this._link.open) return;
    for (let item; this._link.buffered < SEND_AHEAD && (item = this._inputs.take());) this._link.send(this._encode(item));
    if (this._inputs.cursor < this._inputs.next) this._pumpIn(20);
    this._watchAcks();
  }

  // Sending again does no harm, and helps should an answer have got lost.
  _watchAcks() {
    const { _inputs: inputs, _link: { env } } = this;
    if (this._watching || inputs.applied >= inputs.last) return;
    const before = inputs.applied;
    this._watching = env.setTimeout(() => {
      this._watching = null;
      if (inputs.applied === before) inputs.rewind(before + 1);
      this._pump();
    }, STUCK_MS);
  }

  _pumpIn(ms) {
    if (this._pumping) return;
    this._pumping = this._link.env.setTimeout(() => { this._pumping = null; this._pump(); }, ms);
  }

  _encode({ skip, input }) {
    const handle = this._handle;
    if (skip) return encode.skip({ handle, from: skip[0], to: skip[1] });
    return input.leave ? encode.leave({ handle, n: input.n }) : encode.input({ handle, n: input.n, payload: input.payload });
  }

  _frame(f) {
    if (this._held) { this._held.push(f); return; }
    switch (f.type) {
      case Type.Message: this._message(f); break;
      case Type.Latest: this.emit('latest', new Payload(f.payload, { key: f.key, epoch: this.epoch })); break;
      case Type.Ephemeral: this.emit('ephemeral', new Payload(f.payload, { epoch: this.epoch })); break;
      case Type.Ack: this._ack(f); break;
      case Type.Expect: this._expect(f.next); break;
      case Type.Attached: this._attached(f); break;
      case Type.Waiting: this.emit('waiting', { code: f.code, reason: codeName(f.code), text: '', forMs: f.forMs }); break;
      case Type.Failed: this.emit('failed', { n: f.n, code: f.code, reason: codeName(f.code), text: f.text }); break;
      case Type.Skipped: this.emit('skipped', { from: f.from, to: f.to }); break;
      case Type.Store: this._storeRuns(f.running); break;
      case Type.Left: this._over(f.code, f.text); break;
      case Type.Error: this._error(f); break;
    }
  }

  _storeRuns(running) {
    if (running === this.storeRunning) return;
    this.storeRunning = running;
    this.emit('store', { running });
  }

  _message(f) {
    if (f.seq <= this._at.seq) return;
    this._at.seq = f.seq;
    this._count += 1;
    this.emit('message', new Payload(f.payload, { seq: f.seq, epoch: this.epoch }));
  }

  _ack(f) {
    this._inputs.acknowledge(f.applied, f.durable);
    this.emit('ack', { applied: this.applied, durable: this.durable });
    if (f.count > this._count) this._missed(f.count);
  }

  // The room counts more reliable messages to us than came: ask for fresh state
  // by resuming from nowhere; if that was just tried, say it and go on.
  _missed(count) {
    const now = this._link.env.now();
    const missed = count - this._count;
    this._count = count;
    if (now - this._forgiven < FORGIVEN_EVERY) {
      this.emit('gap', { from: 0, to: 0, epoch: this.epoch, host: this.host, applied: this.applied, missed });
      return;
    }
    this._forgiven = now;
    this._fresh = true;
    this._at = { epoch: 0, seq: 0 };
    this._link.reconnect(`missed ${missed} messages`);
  }

  // Every input behind a lost one is answered with the same number: send once.
  _expect(next) {
    const now = this._link.env.now();
    const settle = Math.max(100, 2 * (this._link.rtt ?? 0));
    if (next === this._expected.n && now - this._expected.at < settle) return;
    this._expected = { n: next, at: now };
    this._inputs.rewind(next);
    this._pump();
  }

  _attached(f) {
    if (!this._isStale(f)) this._attach(f, true);
  }

  _error(f) {
    this.emit('error', new LimpetError(f.code, f.text, f.retryMs));
    if (isRetryable(f.code)) { // an input was turned away: it goes again
      this._inputs.rewind(this._inputs.applied + 1);
      this._pumpIn(Math.max(f.retryMs, 20));
    }
  }
}
