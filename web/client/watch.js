import { encode, fromBytes, toBytes } from './codec.js';
import { isRetryable, LimpetError } from './codes.js';

const LEAST_RETRY_MS = 500;

/** A filter as it travels; nothing for none. */
export function filterBytes(filter) {
  return filter && Object.keys(filter).length > 0 ? toBytes(filter) : new Uint8Array(0);
}

/** What a page or a list of rooms says, for who asked. */
export function roomList(f) {
  const rooms = f.json.length ? JSON.parse(fromBytes(f.json)) ?? [] : [];
  const list = { rooms, asked: f.asked, answered: f.answered };
  return f.covered === undefined ? list : { ...list, covered: f.covered / 1000, next: f.next };
}

/** A page of rooms that is kept up to date, over all connections. Belongs to the client that made it. */
export class Watch {
  #link; // {env, send, minor, nextRef, forget}
  #query;
  #rooms = new Map();
  #retry = null;

  constructor(link, kind, { most = 0, after = '', filter } = {}, show, failed) {
    this.#link = link;
    this.#query = { watch: 1, kind, most, after, filter: filterBytes(filter) };
    encode.browse({ ref: 0, ...this.#query }); // throws here what can't be said
    this.ref = 0;
    this.show = show;
    this.failed = failed ?? (() => {});
  }

  /** Asks on the connection that there is now. */
  ask() {
    this.#link.env.clearTimeout(this.#retry);
    this.ref = this.#link.nextRef();
    if (this.#link.minor < 1) this.#refuseLater(this.ref);
    else this.#link.send(encode.browse({ ref: this.ref, ...this.#query }));
  }

  // Nobody hears of a watch before they have the function that stops it.
  #refuseLater(ref) {
    queueMicrotask(() => {
      if (this.ref === ref) this.refused(new LimpetError(203, 'the gateway is of an older version, without pages of rooms'));
    });
  }

  page(f) {
    const { rooms, ...page } = roomList(f);
    if (!f.update) this.#rooms.clear();
    for (const { gone, ...room } of rooms) {
      if (gone) this.#rooms.delete(room.room);
      else this.#rooms.set(room.room, room);
    }
    this.show({ rooms: [...this.#rooms.values()].sort((a, b) => (a.room < b.room ? -1 : 1)), ...page });
  }

  refused(err) {
    this.ref = 0;
    if (isRetryable(err.code)) this.#retry = this.#link.env.setTimeout(() => this.ask(), Math.max(err.retryMs, LEAST_RETRY_MS));
    else this.#link.forget(this);
    this.failed(err); // last: it may stop the watch
  }

  /** The connection is gone: the next one is asked. */
  dropped() {
    this.#link.env.clearTimeout(this.#retry);
    this.ref = 0;
  }

  stop() {
    if (this.ref !== 0 && this.#link.minor >= 1) this.#link.send(encode.quit({ ref: this.ref }));
    this.dropped();
    this.#link.forget(this);
  }
}
