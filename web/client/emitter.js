/** The least of an event emitter. A listener that throws is reported, and the others still run. */
export class Emitter {
  #listeners = new Map();

  /** Returns a function that takes the listener off again. */
  on(event, fn) {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set.add(fn));
    return () => this.off(event, fn);
  }
  off(event, fn) { this.#listeners.get(event)?.delete(fn); }
  once(event, fn) {
    const off = this.on(event, (v) => { off(); fn(v); });
    return off;
  }
  emit(event, value) {
    for (const fn of [...(this.#listeners.get(event) ?? [])]) {
      try { fn(value); } catch (err) { report(err); }
    }
  }
}

// An error in a listener surfaces as uncaught instead of breaking the session.
function report(err) { queueMicrotask(() => { throw err; }); }
