/** Full-jitter back-off: each delay is drawn from 0 up to a bound that doubles. */
export class Backoff {
  constructor({ base = 250, cap = 10_000, random = Math.random } = {}) {
    this.base = base;
    this.cap = cap;
    this.random = random;
    this.attempt = 0;
  }
  /** The next delay in milliseconds. */
  next() {
    const bound = Math.min(this.cap, this.base * 2 ** Math.min(this.attempt, 30));
    this.attempt += 1;
    return Math.floor(this.random() * bound);
  }
  /** A server's advice, or the next delay where it gave none. */
  after(retryMs) { return retryMs > 0 ? retryMs + Math.floor(this.random() * this.base) : this.next(); }
  reset() { this.attempt = 0; }
}
