import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Inputs } from '../../client/inputs.js';

const bytes = (n) => new Uint8Array(n);
const drain = (inputs) => {
  const out = [];
  for (let item; (item = inputs.take());) out.push(item.skip ? `skip ${item.skip.join('-')}` : item.input.n);
  return out;
};

test('bytes bound the buffer too, and the newest input always stays', () => {
  const inputs = new Inputs({ maxCount: 100, maxBytes: 10 });
  for (let i = 0; i < 4; i++) inputs.push(bytes(4));
  assert.deepEqual([inputs.kept.length, inputs.bytes], [2, 8]);
  inputs.push(bytes(50));
  assert.deepEqual([inputs.kept.length, inputs.bytes], [1, 50]);
  assert.deepEqual(drain(inputs), ['skip 1-4', 5]);
});

test('whatever a room asks for, numbers go out in order and without holes', () => {
  let seed = 7;
  const random = (n) => { seed = (seed * 1103515245 + 12345) % 2 ** 31; return seed % n; };
  const inputs = new Inputs({ maxCount: 20, maxBytes: 1 << 20 });
  let applied = 0, durable = 0; // the room's side
  const skipped = new Set(), taken = new Set();
  for (let step = 0; step < 50_000; step++) {
    switch (random(6)) {
      case 0: case 1: inputs.push(bytes(1)); break;
      case 2: // the room takes what is sent, in order; now and then a frame is lost
        for (let item; (item = inputs.take());) {
          const [from, to] = item.skip ?? [item.input.n, item.input.n];
          if (random(10) === 0) continue;
          if (from > applied + 1 || to <= applied) { if (from > applied + 1) inputs.rewind(applied + 1); continue; }
          for (let n = applied + 1; n <= to; n++) (item.skip ? skipped : taken).add(n);
          applied = to;
        }
        break;
      case 3: inputs.acknowledge(applied, durable); break;
      case 4: durable = applied; inputs.acknowledge(applied, durable); break;
      case 5: // a crash: back to what is durable
        for (let n = durable + 1; n <= applied; n++) taken.delete(n);
        applied = durable;
        inputs.attach(applied, durable);
        break;
    }
    assert.ok(inputs.kept.length <= 20);
  }
  inputs.attach(applied, durable);
  for (let item; (item = inputs.take());) {
    const [from, to] = item.skip ?? [item.input.n, item.input.n];
    assert.equal(from, applied + 1);
    for (let n = from; n <= to; n++) (item.skip ? skipped : taken).add(n);
    applied = to;
  }
  assert.equal(applied, inputs.last);
  for (let n = 1; n <= applied; n++) assert.ok(taken.has(n) || skipped.has(n), `input ${n} is neither taken nor skipped`);
});

test('an instance that was handed on goes on behind the numbers the room knows', () => {
  const inputs = new Inputs();
  inputs.attach(10, 4);
  assert.equal(inputs.push(bytes(1)), 11);
  assert.deepEqual(drain(inputs), [11]);
});
