// Gateway frames, and a WebSocket and a clock that a test holds in its hands.
import { Type } from '../../client/codec.js';
import { connect } from '../../client/limpet.js';

const utf8 = new TextEncoder();

/** Builds a frame from typed fields: ['u32', 7], ['str8', 'x'], ... */
export function frame(type, ...fields) {
  const out = [type];
  const put = (v, n) => { for (let i = n - 1; i >= 0; i--) out.push(Math.floor(v / 256 ** i) % 256); };
  const sizes = { u8: 1, u16: 2, u32: 4, u64: 8 };
  for (const [kind, v] of fields) {
    const bytes = typeof v === 'string' ? utf8.encode(v) : v;
    if (sizes[kind]) put(v, sizes[kind]);
    else if (kind === 'str8') out.push(bytes.length, ...bytes);
    else if (kind === 'str16' || kind === 'bytes16') { put(bytes.length, 2); out.push(...bytes); }
    else out.push(...bytes);
  }
  return Uint8Array.from(out);
}

const u8 = (v) => ['u8', v], u16 = (v) => ['u16', v], u32 = (v) => ['u32', v], u64 = (v) => ['u64', v];
const HOW = { joined: 0, resumed: 1, gap: 2, rewound: 3 };

function attach(a) {
  return [u8(HOW[a.how ?? 'joined']), ['str8', a.host ?? 'h1'], u64(a.epoch ?? 1000), u64(a.incarnation ?? 900), u64(a.seq ?? 0),
    u64(a.count ?? 0), u64(a.applied ?? 0), u64(a.durable ?? 0), u64(a.from ?? 0), u64(a.to ?? 0)];
}

export const say = {
  welcome: (f = {}) => frame(Type.Welcome, u8(f.minor ?? 0), u32(f.heartbeat ?? 10_000), u32(f.inputLimit ?? 16384), ['str8', f.gateway ?? 'g1']),
  joined: (f) => frame(Type.Joined, u32(f.ref), u32(f.handle ?? 5), ['str8', f.kind ?? 'arena'], ['str8', f.name ?? 'lobby'],
    u64(f.member ?? 42), ...attach(f), ['bytes16', f.token ?? 'tok1']),
  attached: (f) => frame(Type.Attached, u32(f.handle ?? 5), ...attach(f), ['bytes16', f.token ?? '']),
  message: (seq, payload, handle = 5) => frame(Type.Message, u32(handle), u64(seq), ['rest', payload]),
  latest: (key, payload, handle = 5) => frame(Type.Latest, u32(handle), u32(key), ['rest', payload]),
  ephemeral: (payload, handle = 5) => frame(Type.Ephemeral, u32(handle), ['rest', payload]),
  ack: (applied, durable, count = 0, handle = 5) => frame(Type.Ack, u32(handle), u64(applied), u64(durable), u64(count)),
  expect: (next, handle = 5) => frame(Type.Expect, u32(handle), u64(next)),
  skipped: (from, to, handle = 5) => frame(Type.Skipped, u32(handle), u64(from), u64(to)),
  failed: (n, text, handle = 5) => frame(Type.Failed, u32(handle), u64(n), u16(400), ['str16', text]),
  store: (running, handle = 5) => frame(Type.Store, u32(handle), u8(running ? 1 : 0)),
  waiting: (code, ms, handle = 5) => frame(Type.Waiting, u32(handle), u16(code), u32(ms)),
  left: (code, text = '', handle = 5) => frame(Type.Left, u32(handle), u16(code), ['str16', text]),
  error: (f) => frame(Type.Error, u32(f.ref ?? 0), u32(f.handle ?? 0), u16(f.code), u32(f.retry ?? 0), ['str16', f.text ?? '']),
  pong: (echo) => frame(Type.Pong, u64(echo)),
  goAway: (after, spread) => frame(Type.GoAway, u32(after), u32(spread)),
  rooms: (ref, list, asked = 3, answered = 3) => frame(Type.Rooms, u32(ref), u16(asked), u16(answered), ['rest', JSON.stringify(list)]),
  page: (ref, list, f = {}) => frame(Type.Page, u32(ref), u8(f.update ? 1 : 0), u16(f.asked ?? 3), u16(f.answered ?? 3),
    u16(f.covered ?? 1000), ['str8', f.next ?? ''], ['rest', JSON.stringify(list)]),
};

/** What a client sent, decoded. */
export function heard(bytes) {
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 1;
  const u = { u8: () => v.getUint8(at++), u16: () => { at += 2; return v.getUint16(at - 2); },
    u32: () => { at += 4; return v.getUint32(at - 4); }, u64: () => u.u32() * 2 ** 32 + u.u32() };
  const take = (n) => { at += n; return bytes.slice(at - n, at); };
  const str = (n) => new TextDecoder().decode(take(n));
  switch (bytes[0]) {
    case Type.Hello: return { is: 'hello', minor: u.u8(), instance: take(16), token: str(u.u16()), agent: str(u.u8()) };
    case Type.Join: return { is: 'join', ref: u.u32(), mode: u.u8(), kind: str(u.u8()), name: str(u.u8()), data: str(u.u16()) };
    case Type.Resume: return { is: 'resume', ref: u.u32(), token: str(u.u16()), epoch: u.u64(), seq: u.u64(), data: str(u.u16()) };
    case Type.Input: return { is: 'input', handle: u.u32(), n: u.u64(), payload: str(bytes.length - at) };
    case Type.Skip: return { is: 'skip', handle: u.u32(), from: u.u64(), to: u.u64() };
    case Type.Leave: return { is: 'leave', handle: u.u32(), n: u.u64() };
    case Type.Ping: return { is: 'ping', echo: u.u64() };
    case Type.List: return { is: 'list', ref: u.u32(), kind: str(u.u8()), most: u.u16() };
    case Type.Find: return { is: 'find', ref: u.u32(), kind: str(u.u8()), filter: str(u.u16()), data: str(u.u16()) };
    case Type.Browse: return { is: 'browse', ref: u.u32(), watch: u.u8(), most: u.u16(), kind: str(u.u8()), after: str(u.u8()), filter: str(u.u16()) };
    case Type.Quit: return { is: 'quit', ref: u.u32() };
    default: throw new Error(`client sent type ${bytes[0]}`);
  }
}

/** A clock with timers that run when the test says so. */
export class Clock {
  time = 1_000;
  timers = new Map();
  id = 0;
  env = {
    now: () => this.time,
    random: () => 0.5,
    setTimeout: (fn, ms) => { this.timers.set(++this.id, { fn, at: this.time + ms }); return this.id; },
    clearTimeout: (id) => { this.timers.delete(id); },
  };
  /** Lets ms pass, and everything that is due in them happen. */
  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      await settle();
      const due = [...this.timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].fn();
    }
    this.time = end;
    await settle();
  }
}

export const settle = () => new Promise((resolve) => { setImmediate(resolve); });

/** A client, its clock, and the sockets that it has opened so far. */
export async function harness(options = {}) {
  const clock = new Clock();
  const sockets = [];
  class FakeSocket {
    constructor(url, protocol) {
      Object.assign(this, { url, protocol, readyState: 0, bufferedAmount: 0, sent: [], closed: false });
      sockets.push(this);
    }
    send(bytes) { this.sent.push(heard(bytes)); }
    close() { this.closed = true; this.readyState = 3; }
    open() { this.readyState = 1; this.onopen?.({}); }
    deliver(...frames) { for (const f of frames) this.onmessage?.({ data: f.buffer }); }
    die(code = 1006, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }); }
    /** Frames of a sort that the client sent here. */
    all(is) { return this.sent.filter((f) => f.is === is); }
    last(is) { return this.all(is).at(-1); }
    inputs() { return this.all('input').map((f) => f.n); }
    /** Opens and welcomes. */
    up(welcome) { this.open(); this.deliver(say.welcome(welcome)); }
  }
  const client = connect(options.urls ?? 'ws://a/', { WebSocket: FakeSocket, env: clock.env, ...options });
  await settle();
  const h = { client, clock, sockets, get socket() { return sockets.at(-1); } };
  /** Joins arena/lobby over the newest socket and records its events. */
  h.join = async (fields = {}, joinOptions = {}) => {
    const joining = client.join('arena', 'lobby', { data: 'hi', ...joinOptions });
    joining.catch(() => {});
    if (client.state !== 'open') h.socket.up();
    h.socket.deliver(say.joined({ ref: (h.socket.last('join') ?? h.socket.last('resume')).ref, ...fields }));
    const room = await joining;
    h.events = record(room);
    await clock.pass(0);
    return room;
  };
  /** Breaks the connection and lets the client come back up to its hello. */
  h.comeBack = async () => {
    h.socket.die();
    await clock.pass(250);
    h.socket.up({ gateway: 'g2' });
  };
  return h;
}

const EVENTS = ['message', 'latest', 'ephemeral', 'ack', 'rewound', 'gap', 'resumed', 'moved', 'dropped', 'waiting', 'left', 'error', 'store', 'failed', 'skipped'];

export function record(room) {
  const seen = [];
  for (const e of EVENTS) room.on(e, (v) => seen.push([e, v]));
  seen.of = (name) => seen.filter(([e]) => e === name).map(([, v]) => v);
  seen.names = () => seen.map(([e]) => e);
  return seen;
}

/** A Storage in memory. */
export function storage() {
  const m = new Map();
  return { getItem: (k) => m.get(k) ?? null, setItem: (k, v) => { m.set(k, String(v)); }, removeItem: (k) => { m.delete(k); }, size: () => m.size };
}
