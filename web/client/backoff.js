/** Full-jitter back-off: each delay is drawn from 0 up to a bound that doubles. */
export class Backoff {
  constructor({ base = 250, cap = 10_000, random = Math.random } = {}) {
    this.base = base;
    this.cap = cap;
    this.random = random;
    this.attempt = 0;
  }
  /** The next delay in milliseconds, at least `floor`. */
  next(floor = 0) {
    const bound = Math.min(this.cap, this.base * 2 ** Math.min(this.attempt, 30));
    this.attempt += 1;
    return floor + Math.floor(this.random() * bound);
  }
  reset() { this.attempt = 0; }
}
