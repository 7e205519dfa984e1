// Two players in a real browser against a running cluster in dev mode: they see
// each other move, and keep name, place and score through every break.
//   LIMPET_URL=http://127.0.0.1:8080/ node browser.mjs [folder for screenshots]
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const base = process.env.LIMPET_URL ?? 'http://127.0.0.1:8080/';
const shots = process.argv[2] ?? process.env.LIMPET_SHOTS ?? '';
const chrome = process.env.LIMPET_CHROMIUM ?? '/usr/bin/chromium';
const NEAR = 60; // world units: a limpet's width and a half
const PATIENCE = 20_000;

if (shots) mkdirSync(shots, { recursive: true });

const browser = await chromium.launch({
  executablePath: chrome,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const errors = [];
let failed = false;

/** Asks the page until what it answers is fine. */
async function until(what, page, fn, arg, ms = PATIENCE) {
  try {
    await page.waitForFunction(fn, arg, { timeout: ms, polling: 50 });
  } catch {
    const seen = await page.evaluate(() => JSON.stringify({ ...window.limpetDemo, shells: [], players: window.limpetDemo.players }, null, 1)).catch(String);
    throw new Error(`${what}: not within ${ms} ms; the page has ${seen}`);
  }
}

const look = (page) => page.evaluate(() => ({ me: window.limpetDemo.me, own: window.limpetDemo.own, score: window.limpetDemo.score, epoch: window.limpetDemo.epoch,
  host: window.limpetDemo.host, players: window.limpetDemo.players, inputs: window.limpetDemo.inputs, events: window.limpetDemo.events.length, stats: window.limpetDemo.stats }));

async function player(name, pool, viewport) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  page.on('pageerror', (err) => errors.push(`${name}: ${err.stack ?? err}`));
  page.on('console', (m) => { if (m.type() === 'error' && /Content Security|Uncaught|SyntaxError/.test(m.text())) errors.push(`${name}: ${m.text()}`); });
  await page.goto(new URL(`#${pool}`, base).href);
  await page.fill('#name', name);
  await page.click('#play');
  await until(`${name} plays`, page, () => window.limpetDemo.state === 'joined' && window.limpetDemo.me?.x > 0 && window.limpetDemo.own);
  return page;
}

/** Walks to a place with the arrow keys, as a person would. */
async function walk(page, to, near = 30) {
  const held = new Set();
  const hold = async (key, want) => {
    if (want && !held.has(key)) { held.add(key); await page.keyboard.down(key); }
    if (!want && held.delete(key)) await page.keyboard.up(key);
  };
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    const p = await page.evaluate(() => window.limpetDemo.own);
    const dx = to.x - p.x, dy = to.y - p.y;
    if (Math.hypot(dx, dy) < near) break;
    await hold('ArrowRight', dx > 12); await hold('ArrowLeft', dx < -12);
    await hold('ArrowDown', dy > 12); await hold('ArrowUp', dy < -12);
  }
  for (const key of [...held]) await hold(key, false);
  const p = await page.evaluate(() => window.limpetDemo.own);
  assert.ok(Math.hypot(to.x - p.x, to.y - p.y) < near * 2.5, `walked to ${JSON.stringify(p)}, wanted ${JSON.stringify(to)}`);
}

/** Gathers shells until the score is at least that. */
async function gather(page, score) {
  for (let i = 0; i < 30 && (await look(page)).score < score; i++) {
    const nearest = await page.evaluate(() => {
      const { own, shells } = window.limpetDemo;
      return shells.toSorted((a, b) => Math.hypot(a.x - own.x, a.y - own.y) - Math.hypot(b.x - own.x, b.y - own.y))[0];
    });
    if (nearest) await walk(page, nearest, 22).catch(() => {});
  }
  assert.ok((await look(page)).score >= score, 'could gather no shells');
}

/** Sits down on a rock, where the tide moves nobody. It may sweep one away on
 * the way there: then it is walked again. */
async function settle(page, rock) {
  const [x, y] = await page.evaluate((i) => window.limpetDemo.rocks[i], rock);
  const clings = () => window.limpetDemo.me.clinging && window.limpetDemo.inputs.kept === 0;
  for (let tries = 4; ; tries--) {
    await walk(page, { x, y }).catch((err) => { if (tries === 0) throw err; });
    try {
      return await until('it clings', page, clings, undefined, PATIENCE / 2);
    } catch (err) {
      if (tries === 0) throw err;
    }
  }
}

/** A third player clicks through the lobby: sees it change, turns its pages,
 * asks for seats, joins from the list, and is given any pool. */
async function lobby(ann, pool) {
  const context = await browser.newContext({ viewport: { width: 900, height: 800 } });
  const page = await context.newPage();
  page.on('pageerror', (err) => errors.push(`lobby: ${err.stack ?? err}`));
  await page.goto(base);
  const row = (name) => page.locator('#pools button', { hasText: name });
  await row(pool).waitFor({ timeout: PATIENCE });
  await page.waitForFunction(() => document.querySelector('#pools').dataset.hosts === '3/3', null, { timeout: PATIENCE });
  assert.match(await row(pool).innerText(), /2 \/ 50/);
  await page.fill('#name', 'Cid');
  await row(pool).click();
  await until('Cid plays in the pool of the list', page, (id) => window.limpetDemo.state === 'joined' && window.limpetDemo.room === id, `arena/${pool}`);
  await page.click('#out');
  await until('Cid is in the lobby again', page, () => window.limpetDemo.state === 'lobby');

  // Seven more pools, made behind its back, come up by themselves, on two pages.
  await page.evaluate(async (tag) => {
    const { connect } = await import('./client/limpet.js');
    window.others = connect(location.href.replace(/^http/, 'ws').replace(/#.*/, ''));
    for (let i = 0; i < 7; i++) await window.others.join('arena', `aaa-${tag}-${i}`, { data: { name: 'Dan', hue: 18 } });
  }, pool);
  await row(`aaa-${pool}-5`).waitFor({ timeout: PATIENCE });
  assert.equal(await page.locator('#pools button').count(), 6);
  await shot(page, 'lobby');
  await page.click('#more');
  await row(`aaa-${pool}-6`).waitFor({ timeout: PATIENCE });
  await page.click('#back');
  await row(`aaa-${pool}-0`).waitFor({ timeout: PATIENCE });
  await page.selectOption('#party', '20');
  await row(`aaa-${pool}-0`).waitFor({ timeout: PATIENCE });
  await page.evaluate(() => { history.replaceState(null, '', location.pathname); window.dispatchEvent(new HashChangeEvent('hashchange')); });
  await page.click('#play');
  await until('Cid is given a pool', page, () => window.limpetDemo.state === 'joined' && window.limpetDemo.me);
  const given = (await page.evaluate(() => window.limpetDemo.room));
  await page.reload();
  await until('a reload takes Cid up again there', page, (id) => window.limpetDemo.state === 'joined' && window.limpetDemo.room === id, given);
  console.log(`ok: the lobby is live, has pages, and gives ${given}`);
  await context.close();
}

async function shot(page, name) { if (shots) await page.screenshot({ path: join(shots, `${name}.png`) }); }

const pool = `test-${Date.now().toString(36)}`;
try {
  const ann = await player('Ann', pool, { width: 1280, height: 800 });
  const bob = await player('Bob', pool, { width: 412, height: 860 });
  await until('Ann sees Bob', ann, () => window.limpetDemo.players.some((p) => p.name === 'Bob' && !p.me));
  await until('Bob sees Ann', bob, () => window.limpetDemo.players.some((p) => p.name === 'Ann' && !p.me));

  for (const [mover, name, watcher] of [[ann, 'Ann', bob], [bob, 'Bob', ann]]) {
    const before = (await look(watcher)).players.find((p) => p.name === name);
    const to = { x: before.x > 800 ? before.x - 250 : before.x + 250, y: before.y };
    await walk(mover, to, 40);
    await until(`${name} is seen moving`, watcher, ([n, x]) => Math.abs(window.limpetDemo.players.find((p) => p.name === n).x - x) > 120, [name, before.x]);
  }
  console.log('ok: both see each other move');
  await gather(ann, 3);
  await gather(bob, 2);
  await settle(ann, 0);
  await settle(bob, 1);
  await shot(ann, 'playing-wide');
  await shot(bob, 'playing-phone');

  const breaks = [
    { what: 'drop', all: false, wait: () => window.limpetDemo.events.slice(window.before).some((e) => e.kind === 'resumed') },
    { what: 'host', all: true, wait: () => window.limpetDemo.epoch > window.epochBefore && window.limpetDemo.events.slice(window.before).some((e) => e.kind === 'moved') },
    { what: 'gateway', all: true, wait: () => window.limpetDemo.events.slice(window.before).some((e) => e.kind === 'resumed') },
  ];
  await until('dev mode', ann, () => window.limpetDemo.dev?.length > 0);
  for (const { what, all, wait } of breaks) {
    const pages = { Ann: ann, Bob: bob };
    const was = {};
    for (const [name, page] of Object.entries(pages)) {
      was[name] = await look(page);
      await page.evaluate(() => { window.before = window.limpetDemo.events.length; window.epochBefore = window.limpetDemo.epoch; });
    }
    await ann.evaluate(() => { document.querySelector('#session').open = true; });
    const began = Date.now();
    await ann.click(`[data-break=${what}]`);
    for (const [name, page] of Object.entries(pages)) if (all || page === ann) await until(`${name} is back after ${what}`, page, wait);
    const took = Date.now() - began;
    for (const [name, page] of Object.entries(pages)) await kept(name, page, was[name], pages);
    await shot(ann, `after-${what}`);
    console.log(`ok: ${what}: name, place and score kept (${took} ms)`);
  }
  await lobby(ann, pool);
  // And all of it still plays.
  const from = (await look(ann)).me;
  await walk(ann, { x: from.x + 200, y: from.y + 120 }, 40);
  await until('Bob sees Ann after it all', bob, ([x]) => window.limpetDemo.players.find((p) => p.name === 'Ann').x - x > 100, [from.x]);
  await bob.reload();
  await until('a reload takes Bob up again', bob, (id) => window.limpetDemo.state === 'joined' && window.limpetDemo.me?.id === id, (await look(ann)).players.find((p) => p.name === 'Bob').id);
  await shot(bob, 'reloaded-phone');
  console.log('ok: play goes on, and a reload comes back to the same limpet');
  assert.deepEqual(errors, []);
} catch (err) {
  failed = true;
  console.error(`FAILED: ${err.message}`);
  for (const e of errors) console.error(`page error: ${e}`);
  for (const [i, c] of browser.contexts().entries()) for (const page of c.pages()) await shot(page, `failed-${i}`).catch(() => {});
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);

/** Name, place and score are as they were, in the own page and in the other's. */
async function kept(name, page, was, pages) {
  await until(`${name} is connected and up to date`, page, () => window.limpetDemo.state === 'joined' && window.limpetDemo.inputs.kept === 0);
  const now = await look(page);
  assert.equal(now.me.name, name);
  assert.equal(now.me.id, was.me.id, 'the same member');
  assert.ok(now.score >= was.score, `${name}'s score fell from ${was.score} to ${now.score}`);
  assert.ok(now.epoch >= was.epoch);
  const moved = Math.hypot(now.me.x - was.me.x, now.me.y - was.me.y);
  assert.ok(moved < NEAR, `${name} was moved by ${Math.round(moved)}`);
  for (const [other, p] of Object.entries(pages)) {
    if (other === name) continue;
    await until(`${other} sees ${name} where it was`, p, ([n, x, y, near]) => {
      const seen = window.limpetDemo.players.find((q) => q.name === n);
      return seen && !seen.away && Math.hypot(seen.x - x, seen.y - y) < near;
    }, [name, was.me.x, was.me.y, NEAR]);
  }
}
