import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../../client/backoff.js';

test('delays lie between 0 and a bound that doubles up to the cap', () => {
  for (const [random, want] of [[() => 0, [0, 0, 0, 0]], [() => 0.999999, [249, 499, 999, 1999]]]) {
    const b = new Backoff({ random });
    assert.deepEqual([b.next(), b.next(), b.next(), b.next()], want);
  }
  const b = new Backoff({ random: () => 0.999999 });
  for (let i = 0; i < 100; i++) assert.ok(b.next() < 10_000);
  b.reset();
  assert.ok(b.next() < 250);
});

test('advice wins, with a little jitter; without it the back-off goes on', () => {
  const b = new Backoff({ random: () => 0.5 });
  assert.deepEqual([b.next(), b.next(), b.after(3000), b.after(0)], [125, 250, 3125, 500]);
});
