// The operator's page in a real browser against a running cluster in dev mode:
// it shows hosts, rooms and members, and has them moved, kicked and closed.
//   LIMPET_URL=http://127.0.0.1:8080/ LIMPET_CONSOLE=http://127.0.0.1:7412/console/ node console.mjs [folder for screenshots]
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const demo = process.env.LIMPET_URL ?? 'http://127.0.0.1:8080/';
const at = process.env.LIMPET_CONSOLE ?? 'http://127.0.0.1:7412/console/';
const shots = process.argv[2] ?? process.env.LIMPET_SHOTS ?? '';
const ROOM = 'arena/console-test';

if (shots) mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.LIMPET_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const errors = [];

async function open(url, viewport = { width: 1366, height: 900 }) {
  const page = await (await browser.newContext({ viewport })).newPage();
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (err) => errors.push(String(err.stack ?? err)));
  page.on('console', (m) => { if (m.type() === 'error' && /Content Security|Uncaught|SyntaxError/.test(m.text())) errors.push(m.text()); });
  await page.goto(url);
  return page;
}
const shoot = (page, name) => (shots ? page.screenshot({ path: join(shots, `${name}.png`) }) : null);
const until = (page, fn, arg) => page.waitForFunction(fn, arg, { polling: 50 });
const confirm = (page) => page.click('#ask-ok');

try {
  const player = await open(new URL(`#${ROOM.split('/')[1]}`, demo).href);
  await player.fill('#name', 'ann');
  await player.click('#play');
  await until(player, () => window.limpetDemo.state === 'joined');

  const page = await open(at);
  await until(page, () => document.body.dataset.state === 'live');
  assert.equal(await page.locator('#hosts tbody tr').count(), 3);
  assert.ok(await page.locator('#gateways tbody tr').count() >= 1);
  assert.ok(await page.locator('#ring path').count() >= 256, 'the ring lacks partitions');
  await until(page, () => /^[1-9]/.test(document.querySelector('#tile-rooms b').textContent));
  await until(page, () => document.querySelector('#tile-rooms path').getAttribute('d')?.includes('L'));
  await shoot(page, 'console');

  // Search, and look into a room.
  await page.fill('#search', 'console-test');
  await until(page, () => document.querySelectorAll('#rooms tbody tr').length === 1);
  await page.click('#rooms tbody tr');
  const facts = page.locator('#room-body .fact');
  await facts.first().waitFor();
  const was = await page.locator('#room-body .fact', { hasText: /^host/ }).locator('b').textContent();
  assert.equal(await page.locator('#room-body h3').first().textContent(), 'Members');
  assert.equal(await page.locator('#room-body button', { hasText: 'Kick' }).count(), 1);
  await shoot(page, 'console-room');

  // Move it: the same room, another owner, and the player plays on.
  await page.click('#room-body button:has-text("Move")');
  const to = await page.inputValue('#ask-input');
  assert.notEqual(to, was);
  await confirm(page);
  await until(page, ([host]) => [...document.querySelectorAll('#room-body table:last-of-type tbody tr')].some((r) => r.cells[0].textContent === host && r.cells[4].textContent === 'now'), [to]);
  await until(page, () => [...document.querySelectorAll('#room-body td')].some((c) => c.textContent === 'moved'));
  assert.equal(await player.evaluate(() => window.limpetDemo.state), 'joined');
  await page.click('#room [data-close]');

  // Drain its host, see it empty, and give it back.
  const row = page.locator('#hosts tbody tr', { hasText: to });
  await row.locator('[data-do=drain]').click();
  await confirm(page);
  await until(page, ([host]) => [...document.querySelectorAll('#hosts tbody tr')].some((r) => r.cells[0].textContent.includes(host) && r.querySelector('.state').textContent === 'drained' && r.cells[1].textContent === '0'), [to]);
  await shoot(page, 'console-drained');
  await row.locator('[data-do=cancel]').click();
  await confirm(page);
  await until(page, ([host]) => [...document.querySelectorAll('#hosts tbody tr')].some((r) => r.cells[0].textContent.includes(host) && r.querySelector('.state').textContent === ''), [to]);

  // Restart it in place: the program that follows says so.
  await row.locator('[data-do=restart]').click();
  await confirm(page);
  await until(page, async ([host]) => {
    const r = await fetch(`/v1/restart?host=${host}`);
    return r.ok && (await r.json()).last?.restarts === 1;
  }, [to]);
  await until(page, ([host]) => [...document.querySelectorAll('#hosts tbody tr')].some((r) => r.cells[0].textContent.includes(host) && r.querySelector('.state').textContent === ''), [to]);

  // Kick the player, and close the room.
  await page.click('#rooms tbody tr');
  await page.click('#room-body button:has-text("Kick")');
  await page.fill('#ask-input', 'a test');
  await confirm(page);
  await until(page, () => document.querySelectorAll('#room-body button').length > 0 && ![...document.querySelectorAll('#room-body button')].some((b) => b.textContent === 'Kick'));
  await until(player, () => window.limpetDemo.state !== 'joined');
  await page.click('#room-body button:has-text("Close room")');
  await confirm(page);
  await until(page, () => document.querySelector('#room-body').textContent.includes('lives on no host now'));
  assert.ok(await page.locator('#room-body td', { hasText: /^closed$/ }).count() >= 1);

  // On a phone nothing but tables is wider than the screen.
  const phone = await open(at, { width: 390, height: 844 });
  await until(phone, () => document.body.dataset.state === 'live');
  assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'the page is wider than a phone');
  assert.ok(await phone.locator('#hosts [data-do=drain]').first().isVisible());
  await shoot(phone, 'console-phone');

  // Where a token is asked for, the page asks for it and sends it along.
  const locked = await (await browser.newContext()).newPage();
  await locked.route('**/v1/**', (route) => (route.request().headers().authorization === 'Bearer sesame'
    ? route.continue() : route.fulfill({ status: 401, json: { error: 'a token is required' } })));
  await locked.goto(at);
  await locked.waitForSelector('#ask[open]', { timeout: 20_000 });
  await locked.fill('#ask-input', 'sesame');
  await confirm(locked);
  await until(locked, () => document.body.dataset.state === 'live');

  assert.deepEqual(errors, []);
  console.log('ok console');
} catch (err) {
  console.error(err);
  console.error('errors in pages:', errors);
  process.exitCode = 1;
} finally {
  await browser.close();
}
