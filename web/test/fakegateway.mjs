// A stand-in for gateway, directory and dev mode in one process: serves the
// demo and speaks enough of limpet.v1 to play, break and resume. Not a server.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { FakePool } from './fakepool.mjs';
import { heard, say } from './unit/gateway.mjs';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const pools = new Map();
const sockets = new Set();
let nextHandle = 1;
let down = false;

const text = (b) => Buffer.from(b).toString();

class Session {
  constructor(ws) {
    this.ws = ws;
    this.rooms = new Map(); // handle -> {pool, member, instance, count}
    ws.on('message', (data) => this.#frame(new Uint8Array(data)));
    ws.on('close', () => { sockets.delete(this); for (const m of this.rooms.values()) this.#away(m); });
  }

  send(bytes) { if (this.ws.readyState === 1) this.ws.send(bytes); }

  #away(m) { if (m.pool.sinks.get(m.member) === m.sink) m.pool.sinks.delete(m.member); }

  #frame(bytes) {
    const f = heard(bytes);
    if (f.is === 'hello') { this.instance = Buffer.from(f.instance).toString('hex'); this.send(say.welcome({ gateway: 'gateway-1', minor: 1 })); }
    if (f.is === 'ping') this.send(say.pong(f.echo));
    if (f.is === 'list') this.send(say.rooms(f.ref, listing(f.kind)));
    if (f.is === 'browse') this.send(say.page(f.ref, listing(f.kind)));
    if (f.is === 'find') this.#join(f.ref, 'lobby', Math.floor(Math.random() * 2 ** 53), f.data, 'joined');
    if (f.is === 'join') this.#join(f.ref, f.name || 'lobby', Math.floor(Math.random() * 2 ** 53), f.data, 'joined');
    if (f.is === 'resume') {
      const [name, member] = f.token.split(' ');
      this.#join(f.ref, name, Number(member), f.data, f.epoch === 0 ? 'gap' : 'resumed', f.seq);
    }
    const m = this.rooms.get(f.handle);
    if (!m) return;
    if (f.is === 'input') this.#input(m, f, bytes.subarray(13));
    if (f.is === 'leave') { m.pool.leave(m.member); this.rooms.delete(f.handle); this.send(say.left(300, '', f.handle)); }
  }

  #join(ref, name, member, data, how, seq) {
    const pool = pools.get(name) ?? pools.set(name, new FakePool(name)).get(name);
    const handle = nextHandle++;
    const m = { pool, member, handle, data, count: 0 };
    m.sink = {
      message: (n, p) => { m.count += 1; this.send(say.message(n, p, handle)); },
      latest: (key, p) => this.send(say.latest(key, p, handle)),
    };
    this.rooms.set(handle, m);
    pool.attach(member, data, m.sink);
    const c = pool.state.counters[this.#key(m)] ?? 0;
    this.send(say.joined({ ref, handle, name, member, how, host: pool.host, epoch: pool.epoch, incarnation: pool.incarnation,
      seq: seq || pool.state.seq, count: 0, applied: c, durable: c, token: `${name} ${member}` }));
    if (how !== 'resumed' || seq !== pool.state.seq) pool.sync(member);
  }

  #key(m) { return `${m.member}/${this.instance}`; }

  #input(m, f, payload) {
    const counters = m.pool.state.counters, key = this.#key(m);
    const next = (counters[key] ?? 0) + 1;
    if (f.n < next) return;
    if (f.n > next) { this.send(say.expect(next, f.handle)); return; }
    counters[key] = f.n;
    m.pool.input(m.member, payload);
  }

  acks() {
    for (const m of this.rooms.values()) {
      const key = this.#key(m), { state, saved } = m.pool;
      this.send(say.ack(state.counters[key] ?? 0, saved.counters[key] ?? 0, m.count, m.handle));
    }
  }

  reattach(pool) {
    for (const m of this.rooms.values()) {
      if (m.pool !== pool) continue;
      const c = pool.state.counters[this.#key(m)] ?? 0;
      m.count = 0;
      pool.attach(m.member, m.data, m.sink);
      this.send(say.attached({ handle: m.handle, how: 'rewound', host: pool.host, epoch: pool.epoch, incarnation: pool.incarnation, seq: pool.state.seq, applied: c, durable: c }));
      pool.sync(m.member);
    }
  }
}

const listing = (kind) => (kind !== 'arena' ? [] : [...pools.values()].map((p) => {
  const leader = [...p.state.players].sort((a, b) => b.score - a.score)[0];
  return { room: `arena/${p.name}`, members: p.state.players.length, max: 50, open: true, labels: leader ? { leader: leader.name, score: `${leader.score}` } : {} };
}));

function kill(node) {
  for (const pool of pools.values()) {
    if (pool.host !== node) continue;
    pool.crash();
    setTimeout(() => { for (const s of sockets) s.reattach(pool); }, 350);
  }
}

function restart() {
  down = true;
  for (const s of sockets) s.ws.terminate();
  setTimeout(() => { down = false; }, 700);
}

async function serve(req, res) {
  const { pathname } = new URL(req.url, 'http://x');
  const json = (v) => res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(v));
  if (pathname === '/dev/status') {
    json({ dev: true, nodes: [{ name: 'gateway-1', role: 'gateway', pid: 100, state: down ? 'down' : 'up' },
      ...[1, 2, 3].map((i) => ({ name: `host-${i}`, role: 'host', pid: 100 + i, state: 'up' }))] });
  } else if (pathname === '/dev/kill') {
    const body = [];
    for await (const c of req) body.push(c);
    kill(JSON.parse(text(Buffer.concat(body))).node);
    json({});
  } else if (pathname === '/dev/restart-gateway') { restart(); json({}); } else {
    const path = normalize(pathname === '/' ? '/index.html' : pathname);
    const file = join(WEB, path.startsWith('/client/') ? path : `/demo${path}`);
    try {
      const body = await readFile(file);
      res.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-security-policy': CSP }).end(body);
    } catch { res.writeHead(404).end(); }
  }
}

const server = createServer(serve);
const wss = new WebSocketServer({ noServer: true, handleProtocols: () => 'limpet.v1' });
server.on('upgrade', (req, socket, head) => {
  if (down) { socket.destroy(); return; }
  wss.handleUpgrade(req, socket, head, (ws) => sockets.add(new Session(ws)));
});
setInterval(() => { for (const p of pools.values()) p.tick(); }, 50);
setInterval(() => { for (const s of sockets) s.acks(); }, 100);
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
