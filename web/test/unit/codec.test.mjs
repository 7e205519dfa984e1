import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decode, encode, toBytes, Type } from '../../client/codec.js';
import { hex, unhex } from '../../client/persist.js';
import { say } from './gateway.mjs';

const bytes = (...v) => Uint8Array.from(v);

const golden = JSON.parse(readFileSync(new URL('../../../wire/testdata/frames.json', import.meta.url), 'utf8'));
const BYTES = ['instance', 'token', 'data', 'payload', 'json', 'filter'];
const HOWS = ['joined', 'resumed', 'gap', 'rewound'];

// The fields as they stand in the examples: plain numbers, bytes in hexadecimal.
function plain({ type, ...fields }) {
  const out = {};
  for (const [k, v] of Object.entries(fields)) {
    const name = k.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
    out[name] = v instanceof Uint8Array ? hex(v) : k === 'how' ? HOWS.indexOf(v) : typeof v === 'boolean' ? Number(v) : v;
  }
  return out;
}

test('every example of the protocol, both ways', () => {
  const seen = new Set();
  for (const { frame, type, from, value, hex: want } of golden) {
    seen.add(type);
    if (from === 'client') {
      const fields = Object.fromEntries(Object.entries(value).map(([k, v]) => [k, BYTES.includes(k) ? unhex(v) : v]));
      assert.equal(hex(encode[frame](fields)), want, `${frame} ${JSON.stringify(value)}`);
    } else {
      const got = decode(unhex(want));
      assert.equal(got.type, type);
      assert.deepEqual(plain(got), value, frame);
    }
  }
  for (const [name, type] of Object.entries(Type)) assert.ok(seen.has(type), `no example of ${name}`);
});

test('whatever is cut off any frame, decoding refuses it or leaves out only the rest', () => {
  const open = new Set([Type.Message, Type.Latest, Type.Ephemeral, Type.Rooms, Type.Page]);
  for (const whole of [say.welcome(), say.joined({ ref: 1 }), say.attached({}), say.message(1, ''), say.latest(1, ''), say.ephemeral(''), say.ack(1, 1),
    say.expect(1), say.skipped(1, 2), say.failed(1, 'x'), say.store(true), say.waiting(203, 5), say.left(300, 'x'), say.error({ code: 202, text: 'x' }),
    say.pong(1), say.goAway(1, 2)]) {
    assert.equal(decode(whole).type, whole[0]);
    for (let n = 1; n < whole.length; n++) assert.throws(() => decode(whole.subarray(0, n)), RangeError, `type ${whole[0].toString(16)} cut at ${n}`);
    if (!open.has(whole[0])) assert.deepEqual(decode(bytes(...whole, 9, 9, 9)), decode(whole), 'trailing bytes are ignored');
  }
  assert.throws(() => decode(bytes()), RangeError);
});

test('unknown types are ignored, whatever is in them', () => {
  for (const type of [0x00, 0x10, 0x7f, 0x9f, 0xff]) assert.equal(decode(bytes(type, 1, 2, 3)), null);
});

test('64-bit fields hold up to 2^53-1 and nothing above', () => {
  const most = Number.MAX_SAFE_INTEGER;
  assert.equal(decode(say.pong(most)).echo, most);
  assert.throws(() => decode(bytes(Type.Pong, 0, 32, 0, 0, 0, 0, 0, 0)), RangeError);
  assert.deepEqual([...encode.ping({ echo: most })], [Type.Ping, 0, 31, 255, 255, 255, 255, 255, 255]);
  for (const bad of [-1, 0.5, 2 ** 53, NaN]) assert.throws(() => encode.ping({ echo: bad }), RangeError);
});

test('fields that are too long are refused', () => {
  assert.throws(() => encode.join({ ref: 1, mode: 0, kind: 'k'.repeat(256), name: 'n' }), RangeError);
  assert.throws(() => encode.resume({ ref: 1, token: new Uint8Array(65536), epoch: 0, seq: 0 }), RangeError);
});

test('a token is kept apart from the message that it came in', () => {
  const message = say.joined({ ref: 1, token: 'abc' });
  const { token } = decode(message);
  message.fill(0);
  assert.equal(new TextDecoder().decode(token), 'abc');
});

test('frames are read from the middle of a buffer too', () => {
  const f = say.ack(7, 5, 3);
  const big = new Uint8Array(100);
  big.set(f, 40);
  assert.deepEqual(decode(big.subarray(40, 40 + f.length)), decode(f));
});

test('toBytes takes bytes, text and values', () => {
  assert.deepEqual(toBytes(new Uint16Array([1])).length, 2);
  assert.deepEqual(toBytes(new ArrayBuffer(3)).length, 3);
  assert.equal(new TextDecoder().decode(toBytes('é')), 'é');
  assert.equal(new TextDecoder().decode(toBytes({ a: [1] })), '{"a":[1]}');
  assert.equal(toBytes(undefined).length, 0);
  assert.equal(new TextDecoder().decode(toBytes(5)), '5');
  for (const v of [() => {}, Symbol('x')]) assert.throws(() => toBytes(v), /can't be sent/);
});
