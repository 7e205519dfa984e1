import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harness, record, say, settle, storage } from './gateway.mjs';

test('hello, then join; the welcome names the gateway', async () => {
  const h = await harness({ token: 'secret', agent: 'test' });
  assert.equal(h.socket.protocol, 'limpet.v1');
  const joining = h.client.join('arena', 'lobby', { data: { name: 'Ann' }, mode: 'create' });
  h.socket.open();
  assert.deepEqual(h.socket.sent.map((f) => f.is), ['hello']);
  assert.equal(h.socket.sent[0].token, 'secret');
  assert.equal(h.socket.sent[0].instance.length, 16);
  h.socket.deliver(say.welcome({ gateway: 'g7' }));
  const join = h.socket.last('join');
  assert.deepEqual({ ...join, ref: 0 }, { is: 'join', ref: 0, mode: 1, kind: 'arena', name: 'lobby', data: '{"name":"Ann"}' });
  h.socket.deliver(say.joined({ ref: join.ref, member: 2 ** 53 - 1, epoch: 1_800_000_000_000, host: 'h2' }));
  const room = await joining;
  assert.equal(room.member, 2 ** 53 - 1);
  assert.equal(room.epoch, 1_800_000_000_000);
  assert.equal(room.host, 'h2');
  assert.equal(h.client.gateway, 'g7');
  assert.equal(h.client.state, 'open');
});

test('a refused join rejects with the code, its text and the advice', async () => {
  const h = await harness();
  const joining = h.client.join('arena', 'lobby');
  h.socket.up();
  h.socket.deliver(say.error({ ref: h.socket.last('join').ref, code: 200, retry: 1500, text: 'no seat' }));
  await assert.rejects(joining, { name: 'LimpetError', code: 200, reason: 'room_full', retryMs: 1500, retryable: true });
  assert.equal(h.client.stats.rooms, 0);
});

test('messages that come with the answer wait for listeners', async () => {
  const h = await harness();
  const joining = h.client.join('arena', 'lobby');
  h.socket.up();
  h.socket.deliver(say.joined({ ref: h.socket.last('join').ref }), say.message(1, '{"a":1}'), say.latest(9, 'x'), say.ephemeral('y'));
  const seen = record(await joining);
  await h.clock.pass(0);
  assert.deepEqual(seen.names(), ['message', 'latest', 'ephemeral']);
  assert.deepEqual(seen[0][1].json, { a: 1 });
  assert.equal(seen[1][1].key, 9);
  assert.equal(seen[2][1].text, 'y');
});

test('inputs are numbered, sent at once, and forgotten when durable', async () => {
  const h = await harness();
  const room = await h.join();
  assert.deepEqual([room.send('a'), room.send('b'), room.send({ c: 1 })], [1, 2, 3]);
  assert.deepEqual(h.socket.all('input').map((f) => [f.handle, f.n, f.payload]), [[5, 1, 'a'], [5, 2, 'b'], [5, 3, '{"c":1}']]);
  h.socket.deliver(say.ack(3, 0));
  assert.deepEqual([room.applied, room.durable, room.kept], [3, 0, 3]);
  h.socket.deliver(say.ack(3, 2));
  assert.deepEqual([room.durable, room.kept], [2, 1]);
});

test('bytes given to send may be reused by the caller', async () => {
  const h = await harness();
  const room = await h.join();
  const b = new TextEncoder().encode('one');
  room.send(b);
  b.fill(0);
  await h.comeBack();
  h.socket.deliver(say.joined({ ref: h.socket.last('resume').ref, how: 'resumed' }));
  assert.equal(h.socket.last('input').payload, 'one');
});

test('too big an input is refused here', async () => {
  const h = await harness();
  const joining = h.client.join('arena', 'lobby');
  h.socket.up({ inputLimit: 10 });
  h.socket.deliver(say.joined({ ref: h.socket.last('join').ref }));
  const room = await joining;
  assert.throws(() => room.send('12345678901'), RangeError);
  assert.equal(room.nextInput, 1);
});

test('a broken connection is resumed with token and position, and inputs go on', async () => {
  const h = await harness();
  const room = await h.join({ seq: 10, count: 3 });
  h.socket.deliver(say.message(12, 'm'));
  room.send('a');
  room.send('b');
  h.socket.deliver(say.ack(1, 0, 4));
  h.socket.die();
  assert.equal(room.state, 'dropped');
  assert.equal(room.send('c'), 3);
  await h.clock.pass(250);
  h.socket.up({ gateway: 'g2' });
  const resume = h.socket.last('resume');
  assert.deepEqual({ ...resume, ref: 0 }, { is: 'resume', ref: 0, token: 'tok1', epoch: 1000, seq: 12, data: 'hi' });
  h.socket.deliver(say.joined({ ref: resume.ref, handle: 8, how: 'resumed', seq: 12, count: 4, applied: 1, token: 'tok2' }));
  assert.deepEqual(h.socket.all('input').map((f) => [f.handle, f.n]), [[8, 2], [8, 3]]);
  assert.deepEqual(h.events.names(), ['message', 'ack', 'dropped', 'resumed']);
  const { ms, how, gateway } = h.events.of('resumed')[0];
  assert.deepEqual([how, gateway], ['resumed', 'g2']);
  assert.ok(ms >= 125 && ms <= 250, `resumed in ${ms} ms`);
  await h.comeBack();
  assert.equal(h.socket.last('resume').token, 'tok2');
});

test('messages seen before are not delivered again', async () => {
  const h = await harness();
  await h.join();
  h.socket.deliver(say.message(1, 'a'), say.message(4, 'b'), say.message(4, 'b'), say.message(2, 'x'));
  assert.deepEqual(h.events.of('message').map((m) => [m.seq, m.text]), [[1, 'a'], [4, 'b']]);
});

test('frames for other handles and unknown frames are ignored', async () => {
  const h = await harness();
  await h.join();
  h.socket.deliver(say.message(1, 'a', 99), Uint8Array.of(0xf0, 1, 2));
  assert.deepEqual(h.events.names(), []);
  assert.equal(h.client.state, 'open');
});

test('a frame that does not decode ends the connection, and it is made again', async () => {
  const h = await harness();
  await h.join();
  h.socket.deliver(Uint8Array.of(0x86, 0, 0));
  assert.ok(h.sockets[0].closed);
  await h.clock.pass(250);
  assert.equal(h.sockets.length, 2);
});

test('expect sends again from there, once for a burst of them', async () => {
  const h = await harness();
  const room = await h.join();
  for (let i = 0; i < 5; i++) room.send(`${i}`);
  h.socket.deliver(say.expect(3), say.expect(3), say.expect(3));
  assert.deepEqual(h.socket.inputs(), [1, 2, 3, 4, 5, 3, 4, 5]);
  await h.clock.pass(150);
  h.socket.deliver(say.expect(3));
  assert.deepEqual(h.socket.inputs().slice(8), [3, 4, 5]);
  h.socket.deliver(say.expect(5));
  assert.deepEqual(h.socket.inputs().slice(11), [5]);
});

test('an expect beyond what was ever sent is not believed', async () => {
  const h = await harness();
  const room = await h.join();
  room.send('a');
  h.socket.deliver(say.expect(900));
  room.send('b');
  assert.deepEqual(h.socket.inputs(), [1, 2]);
});

test('a new owner that was restored: rewound, and what it lacks is sent again', async () => {
  const h = await harness();
  const room = await h.join();
  for (let i = 0; i < 6; i++) room.send(`${i}`);
  h.socket.deliver(say.message(1, 'a'), say.message(2, 'b'), say.ack(6, 2, 2));
  h.socket.deliver(say.waiting(203, 100));
  h.socket.deliver(say.attached({ how: 'rewound', host: 'h3', epoch: 2000, seq: 1, count: 1, applied: 3, durable: 3, from: 2, to: 2 }));
  assert.deepEqual(h.socket.inputs().slice(6), [4, 5, 6]);
  assert.deepEqual(h.events.names().slice(3), ['waiting', 'moved', 'rewound']);
  assert.deepEqual(h.events.of('moved')[0], { host: 'h3', epoch: 2000, from: { host: 'h1', epoch: 1000 } });
  assert.deepEqual(h.events.of('rewound')[0], { from: 2, to: 2, epoch: 2000, host: 'h3', applied: 3 });
  h.socket.deliver(say.message(2, 'b2'));
  assert.deepEqual(h.events.of('message').map((m) => m.text), ['a', 'b', 'b2']);
  assert.deepEqual([room.epoch, room.host, room.applied], [2000, 'h3', 3]);
});

test('a lower epoch is never taken', async () => {
  const h = await harness();
  const room = await h.join({ epoch: 5000 });
  h.socket.deliver(say.attached({ how: 'rewound', epoch: 4000, host: 'old' }));
  assert.deepEqual([room.epoch, room.host, room.state], [5000, 'h1', 'dropped']);
  await h.clock.pass(250);
  h.socket.up();
  h.socket.deliver(say.joined({ ref: h.socket.last('resume').ref, how: 'resumed', epoch: 4999 }));
  assert.equal(room.state, 'dropped');
  assert.ok(h.socket.closed);
  await h.clock.pass(500);
  assert.equal(h.sockets.length, 3);
});

test('a gap is told with what is lost', async () => {
  const h = await harness();
  await h.join();
  h.socket.deliver(say.attached({ how: 'gap', from: 3, to: 90, seq: 90, count: 70 }));
  assert.deepEqual(h.events.of('gap').map((g) => [g.from, g.to]), [[3, 90]]);
  h.socket.deliver(say.message(91, 'x'), say.ack(0, 0, 71));
  assert.equal(h.client.state, 'open');
});

test('a count above ours asks for full state; a second one soon after is told', async () => {
  const h = await harness();
  await h.join();
  h.socket.deliver(say.message(1, 'a'), say.ack(0, 0, 3));
  await h.clock.pass(250);
  h.socket.up();
  const resume = h.socket.last('resume');
  assert.deepEqual([resume.epoch, resume.seq], [0, 0]);
  h.socket.deliver(say.joined({ ref: resume.ref, how: 'rewound', seq: 4, count: 3 }));
  h.socket.deliver(say.ack(0, 0, 5));
  assert.deepEqual(h.events.of('gap').map((g) => g.missed), [undefined, 2]);
  assert.deepEqual(h.events.of('rewound'), []);
  assert.equal(h.client.state, 'open');
});

test('beyond the bound the oldest inputs are given up and skipped', async () => {
  const h = await harness();
  const room = await h.join({}, { limits: { maxCount: 3, maxBytes: 1000 } });
  h.socket.die();
  for (let i = 1; i <= 7; i++) room.send(`${i}`);
  assert.equal(room.kept, 3);
  await h.clock.pass(250);
  h.socket.up();
  h.socket.deliver(say.joined({ ref: h.socket.last('resume').ref, how: 'resumed' }));
  assert.deepEqual(h.socket.sent.slice(2).filter((f) => f.is !== 'ping').map((f) => [f.is, f.from ?? f.n, f.to ?? f.n]),
    [['skip', 1, 4], ['input', 5, 5], ['input', 6, 6], ['input', 7, 7]]);
  h.socket.deliver(say.skipped(1, 4));
  assert.deepEqual(h.events.of('skipped'), [{ from: 1, to: 4 }]);
});

test('given-up inputs that the room has need no skip', async () => {
  const h = await harness();
  const room = await h.join({}, { limits: { maxCount: 2, maxBytes: 1000 } });
  for (let i = 1; i <= 5; i++) room.send(`${i}`);
  h.socket.deliver(say.ack(5, 0));
  room.send('6');
  assert.deepEqual(h.socket.inputs(), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(h.socket.all('skip'), []);
});

test('busy sends again after the time it names', async () => {
  const h = await harness();
  const room = await h.join();
  room.send('a');
  room.send('b');
  h.socket.deliver(say.ack(1, 0), say.error({ handle: 5, code: 202, retry: 300 }));
  await h.clock.pass(250);
  assert.deepEqual(h.socket.inputs(), [1, 2]);
  await h.clock.pass(60);
  assert.deepEqual(h.socket.inputs(), [1, 2, 2]);
  assert.equal(h.events.of('error')[0].reason, 'busy');
});

test('failed and store events are passed on', async () => {
  const h = await harness();
  const room = await h.join();
  h.socket.deliver(say.failed(1, 'panic'), say.store(false));
  assert.equal(room.storeRunning, false);
  h.socket.deliver(say.store(true), say.store(false));
  h.socket.deliver(say.attached({ how: 'resumed' }));
  assert.equal(room.storeRunning, true);
  assert.deepEqual(h.events.names(), ['failed', 'store', 'store', 'store', 'store']);
  assert.deepEqual(h.events.of('failed'), [{ n: 1, code: 400, reason: 'input_failed', text: 'panic' }]);
});

test('replaced is terminal: no resume, no fight', async () => {
  const h = await harness();
  const room = await h.join();
  h.socket.deliver(say.left(304));
  assert.equal(room.state, 'left');
  assert.deepEqual(h.events.of('left'), [{ code: 304, reason: 'replaced', text: '' }]);
  assert.throws(() => room.send('x'), { code: 300 });
  await h.comeBack();
  assert.deepEqual(h.socket.sent.map((f) => f.is).filter((is) => is !== 'ping'), ['hello']);
});

test('leave is the last input, is sent again, and resolves when confirmed', async () => {
  const h = await harness();
  const room = await h.join();
  room.send('a');
  const leaving = room.leave();
  assert.deepEqual(h.socket.last('leave'), { is: 'leave', handle: 5, n: 2 });
  assert.throws(() => room.send('b'));
  await h.comeBack();
  h.socket.deliver(say.joined({ ref: h.socket.last('resume').ref, how: 'resumed', applied: 1 }));
  assert.equal(h.socket.last('leave').n, 2);
  h.socket.deliver(say.left(300));
  await leaving;
  assert.equal(room.state, 'left');
});

test('a resume that is refused for good ends the membership; one for now is tried again', async () => {
  const h = await harness();
  const room = await h.join();
  await h.comeBack();
  h.socket.deliver(say.error({ ref: h.socket.last('resume').ref, code: 203, retry: 500 }));
  assert.equal(room.state, 'dropped');
  await h.clock.pass(1_000);
  assert.equal(h.socket.all('resume').length, 2);
  h.socket.deliver(say.error({ ref: h.socket.last('resume').ref, code: 305 }));
  assert.equal(room.state, 'left');
  assert.equal(h.events.of('left')[0].reason, 'grace_over');
});

test('the back-off is jittered, doubles, and starts anew after a stable time', async () => {
  const h = await harness();
  const waits = [];
  h.client.on('waiting', (w) => waits.push(w.ms));
  for (let i = 0; i < 8; i++) { h.socket.die(); await h.clock.pass(waits.at(-1)); }
  assert.deepEqual(waits, [125, 250, 500, 1000, 2000, 4000, 5000, 5000]);
  h.socket.up();
  await h.clock.pass(8_000);
  h.socket.deliver(say.pong(0));
  await h.clock.pass(4_000);
  h.socket.die();
  assert.equal(waits.at(-1), 125);
});

test('addresses take turns', async () => {
  const h = await harness({ urls: ['ws://a/', 'ws://b/'] });
  h.socket.die();
  await h.clock.pass(1_000);
  h.socket.die();
  await h.clock.pass(1_000);
  assert.deepEqual(h.sockets.map((s) => s.url), ['ws://b/', 'ws://a/', 'ws://b/'], 'from a random one on');
});

test('wake tries at once, and probes a connection that may be dead', async () => {
  const h = await harness({ backoff: { base: 60_000, cap: 60_000 } });
  h.socket.die();
  h.client.wake();
  await settle();
  assert.equal(h.sockets.length, 2);
  h.socket.up();
  h.client.wake();
  await h.clock.pass(2_100);
  assert.ok(h.sockets[1].closed, 'nothing was heard after the probe');
});

test('go away: at a moment of its own, then elsewhere without a further wait', async () => {
  const h = await harness({ urls: ['ws://a/', 'ws://b/'] });
  await h.join();
  h.socket.deliver(say.goAway(1000, 2000));
  await h.clock.pass(1_900);
  assert.equal(h.sockets.length, 1);
  await h.clock.pass(101);
  assert.equal(h.sockets.length, 2);
  assert.equal(h.socket.url, 'ws://a/');
  h.socket.up();
  assert.ok(h.socket.last('resume'));
});

test('close codes from 4500 on end it; those below come back', async () => {
  const h = await harness();
  await h.join();
  h.socket.die(4004);
  assert.equal(h.client.state, 'waiting');
  await h.clock.pass(250);
  h.socket.up();
  let closed = null;
  h.client.on('closed', (c) => { closed = c; });
  h.socket.die(4502, 'token');
  assert.deepEqual(closed, { code: 4502, reason: 'not_authorized', text: 'token' });
  assert.equal(h.events.of('left')[0].code, 4502);
  await h.clock.pass(60_000);
  assert.equal(h.sockets.length, 2);
});

test('silence for two heartbeats gives the connection up; pings measure the round trip', async () => {
  const h = await harness();
  h.socket.up({ heartbeat: 4000 });
  await h.clock.pass(30);
  h.socket.deliver(say.pong(h.socket.last('ping').echo));
  assert.equal(Math.round(h.client.rtt), 30);
  await h.clock.pass(7_000);
  assert.equal(h.client.state, 'open');
  assert.ok(h.socket.all('ping').length >= 3);
  await h.clock.pass(4_000);
  assert.ok(h.sockets[0].closed);
});

test('no welcome in time is a failed attempt', async () => {
  const h = await harness({ helloMs: 1_000 });
  h.socket.open();
  await h.clock.pass(1_000);
  assert.ok(h.sockets[0].closed);
  assert.equal(h.client.state, 'waiting');
});

test('drop kills the socket and the room comes back', async () => {
  const h = await harness();
  const room = await h.join();
  h.client.drop();
  assert.equal(room.state, 'dropped');
  await h.clock.pass(250);
  h.socket.up();
  h.socket.deliver(say.joined({ ref: h.socket.last('resume').ref, how: 'resumed' }));
  assert.equal(room.state, 'joined');
});

test('a create whose answer is lost is not asked twice; a join is', async () => {
  const h = await harness();
  const creating = h.client.join('arena', 'new', { mode: 'create' });
  const joining = h.client.join('arena', 'lobby');
  const failed = assert.rejects(creating, { reason: 'timeout' });
  h.socket.up();
  assert.equal(h.socket.all('join').length, 2);
  await h.comeBack();
  await failed;
  assert.deepEqual(h.socket.all('join').map((f) => f.name), ['lobby']);
  h.socket.deliver(say.joined({ ref: h.socket.last('join').ref }));
  assert.equal((await joining).name, 'lobby');
});

test('rooms lists with its completeness, over a break too', async () => {
  const h = await harness();
  const listing = h.client.rooms('arena', { most: 20 });
  h.socket.up();
  assert.deepEqual({ ...h.socket.last('list'), ref: 0 }, { is: 'list', ref: 0, kind: 'arena', most: 20 });
  await h.comeBack();
  h.socket.deliver(say.rooms(h.socket.last('list').ref, [{ room: 'arena/a', members: 2 }], 3, 2));
  assert.deepEqual(await listing, { rooms: [{ room: 'arena/a', members: 2 }], asked: 3, answered: 2 });
});

test('a reload takes the membership up with a new instance and asks for full state', async () => {
  const persist = storage();
  const before = await harness();
  await before.join({ seq: 7 }, { persist });
  const after = await harness();
  const joining = after.client.join('arena', 'lobby', { persist, data: 'other' });
  after.socket.up();
  const resume = after.socket.last('resume');
  assert.deepEqual({ ...resume, ref: 0 }, { is: 'resume', ref: 0, token: 'tok1', epoch: 0, seq: 0, data: 'hi' });
  assert.notDeepEqual(after.socket.sent[0].instance, before.sockets[0].sent[0].instance);
  after.socket.deliver(say.joined({ ref: resume.ref, how: 'gap', seq: 7, count: 3, token: 'tok2' }));
  const room = await joining;
  assert.equal(room.send('x'), 1);
  room.leave();
  assert.equal(persist.size(), 0);
});

test('a saved position is used when asked for', async () => {
  const persist = storage();
  const before = await harness();
  const room = await before.join({ seq: 7 }, { persist });
  before.socket.deliver(say.message(9, 'm'));
  room.save();
  const after = await harness();
  after.client.join('arena', 'lobby', { persist, position: 'kept' });
  after.socket.up();
  assert.deepEqual([after.socket.last('resume').epoch, after.socket.last('resume').seq], [1000, 9]);
});

test('a saved membership that is over becomes a new join', async () => {
  const persist = storage();
  await (await harness()).join({}, { persist });
  const h = await harness();
  const joining = h.client.join('arena', 'lobby', { persist });
  h.socket.up();
  h.socket.deliver(say.error({ ref: h.socket.last('resume').ref, code: 305 }));
  h.socket.deliver(say.joined({ ref: h.socket.last('join').ref, member: 77 }));
  assert.equal((await joining).member, 77);
});

test('garbage in the storage is as good as nothing', async () => {
  const h = await harness();
  for (const bad of ['{', 'null', '{"token":"zz","name":"lobby"}', '{"token":1}']) {
    const persist = { getItem: () => bad, setItem() { throw new Error('full'); }, removeItem() {} };
    h.client.join('arena', 'lobby', { persist });
  }
  h.socket.up();
  assert.equal(h.socket.all('join').length, 4);
});

test('close keeps the place: no leave, saved for a reload, requests rejected', async () => {
  const persist = storage();
  const h = await harness();
  const room = await h.join({}, { persist });
  const listing = assert.rejects(h.client.rooms('arena'));
  h.client.close();
  await listing;
  assert.equal(room.state, 'left');
  assert.equal(h.sockets[0].all('leave').length, 0);
  assert.equal(persist.size(), 1);
  await h.clock.pass(60_000);
  assert.equal(h.sockets.length, 1);
  await assert.rejects(h.client.join('arena', 'lobby'), { code: 300 });
});

test('a socket that does not drain pauses sending', async () => {
  const h = await harness();
  const room = await h.join();
  h.socket.bufferedAmount = 1 << 20;
  room.send('a');
  assert.deepEqual(h.socket.inputs(), []);
  h.socket.bufferedAmount = 0;
  await h.clock.pass(25);
  assert.deepEqual(h.socket.inputs(), [1]);
});

test('a token function that fails is an attempt that failed', async () => {
  let n = 0;
  const h = await harness({ token: () => { n += 1; if (n === 1) throw new Error('login'); return `t${n}`; } });
  assert.equal(h.sockets.length, 0);
  await h.clock.pass(250);
  h.socket.open();
  assert.equal(h.socket.sent[0].token, 't2');
});

test('several rooms share one connection', async () => {
  const h = await harness();
  await h.join();
  const chat = h.client.join('chat', 'talk');
  h.socket.deliver(say.joined({ ref: h.socket.last('join').ref, handle: 6, kind: 'chat', name: 'talk', token: 'tok9' }));
  const seen = record(await chat);
  await h.clock.pass(0);
  h.socket.deliver(say.message(1, 'a', 5), say.message(1, 'b', 6));
  assert.deepEqual([h.events.of('message')[0].text, seen.of('message')[0].text], ['a', 'b']);
  await h.comeBack();
  assert.deepEqual(h.socket.all('resume').map((f) => f.token).sort(), ['tok1', 'tok9']);
});

test('another room of the same name is not taken for it', async () => {
  const h = await harness();
  const room = await h.join({ incarnation: 900 });
  h.socket.deliver(say.attached({ how: 'rewound', epoch: 9000, incarnation: 8000 }));
  assert.deepEqual([room.state, room.incarnation, room.epoch], ['dropped', 900, 1000]);
});

test('inputs that nobody answers are sent again after a while', async () => {
  const h = await harness();
  const room = await h.join();
  room.send('a');
  room.send('b');
  await h.clock.pass(2_000);
  h.socket.deliver(say.ack(1, 0));
  await h.clock.pass(3_500);
  assert.deepEqual(h.socket.inputs(), [1, 2]);
  await h.clock.pass(5_000);
  assert.deepEqual(h.socket.inputs(), [1, 2, 2]);
  h.socket.deliver(say.ack(2, 2));
  await h.clock.pass(4_000);
  assert.deepEqual(h.socket.inputs(), [1, 2, 2]);
});

test('an attempt that never opens says what it may be', async () => {
  const h = await harness();
  const whys = [];
  h.client.on('waiting', ({ why }) => whys.push(why));
  h.socket.die();
  await h.clock.pass(250);
  h.socket.open();
  h.socket.die();
  assert.match(whys[0], /no gateway answers, or it lets in no page of this origin/);
  assert.equal(whys[1], 'closed');
});

test('a server that does not speak the protocol is no gateway', async () => {
  const h = await harness();
  h.socket.protocol = '';
  h.socket.open();
  assert.ok(h.sockets[0].closed);
  assert.equal(h.client.state, 'waiting');
});

test('an event that there is none of is told at once', async () => {
  const h = await harness();
  const room = await h.join();
  assert.throws(() => room.on('mesage', () => {}), /no event mesage: there are message, latest/);
  assert.throws(() => h.client.once('left', () => {}), TypeError);
  room.off('mesage', () => {});
});

test('a URL may be relative to the page; another is refused at once', async () => {
  globalThis.location = { href: 'https://game.example/play#lobby' };
  try {
    assert.deepEqual((await harness({ urls: ['/', 'http://a:1/x#y'] })).client.urls, ['wss://game.example/', 'ws://a:1/x']);
  } finally {
    delete globalThis.location;
  }
  for (const urls of ['', '/', 'ftp://a/', 'ws://', ['ws://a/', 'b']]) await assert.rejects(harness({ urls }), /want ws:\/\/HOST:PORT/);
});

test('a client that is closed does not wait for the gateway to go', async () => {
  const h = await harness();
  h.socket.up();
  h.socket.deliver(say.goAway(30_000, 0));
  h.client.close();
  assert.equal(h.clock.timers.size, 0);
});
