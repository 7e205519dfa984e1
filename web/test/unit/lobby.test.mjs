import assert from 'node:assert/strict';
import test from 'node:test';
import { harness, say, settle } from './gateway.mjs';

const minor = { minor: 1 };

test('a join with a filter is a find', async () => {
  const h = await harness();
  const joining = h.client.join('arena', '', { data: 'hi', filter: { pool: 'gold', seats: 2 } });
  h.socket.up(minor);
  const f = h.socket.last('find');
  assert.deepEqual({ ...f, ref: 0 }, { is: 'find', ref: 0, kind: 'arena', filter: '{"pool":"gold","seats":2}', data: 'hi' });
  h.socket.deliver(say.joined({ ref: f.ref, name: 'r7' }));
  assert.equal((await joining).name, 'r7');
  await assert.rejects(h.client.join('arena', 'r7', { filter: { pool: 'gold' } }), TypeError);
  h.client.close();
});

test('an older gateway is not asked what it does not know', async () => {
  const h = await harness();
  h.socket.up();
  await assert.rejects(h.client.join('arena', '', { filter: { pool: 'gold' } }), { code: 203 });
  await assert.rejects(h.client.rooms('arena', { filter: { pool: 'gold' } }), { code: 203 });
  const errors = [];
  const stop = h.client.watch('arena', {}, () => {}, (err) => errors.push(err.reason));
  assert.deepEqual(errors, []); // not before watch() has returned
  await settle();
  assert.deepEqual(errors, ['unavailable']);
  h.client.watch('arena', {}, () => {}, (err) => errors.push(err.reason))();
  await settle();
  assert.deepEqual(errors, ['unavailable']); // stopped before it was told
  assert.deepEqual(h.socket.sent.map((f) => f.is).filter((is) => is !== 'ping'), ['hello']);
  await h.comeBack();
  stop();
  h.client.close();
});

test('a list is a page', async () => {
  const h = await harness();
  h.socket.up(minor);
  const listing = h.client.rooms('arena', { most: 2, after: 'b', filter: { labels: { map: 'sea' } } });
  const f = h.socket.last('browse');
  assert.deepEqual({ ...f, ref: 0 }, { is: 'browse', ref: 0, watch: 0, most: 2, kind: 'arena', after: 'b', filter: '{"labels":{"map":"sea"}}' });
  h.socket.deliver(say.page(f.ref, [{ room: 'arena/c', members: 2 }], { answered: 2, covered: 640, next: 'c' }));
  assert.deepEqual(await listing, { rooms: [{ room: 'arena/c', members: 2 }], asked: 3, answered: 2, covered: 0.64, next: 'c' });
  h.client.close();
});

test('a watched page follows its updates, and every connection', async () => {
  const h = await harness();
  const seen = [], errors = [];
  const stop = h.client.watch('arena', { most: 5 }, (l) => seen.push(l.rooms.map((r) => `${r.room}:${r.members}`).join(' ')), (e) => errors.push(e.reason));
  h.socket.up(minor);
  let f = h.socket.last('browse');
  assert.equal(f.watch, 1);
  h.socket.deliver(say.page(f.ref, [{ room: 'arena/b', members: 1 }, { room: 'arena/d', members: 1 }]));
  h.socket.deliver(say.page(f.ref, [{ room: 'arena/c', members: 4 }, { room: 'arena/b', gone: true }, { room: 'arena/d', members: 2 }], { update: true }));
  assert.deepEqual(seen, ['arena/b:1 arena/d:1', 'arena/c:4 arena/d:2']);
  h.socket.die();
  await h.clock.pass(250);
  h.socket.up(minor);
  const again = h.socket.last('browse');
  h.socket.deliver(say.page(f.ref, [{ room: 'arena/old', members: 1 }])); // of the connection before
  h.socket.deliver(say.error({ ref: again.ref, code: 202, retry: 700 }));
  assert.deepEqual(errors, ['busy']);
  await h.clock.pass(700);
  f = h.socket.last('browse');
  assert.notEqual(f.ref, again.ref);
  h.socket.deliver(say.page(f.ref, []));
  assert.equal(seen.at(-1), '');
  stop();
  assert.equal(h.socket.last('quit').ref, f.ref);
  h.socket.deliver(say.page(f.ref, [{ room: 'arena/late', members: 1 }]));
  await settle();
  assert.equal(seen.length, 3);
  h.client.close();
});

test('a watch that is refused for good is over', async () => {
  const h = await harness();
  h.socket.up(minor);
  const errors = [];
  h.client.watch('nope', {}, () => {}, (e) => errors.push(e.reason));
  h.socket.deliver(say.error({ ref: h.socket.last('browse').ref, code: 102 }));
  await h.clock.pass(60_000);
  assert.deepEqual(errors, ['unknown_kind']);
  assert.equal(h.sockets.flatMap((s) => s.all('browse')).length, 1);
  h.client.close();
});

test('a watch can be stopped by who hears that it failed', async () => {
  const h = await harness();
  h.socket.up(minor);
  const errors = [];
  const stop = h.client.watch('arena', {}, () => {}, (e) => { errors.push(e.reason); stop(); });
  h.socket.deliver(say.error({ ref: h.socket.last('browse').ref, code: 202, retry: 700 }));
  await h.clock.pass(60_000);
  assert.deepEqual(errors, ['busy']);
  assert.equal(h.sockets.flatMap((s) => s.all('browse')).length, 1);
  h.client.close();
});

test('an older gateway\'s refusal can stop the watch', async () => {
  const h = await harness();
  h.socket.up();
  const errors = [];
  const stop = h.client.watch('arena', {}, () => {}, (e) => { errors.push(e.reason); stop(); });
  await h.clock.pass(5_000);
  assert.deepEqual(errors, ['unavailable']);
  h.client.close();
});

test('what can\'t be said is told at once, and nothing stays behind', async () => {
  const h = await harness();
  const loop = {};
  loop.loop = loop;
  const timers = h.clock.timers.size;
  const long = 'x'.repeat(256);
  for (const connected of [false, true]) {
    if (connected) h.socket.up(minor);
    await assert.rejects(h.client.rooms('arena', { filter: { labels: loop } }), TypeError);
    await assert.rejects(h.client.rooms('arena', { after: long }), RangeError);
    await assert.rejects(h.client.join(long, 'lobby'), RangeError);
    await assert.rejects(h.client.join('arena', '', { filter: { pool: 'y'.repeat(70_000) } }), RangeError);
    assert.throws(() => h.client.watch(long, {}, () => {}), RangeError);
  }
  assert.equal(h.client.stats.rooms, 0);
  assert.equal(h.clock.timers.size, timers); // the heartbeat's, in place of the one for the welcome
  await h.comeBack();
  assert.deepEqual(h.sockets.flatMap((s) => s.sent).map((f) => f.is).filter((is) => is !== 'ping'), ['hello', 'hello']);
  h.client.close();
  assert.equal(h.clock.timers.size, 0);
});
