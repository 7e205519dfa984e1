import { Backoff } from './backoff.js';
import { encode, Mode, SUBPROTOCOL, toBytes, Type } from './codec.js';
import { isFinalClose, LimpetError } from './codes.js';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { memo } from './persist.js';
import { Room } from './room.js';
import { filterBytes, roomList, Watch } from './watch.js';

const STABLE_MS = 10_000; // a connection this old starts the back-off anew
const REQUEST_MS = 10_000;
const MAX_INPUT = 16 << 10;
const EVENTS = ['open', 'dropped', 'waiting', 'goaway', 'closed', 'error'];

const defaultEnv = () => ({
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (t) => clearTimeout(t),
  now: () => performance.now(),
  random: Math.random,
});

/** A connection to a cluster, kept up through whichever gateway answers. */
export class Client extends Emitter {
  #rooms = new Set();
  #lists = new Map(); // ref -> request
  #watches = new Set();
  #ref = 0;
  #connection = null;
  #retry = null;
  #turn = 0; // which URL is next
  #unwatch = () => {};

  constructor(urls, options = {}) {
    super(EVENTS);
    this.urls = [urls].flat().map(socketURL);
    if (this.urls.length === 0) throw new TypeError('connect: no URL given');
    this.options = options;
    this.env = { ...defaultEnv(), ...options.env };
    this.backoff = new Backoff({ ...options.backoff, random: this.env.random });
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.WebSocket) throw new TypeError('no WebSocket here: pass one as options.WebSocket (in Node 20, the package "ws")');
    this.instance = options.instance ?? globalThis.crypto.getRandomValues(new Uint8Array(16));
    if (this.instance.length !== 16) throw new RangeError(`instance of ${this.instance.length} bytes: want 16`);
    this.#turn = Math.floor(this.env.random() * this.urls.length);
    this.state = 'connecting'; // 'open', 'waiting' for the next attempt, 'closed'
    this.gateway = '';
    this.attempts = 0;
    this.#unwatch = watchPage(() => this.wake(), () => this.#saveAll());
    this.#connect();
  }

  get rtt() { return this.#connection?.rtt ?? null; }
  get stats() {
    return { state: this.state, gateway: this.gateway, url: this.url ?? '', rtt: this.rtt, attempts: this.attempts, rooms: this.#rooms.size };
  }

  /** Becomes a member of a room; rejects with a LimpetError if it may not. */
  join(kind, name = '', { data, mode = name ? 'joinOrCreate' : 'any', filter, persist = false, position = 'fresh', limits } = {}) {
    if (this.state === 'closed') return Promise.reject(new LimpetError(300, 'this client is closed'));
    if (!(mode in Mode)) return Promise.reject(new TypeError(`mode ${mode}: want ${Object.keys(Mode).join(', ')}`));
    if (filter && mode !== 'any') return Promise.reject(new TypeError(`a filter with mode ${mode}: it is for any room of a kind`));
    let room;
    try {
      const saves = persist ? memo(persist === true ? globalThis.sessionStorage : persist, `limpet:${kind}/${name}`) : null;
      const saved = saves?.load() ?? null;
      if (saved && position !== 'kept') saved.at = null;
      room = new Room(this.#link(), { kind, name, mode, filter: filterBytes(filter), data, memo: saves, saved, limits });
    } catch (err) {
      return Promise.reject(err);
    }
    this.#rooms.add(room);
    if (this.state === 'open') this.#request(room);
    return room.ready;
  }

  /** Joinable rooms of a kind, by name, with how complete that is. */
  rooms(kind, { most = 100, after = '', filter } = {}) {
    return new Promise((resolve, reject) => {
      if (this.state === 'closed') { reject(new LimpetError(300, 'this client is closed')); return; }
      const ref = this.#nextRef();
      const query = { ref, kind, most, after, filter: filterBytes(filter) };
      encode.browse(query); // throws here, before anything waits, what can't be said
      const timer = this.env.setTimeout(() => this.#listed(ref, null, new LimpetError(204)), REQUEST_MS);
      this.#lists.set(ref, { resolve, reject, timer, query });
      if (this.state === 'open') this.#askList(query);
    });
  }

  /**
   * Shows joinable rooms of a kind, and shows them again whenever they have
   * changed, about once a second at most. Returns a function that stops it.
   */
  watch(kind, options, show, failed) {
    if (this.state === 'closed') throw new LimpetError(300, 'this client is closed');
    const client = this;
    const w = new Watch({
      env: this.env,
      get minor() { return client.#minor; },
      send: (bytes) => client.#connection?.send(bytes),
      nextRef: () => client.#nextRef(),
      forget: (watch) => client.#watches.delete(watch),
    }, kind, options, show, failed);
    this.#watches.add(w);
    if (this.state === 'open') w.ask();
    return () => w.stop();
  }

  get #minor() { return this.#connection?.welcome?.minor ?? 0; }

  // Gateways of the first minor version have lists alone.
  #askList(query) {
    if (this.#minor >= 1) this.#connection.send(encode.browse(query));
    else if (query.filter.length === 0 && query.after === '') this.#connection.send(encode.list(query));
    else this.#listed(query.ref, null, new LimpetError(203, 'the gateway is of an older version, without filters'));
  }

  /** Ends the connection and the back-off. Memberships are not left: their places are kept for the grace. */
  close() {
    if (this.state === 'closed') return;
    this.#saveAll();
    this.#finish(new LimpetError(300, 'the client was closed'), false);
  }

  /** For tests and demos: kills the socket as a broken network would. */
  drop() { this.#connection?.end('dropped on purpose'); }

  /** A good moment to look: the page is visible or the network is back. */
  wake() {
    if (this.state === 'waiting') this.#connect();
    else this.#connection?.probe(2_000);
  }

  // What a room may ask of its client.
  #link() {
    const client = this;
    return {
      env: this.env,
      get open() { return client.state === 'open'; },
      get minor() { return client.#minor; },
      get rtt() { return client.rtt; },
      get buffered() { return client.#connection?.buffered ?? 0; },
      get inputLimit() { return client.#connection?.welcome?.inputLimit || client.inputLimit || MAX_INPUT; },
      send: (bytes) => client.#connection?.send(bytes),
      request: (room) => client.#request(room),
      reconnect: (why) => client.#connection?.end(why),
      forget: (room) => client.#rooms.delete(room),
    };
  }

  #nextRef() { this.#ref = (this.#ref % 0xffffffff) + 1; return this.#ref; }

  async #connect() {
    this.env.clearTimeout(this.#retry);
    this.#retry = null;
    this.state = 'connecting';
    this.attempts += 1;
    this.url = this.urls[this.#turn++ % this.urls.length];
    let connection;
    try {
      const hello = encode.hello({ instance: this.instance, token: toBytes(await this.#token()), agent: this.options.agent ?? 'limpet-js/1' });
      if (this.state !== 'connecting') return;
      const socket = new this.WebSocket(this.url, SUBPROTOCOL);
      connection = new Connection({
        url: this.url, socket, env: this.env, hello,
        helloMs: this.options.helloMs ?? 15_000, pingMs: this.options.pingMs ?? 2_000,
        onWelcome: (w) => this.#welcomed(connection, w),
        onFrame: (f) => this.#frame(connection, f),
        onEnd: (end) => this.#ended(connection, end),
      });
      this.#connection = connection;
    } catch (err) {
      this.#tryLater({ why: err.message, code: 1006, text: '' });
    }
  }

  #token() {
    const { token } = this.options;
    return typeof token === 'function' ? token() : token;
  }

  #welcomed(connection, welcome) {
    this.state = 'open';
    this.gateway = welcome.gateway;
    this.inputLimit = welcome.inputLimit;
    this.openedAt = this.env.now();
    this.emit('open', { gateway: welcome.gateway, url: connection.url });
    for (const room of this.#rooms) this.#request(room);
    for (const { query } of [...this.#lists.values()]) this.#askList(query);
    for (const w of this.#watches) w.ask();
  }

  #request(room) {
    if (this.state !== 'open') return;
    const bytes = room._request(this.#nextRef());
    if (bytes) this.#connection.send(bytes);
  }

  #ended(connection, end) {
    if (connection !== this.#connection) return;
    this.#connection = null;
    this.env.clearTimeout(this.#leaving);
    if (this.state === 'closed') return;
    if (this.state === 'open' && this.env.now() - this.openedAt > STABLE_MS) this.backoff.reset();
    const wasOpen = this.state === 'open';
    if (isFinalClose(end.code)) { this.#finish(new LimpetError(end.code, end.text), true); return; }
    this.#tryLater(end);
    if (wasOpen) this.emit('dropped', end);
    for (const w of this.#watches) w.dropped();
    for (const room of [...this.#rooms]) this.#roomDropped(room, end);
  }

  // A create whose answer is lost must not be asked again: it may have happened.
  #roomDropped(room, end) {
    if (room.state === 'joining' && room._ref && room._mode === 'create' && !room._token) {
      room._over(204, 'the connection broke before the answer came');
    } else room._dropped(end);
  }

  #tryLater(end) {
    if (this.state === 'closed') return;
    this.state = 'waiting';
    const ms = this.#goAwayIn ?? this.backoff.next();
    this.#goAwayIn = null;
    this.emit('waiting', { ...end, ms });
    this.#retry = this.env.setTimeout(() => this.#connect(), ms);
  }

  #goAwayIn = null;
  #leaving = null;

  // The gateway names a time; the client draws its own moment in the spread,
  // and then moves over without a further wait.
  #goAway(connection, f) {
    const ms = f.afterMs + Math.floor(this.env.random() * f.spreadMs);
    this.emit('goaway', { ms });
    this.env.clearTimeout(this.#leaving);
    this.#leaving = this.env.setTimeout(() => {
      if (connection !== this.#connection) return;
      this.#goAwayIn = 0;
      connection.end('the gateway goes away', 4000);
    }, ms);
  }

  #frame(connection, f) {
    if (connection !== this.#connection) return;
    switch (f.type) {
      case Type.Joined: this.#byRef(f.ref)?._joined(f, this.gateway); break;
      case Type.Rooms: this.#listed(f.ref, f); break;
      case Type.Page: this.#paged(f); break;
      case Type.GoAway: this.#goAway(connection, f); break;
      case Type.Error: this.#error(f); break;
      default: this.#byHandle(f.handle)?._frame(f);
    }
  }

  #byRef(ref) { for (const r of this.#rooms) if (ref !== 0 && r._ref === ref) return r; return null; }
  #byHandle(handle) { for (const r of this.#rooms) if (r._handle === handle) return r; return null; }

  #error(f) {
    const err = new LimpetError(f.code, f.text, f.retryMs);
    if (f.ref !== 0) {
      if (this.#lists.has(f.ref)) { this.#listed(f.ref, null, err); return; }
      const watch = this.#watching(f.ref);
      if (watch) { watch.refused(err); return; }
      this.#byRef(f.ref)?._refused(f.code, f.text, f.retryMs, (ms) => this.backoff.after(ms));
    } else if (f.handle !== 0) this.#byHandle(f.handle)?._frame(f);
    else this.emit('error', err);
  }

  #listed(ref, f, err) {
    const request = this.#lists.get(ref);
    if (!request) return;
    this.#lists.delete(ref);
    this.env.clearTimeout(request.timer);
    try {
      if (err) throw err;
      request.resolve(roomList(f));
    } catch (e) {
      request.reject(e);
    }
  }

  #watching(ref) { for (const w of this.#watches) if (w.ref === ref) return w; return null; }

  #paged(f) {
    if (this.#lists.has(f.ref)) this.#listed(f.ref, f);
    else this.#watching(f.ref)?.page(f);
  }

  #finish(err, forget) {
    this.state = 'closed';
    this.env.clearTimeout(this.#retry);
    this.env.clearTimeout(this.#leaving);
    this.#unwatch();
    const connection = this.#connection;
    this.#connection = null;
    connection?.end('closed');
    for (const ref of [...this.#lists.keys()]) this.#listed(ref, null, err);
    for (const w of this.#watches) { w.dropped(); w.failed(err); }
    this.#watches.clear();
    for (const room of [...this.#rooms]) {
      if (!forget) room._memo = null; // a reload may still come back to it
      room._over(err.code, err.text);
    }
    this.emit('closed', { code: err.code, reason: err.reason, text: err.text });
  }

  #saveAll() { for (const room of this.#rooms) room.save(); }
}

// What no attempt would make better is told at once. In a page a URL may be relative to it.
function socketURL(given) {
  let url;
  try { url = new URL(given, globalThis.location?.href); } catch { /* told below */ }
  if (!/^(ws|http)s?:$/.test(url?.protocol)) throw new TypeError(`connect: ${given}: want ws://HOST:PORT or wss://HOST:PORT`);
  url.protocol = url.protocol.replace('http', 'ws');
  url.hash = '';
  return url.href;
}

// In a page: an early try when it can be seen or is online again, and a last
// save when it goes. Elsewhere: nothing.
function watchPage(wake, save) {
  const { document: doc, addEventListener: add, removeEventListener: remove } = globalThis;
  if (!doc || !add) return () => {};
  const seen = () => { if (doc.visibilityState === 'visible') wake(); };
  doc.addEventListener('visibilitychange', seen);
  add('online', wake);
  add('pagehide', save);
  return () => {
    doc.removeEventListener('visibilitychange', seen);
    remove('online', wake);
    remove('pagehide', save);
  };
}
