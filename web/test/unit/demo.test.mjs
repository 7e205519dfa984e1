import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { unhex } from '../../client/persist.js';
import { isAfter, Model } from '../../demo/model.js';
import { decodeSnapshot } from '../../demo/snapshot.js';
import { decodeStep, encodeStep, move } from '../../demo/step.js';

const golden = JSON.parse(readFileSync(new URL('../../../games/arena/testdata/golden.json', import.meta.url), 'utf8'));

test('movement is the same here as in the server, to the last bit', () => {
  const p = { x: golden.start[0], y: golden.start[1], vx: 0, vy: 0, cool: 0 };
  golden.steps.forEach((s, i) => {
    move(p, decodeStep(unhex(s.input)), golden.rocks);
    assert.deepEqual({ ...p }, { x: s.x, y: s.y, vx: s.vx, vy: s.vy, cool: s.cool }, `step ${i}`);
  });
});

test('steps encode to what the server decodes', () => {
  assert.deepEqual([...encodeStep(65536 + 258, -1, 0.5, true)], [1, 1, 2, 129, 64, 1]);
  const w = decodeStep(encodeStep(7, 1, 1, false));
  assert.ok(Math.abs(Math.hypot(w.dx, w.dy) - 1) < 1e-9);
  assert.equal(w.dash, false);
});

test('snapshots decode', () => {
  const s = decodeSnapshot(unhex(golden.snapshot));
  assert.equal(s.tick, golden.state.Clock);
  const [ann, bob] = s.players;
  const want = golden.state.Players[0];
  assert.deepEqual([ann.slot, ann.away, ann.step, ann.cool, ann.string, ann.score], [3, false, want.Step, want.Cool, 7, 70000]);
  assert.ok(Math.abs(ann.x - want.X) <= 1 / 80 && Math.abs(ann.vx - want.VX) <= 1 / 512);
  assert.deepEqual([bob.slot, bob.away, bob.clinging, bob.x, bob.y, bob.vx], [0, true, true, 1582, 18, -3.5]);
});

test('what is no snapshot is ignored', () => {
  assert.equal(decodeSnapshot(new Uint8Array(0)), null);
  assert.equal(decodeSnapshot(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0)), null);
  assert.equal(decodeSnapshot(unhex(golden.snapshot).subarray(0, 30)), null);
});

const FULL = {
  t: 'full', you: 11, slot: 0, rocks: [], tide: [460, 160, 180, 100],
  players: [{ id: 11, slot: 0, name: 'Ann', hue: 1, score: 4 }, { id: 12, slot: 1, name: 'Bob', hue: 2, score: 0 }],
  shells: [[1, 100, 100, 0], [2, 200, 200, 1]],
};

/** A model with a server beside it that takes steps when told. */
function world() {
  const model = new Model();
  model.full(FULL);
  const server = { me: { x: 400, y: 400, vx: 0, vy: 0, cool: 0, step: 0 }, bob: { x: 900, y: 500, vx: 0, vy: 0 }, tick: 100, sent: [] };
  const w = {
    model, server,
    snapshot(now = server.tick * 50) {
      const common = { away: false, clinging: false, swept: false, string: 0, score: 4 };
      model.snapshot({ tick: server.tick, tide: 0, current: 0, players: [{ ...server.me, slot: 0, ...common }, { ...server.bob, slot: 1, step: 0, cool: 0, ...common }] }, now);
    },
    step(n, dx, dy, dash = false) { server.sent.push([n, model.step(n, { dx, dy, dash })]); },
    take(count = server.sent.length) {
      for (const [n, bytes] of server.sent.splice(0, count)) { move(server.me, decodeStep(bytes), []); server.me.step = n & 0xffff; }
    },
  };
  w.snapshot();
  return w;
}

const apart = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

test('the own limpet is where the server will have it, whatever is on the way', () => {
  const w = world();
  for (let n = 1; n <= 40; n++) {
    w.step(n, Math.sin(n), 0.3, n % 13 === 0);
    if (n % 3 === 0) w.take(2);
    w.server.tick += 1;
    w.snapshot();
  }
  const guess = { ...w.model.own };
  w.take();
  assert.ok(apart(guess, w.server.me) < 1e-6, `off by ${apart(guess, w.server.me)}`);
});

test('what the server did besides is taken in, and what is drawn does not jump', () => {
  const w = world();
  w.model.pose(5000, 1, 16);
  const before = { x: w.model.me.x, y: w.model.me.y };
  w.server.me.x += 50; // somebody pushed
  w.server.tick += 1;
  w.snapshot();
  assert.equal(w.model.own.x, 450);
  w.model.pose(5016, 1, 1);
  assert.ok(apart(before, w.model.me) < 3, `jumped by ${apart(before, w.model.me)}`);
  for (let i = 0; i < 60; i++) w.model.pose(5016 + i * 16, 1, 16);
  assert.ok(Math.abs(w.model.me.x - 450) < 0.5);
});

test('a restored room gets the same steps again and nothing moves', () => {
  const w = world();
  for (let n = 1; n <= 20; n++) w.step(n, 1, 0);
  const all = [...w.server.sent];
  const saved = { ...w.server.me };
  w.take();
  w.server.tick += 20;
  w.snapshot();
  const before = { ...w.model.own };
  Object.assign(w.server.me, saved); // a crash: back to the checkpoint, ...
  w.server.tick -= 15;
  w.snapshot();
  assert.ok(apart(before, w.model.own) < 1e-6, 'the steps since the checkpoint are taken on top');
  w.server.sent = all; // ... and the client's steps are sent again
  w.take();
  w.snapshot();
  assert.ok(apart(before, w.model.own) < 1e-6);
});

test('durable steps are forgotten, and the history is bounded', () => {
  const w = world();
  for (let n = 1; n <= 600; n++) w.step(n, 1, 0);
  assert.equal(w.model.history.length, 512);
  w.model.settle(590);
  assert.deepEqual(w.model.history.map((h) => h.n), [591, 592, 593, 594, 595, 596, 597, 598, 599, 600]);
});

test('too far ahead of the server the own limpet waits', () => {
  const { model } = world();
  assert.equal(model.mayStep(10, 5), true);
  assert.equal(model.mayStep(200, 50), false);
});

test('a limpet at rest sends nothing', () => {
  const { model } = world();
  const none = { dx: 0, dy: 0, dash: false };
  assert.equal(model.wantsStep(none), false);
  assert.equal(model.wantsStep({ dx: 1, dy: 0, dash: false }), true);
  model.own.vx = 2;
  assert.equal(model.wantsStep(none), true);
});

test('others are drawn between two snapshots, evenly', () => {
  const w = world();
  w.model.me.seen = false;
  let last = null;
  const speeds = [];
  for (let now = 5000; now < 7000; now += 10) {
    if (now % 50 === 0) { w.server.tick += 1; w.server.bob.x += 10; w.snapshot(now + (now % 150) / 10); }
    w.model.pose(now, 1, 10);
    const bob = w.model.players.get(1);
    if (last !== null && now > 5500) speeds.push(bob.x - last);
    last = bob.x;
  }
  assert.ok(speeds.length > 100);
  for (const v of speeds) assert.ok(v > 1 && v < 3, `moved ${v} in 10 ms, wanted about 2`);
});

test('without snapshots others stop soon, and glide on when they come again', () => {
  const w = world();
  for (let i = 0; i < 10; i++) { w.server.tick += 1; w.server.bob.x += 10; w.snapshot(); }
  const at = w.server.tick * 50;
  w.model.pose(at + 2000, 1, 16);
  const stopped = w.model.players.get(1).x;
  assert.ok(stopped <= w.server.bob.x + 25);
  w.model.forget();
  w.server.bob.x += 120;
  w.server.tick -= 5;
  w.snapshot(at + 2016);
  w.model.pose(at + 2016, 1, 16);
  assert.ok(Math.abs(w.model.players.get(1).x - stopped) < 40, 'no jump');
  for (let i = 1; i < 60; i++) w.model.pose(at + 2016 + i * 16, 1, 16);
  assert.ok(Math.abs(w.model.players.get(1).x - w.server.bob.x) < 1);
});

test('shells come and go with their scores', () => {
  const { model } = world();
  const gone = model.tookShells({ taken: [[2, 1, 5], [99, 0, 7]], new: [[3, 1, 2, 1]] });
  assert.deepEqual(gone, [{ id: 2, x: 200, y: 200, pearl: true, slot: 1 }]);
  assert.deepEqual([...model.shells.keys()], [1, 3]);
  assert.deepEqual([model.players.get(1).score, model.players.get(0).score], [5, 7]);
});

test('players come, go, and keep their look through a full state', () => {
  const { model } = world();
  model.joined({ id: 13, slot: 2, name: 'Kai', hue: 9 });
  model.pose(5000, 1, 16);
  const bob = model.players.get(1);
  model.full({ ...FULL, players: [...FULL.players, { id: 99, slot: 2, name: 'New', hue: 3, score: 1 }] });
  assert.equal(model.players.get(1).x, bob.x);
  assert.equal(model.players.get(2).name, 'New');
  assert.equal(model.players.get(2).seen, false);
  model.leave({ slot: 2 });
  assert.equal(model.players.size, 2);
});

test('the tide has its phases', () => {
  const { model } = world();
  const at = (tick) => { model.tick = tick; return model.phase(); };
  assert.deepEqual(at(0), { name: 'out', left: 23 });
  assert.deepEqual(at(460), { name: 'rising', left: 8 });
  assert.deepEqual(at(900 + 620), { name: 'high', left: 9 });
  assert.deepEqual(at(899), { name: 'falling', left: 0.05 });
});

test('16-bit numbers compare across their wrap', () => {
  assert.ok(isAfter(1, 0) && isAfter(65536, 65535) && isAfter(65540, 65530));
  assert.ok(!isAfter(5, 5) && !isAfter(65535, 65536) && !isAfter(0, 1));
});
