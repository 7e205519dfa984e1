/** The least of an event emitter. A listener that throws is reported, and the others still run. */
export class Emitter {
  #listeners;

  constructor(events) { this.#listeners = new Map(events.map((e) => [e, new Set()])); }

  /** Returns a function that takes the listener off again. */
  on(event, fn) {
    const set = this.#listeners.get(event);
    if (!set) throw new TypeError(`no event ${event}: there are ${[...this.#listeners.keys()].join(', ')}`);
    set.add(fn);
    return () => this.off(event, fn);
  }
  off(event, fn) { this.#listeners.get(event)?.delete(fn); }
  once(event, fn) {
    const off = this.on(event, (v) => { off(); fn(v); });
    return off;
  }
  emit(event, value) {
    for (const fn of [...this.#listeners.get(event)]) {
      try { fn(value); } catch (err) { report(err); }
    }
  }
}

// An error in a listener surfaces as uncaught instead of breaking the session.
function report(err) { queueMicrotask(() => { throw err; }); }
