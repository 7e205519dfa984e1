// The frames of limpet.v1 as docs/protocol.md lays them out: a type byte, then
// big-endian fields. 64-bit fields are plain numbers: what the protocol counts
// stays below 2^53, and a frame that breaks this is refused.

export const SUBPROTOCOL = 'limpet.v1';
export const MINOR = 1;

export const Type = Object.freeze({
  Hello: 0x01, Join: 0x02, Resume: 0x03, Input: 0x04, Skip: 0x05, Leave: 0x06, Ping: 0x07, List: 0x08,
  Find: 0x09, Browse: 0x0a, Quit: 0x0b,
  Welcome: 0x81, Joined: 0x82, Message: 0x83, Latest: 0x84, Ephemeral: 0x85, Ack: 0x86, Expect: 0x87,
  Attached: 0x88, Waiting: 0x89, Failed: 0x8a, Skipped: 0x8b, Store: 0x8c, Left: 0x8d, Error: 0x8e,
  Pong: 0x8f, GoAway: 0x90, Rooms: 0x91, Page: 0x92,
});

export const Mode = Object.freeze({ join: 0, create: 1, joinOrCreate: 2, any: 3 });
export const How = Object.freeze(['joined', 'resumed', 'gap', 'rewound']);

const utf8 = new TextEncoder();
const text = new TextDecoder();
const TWO32 = 2 ** 32;

/** Writes the fields of one frame. */
class Writer {
  constructor(type, size) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
    this.at = 0;
    this.u8(type);
  }
  u8(v) { this.view.setUint8(this.at, v); this.at += 1; return this; }
  u16(v) { this.view.setUint16(this.at, v); this.at += 2; return this; }
  u32(v) { this.view.setUint32(this.at, v); this.at += 4; return this; }
  u64(v) {
    if (!Number.isSafeInteger(v) || v < 0) throw new RangeError(`${v} does not fit a u64 field here: want 0 to 2^53-1`);
    return this.u32(Math.floor(v / TWO32)).u32(v % TWO32);
  }
  raw(b) { this.bytes.set(b, this.at); this.at += b.length; return this; }
  str8(b) {
    if (b.length > 255) throw new RangeError(`text of ${b.length} bytes: want at most 255`);
    return this.u8(b.length).raw(b);
  }
  bytes16(b) {
    if (b.length > 65535) throw new RangeError(`field of ${b.length} bytes: want at most 65535`);
    return this.u16(b.length).raw(b);
  }
}

/** Reads the fields of one frame; running out of bytes throws. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }
  u8() { const v = this.view.getUint8(this.at); this.at += 1; return v; }
  u16() { const v = this.view.getUint16(this.at); this.at += 2; return v; }
  u32() { const v = this.view.getUint32(this.at); this.at += 4; return v; }
  u64() {
    const v = this.u32() * TWO32 + this.u32();
    if (v > Number.MAX_SAFE_INTEGER) throw new RangeError('u64 field above 2^53-1');
    return v;
  }
  take(n) {
    if (this.at + n > this.bytes.length) throw new RangeError('frame ends inside a field');
    const b = this.bytes.subarray(this.at, this.at + n);
    this.at += n;
    return b;
  }
  str8() { return text.decode(this.take(this.u8())); }
  str16() { return text.decode(this.take(this.u16())); }
  bytes16() { return this.take(this.u16()).slice(); }
  rest() { return this.take(this.bytes.length - this.at); }
}

/** Bytes of a string, of bytes, or of anything else as JSON. */
export function toBytes(data) {
  if (data === undefined || data === null) return new Uint8Array(0);
  if (data instanceof Uint8Array) return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const s = typeof data === 'string' ? data : JSON.stringify(data);
  if (s === undefined) throw new TypeError(`a ${typeof data} can't be sent: want bytes, text, or what JSON takes`);
  return utf8.encode(s);
}

export const fromBytes = (b) => text.decode(b);

// Frames that a client sends.
export const encode = {
  hello({ minor = MINOR, instance, token = new Uint8Array(0), agent = '' }) {
    const a = utf8.encode(agent);
    return new Writer(Type.Hello, 21 + token.length + a.length).u8(minor).raw(instance).bytes16(token).str8(a).bytes;
  },
  join({ ref, mode, kind, name = '', data = new Uint8Array(0) }) {
    const k = utf8.encode(kind), n = utf8.encode(name);
    return new Writer(Type.Join, 10 + k.length + n.length + data.length)
      .u32(ref).u8(mode).str8(k).str8(n).bytes16(data).bytes;
  },
  resume({ ref, token, epoch, seq, data = new Uint8Array(0) }) {
    return new Writer(Type.Resume, 25 + token.length + data.length)
      .u32(ref).bytes16(token).u64(epoch).u64(seq).bytes16(data).bytes;
  },
  input({ handle, n, payload }) {
    return new Writer(Type.Input, 13 + payload.length).u32(handle).u64(n).raw(payload).bytes;
  },
  skip({ handle, from, to }) { return new Writer(Type.Skip, 21).u32(handle).u64(from).u64(to).bytes; },
  leave({ handle, n }) { return new Writer(Type.Leave, 13).u32(handle).u64(n).bytes; },
  ping({ echo }) { return new Writer(Type.Ping, 9).u64(echo).bytes; },
  list({ ref, kind, most }) {
    const k = utf8.encode(kind);
    return new Writer(Type.List, 8 + k.length).u32(ref).str8(k).u16(most).bytes;
  },
  find({ ref, kind, filter = new Uint8Array(0), data = new Uint8Array(0) }) {
    const k = utf8.encode(kind);
    return new Writer(Type.Find, 10 + k.length + filter.length + data.length)
      .u32(ref).str8(k).bytes16(filter).bytes16(data).bytes;
  },
  browse({ ref, watch = 0, most = 0, kind, after = '', filter = new Uint8Array(0) }) {
    const k = utf8.encode(kind), a = utf8.encode(after);
    return new Writer(Type.Browse, 12 + k.length + a.length + filter.length)
      .u32(ref).u8(watch ? 1 : 0).u16(most).str8(k).str8(a).bytes16(filter).bytes;
  },
  quit({ ref }) { return new Writer(Type.Quit, 5).u32(ref).bytes; },
};

function attach(r) {
  const how = r.u8(), host = r.str8();
  return {
    how: How[how] ?? 'rewound', host, epoch: r.u64(), incarnation: r.u64(), seq: r.u64(), count: r.u64(),
    applied: r.u64(), durable: r.u64(), from: r.u64(), to: r.u64(),
  };
}

const decoders = {
  [Type.Welcome]: (r) => ({ minor: r.u8(), heartbeat: r.u32(), inputLimit: r.u32(), gateway: r.str8() }),
  [Type.Joined]: (r) => ({
    ref: r.u32(), handle: r.u32(), kind: r.str8(), name: r.str8(), member: r.u64(), ...attach(r), token: r.bytes16(),
  }),
  [Type.Message]: (r) => ({ handle: r.u32(), seq: r.u64(), payload: r.rest() }),
  [Type.Latest]: (r) => ({ handle: r.u32(), key: r.u32(), payload: r.rest() }),
  [Type.Ephemeral]: (r) => ({ handle: r.u32(), payload: r.rest() }),
  [Type.Ack]: (r) => ({ handle: r.u32(), applied: r.u64(), durable: r.u64(), count: r.u64() }),
  [Type.Expect]: (r) => ({ handle: r.u32(), next: r.u64() }),
  [Type.Attached]: (r) => ({ handle: r.u32(), ...attach(r), token: r.bytes16() }),
  [Type.Waiting]: (r) => ({ handle: r.u32(), code: r.u16(), forMs: r.u32() }),
  [Type.Failed]: (r) => ({ handle: r.u32(), n: r.u64(), code: r.u16(), text: r.str16() }),
  [Type.Skipped]: (r) => ({ handle: r.u32(), from: r.u64(), to: r.u64() }),
  [Type.Store]: (r) => ({ handle: r.u32(), running: r.u8() !== 0 }),
  [Type.Left]: (r) => ({ handle: r.u32(), code: r.u16(), text: r.str16() }),
  [Type.Error]: (r) => ({ ref: r.u32(), handle: r.u32(), code: r.u16(), retryMs: r.u32(), text: r.str16() }),
  [Type.Pong]: (r) => ({ echo: r.u64() }),
  [Type.GoAway]: (r) => ({ afterMs: r.u32(), spreadMs: r.u32() }),
  [Type.Page]: (r) => ({
    ref: r.u32(), update: r.u8() !== 0, asked: r.u16(), answered: r.u16(), covered: r.u16(), next: r.str8(), json: r.rest(),
  }),
  [Type.Rooms]: (r) => ({ ref: r.u32(), asked: r.u16(), answered: r.u16(), json: r.rest() }),
};

/**
 * Decodes a gateway's frame to {type, ...fields}; null for a type that this
 * version does not know, which a receiver ignores. Payloads alias the message.
 */
export function decode(message) {
  const bytes = message instanceof Uint8Array ? message : new Uint8Array(message);
  if (bytes.length === 0) throw new RangeError('empty frame');
  const r = new Reader(bytes);
  const type = r.u8();
  const fields = decoders[type];
  return fields ? { type, ...fields(r) } : null;
}
