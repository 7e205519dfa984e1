/**
 * The inputs of one membership, numbered from 1 and kept until they are
 * durable. It is the only queue between client and room. Beyond its bounds the
 * oldest are given up; a room that still wants them is told to skip them.
 */
export class Inputs {
  constructor({ maxCount = 1024, maxBytes = 1 << 20 } = {}) {
    this.maxCount = maxCount;
    this.maxBytes = maxBytes;
    this.kept = []; // {n, payload} in order, or {n, leave: true} at the end
    this.bytes = 0;
    this.next = 1; // number of the next input
    this.cursor = 1; // number of the next to go over the wire
    this.applied = 0;
    this.durable = 0;
  }

  /** The last number given out. */
  get last() { return this.next - 1; }

  /** Numbers a payload and keeps it; returns the number. */
  push(payload) { return this.#keep({ n: this.next, payload }); }

  /** The last input of all. */
  pushLeave() { return this.#keep({ n: this.next, payload: new Uint8Array(0), leave: true }); }

  #keep(entry) {
    this.kept.push(entry);
    this.bytes += entry.payload.length;
    this.next += 1;
    while (this.kept.length > 1 && (this.kept.length > this.maxCount || this.bytes > this.maxBytes)) this.#drop();
    return entry.n;
  }

  #drop() { this.bytes -= this.kept.shift().payload.length; }

  /** What the room says it has; both counters only grow within one epoch. */
  acknowledge(applied, durable) {
    this.applied = Math.max(this.applied, applied);
    this.#settle(durable);
  }

  /** A (new) owner says what it has: it may be less than before. */
  attach(applied, durable) {
    this.applied = applied;
    this.#settle(durable);
    if (applied >= this.next) this.#adopt(applied + 1);
    this.cursor = applied + 1;
  }

  // The room knows numbers of this instance that we don't: it was given to us
  // by a page that sent them. Go on behind them.
  #adopt(next) {
    this.kept = [];
    this.bytes = 0;
    this.next = next;
  }

  #settle(durable) {
    this.durable = Math.max(this.durable, durable);
    while (this.kept.length > 0 && this.kept[0].n <= durable && !this.kept[0].leave) this.#drop();
  }

  /** Sends again from number n. */
  rewind(n) { if (n >= 1 && n <= this.next) this.cursor = n; }

  /**
   * What is to be sent next: {skip: [from, to]}, {input} or null. The caller
   * has sent it when this returns.
   */
  take() {
    if (this.cursor >= this.next) return null;
    const first = this.kept.length > 0 ? this.kept[0].n : this.next;
    if (this.cursor < first) {
      const skip = [this.cursor, first - 1];
      this.cursor = first;
      return { skip };
    }
    const input = this.kept[this.cursor - first];
    this.cursor += 1;
    return { input };
  }
}
