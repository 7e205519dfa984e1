// The pool's arithmetic, the same as in games/arena/step.go to the last bit, so
// that a browser can move its own limpet ahead of the server's answer.

export const STEP_MS = 50;
export const WIDTH = 1600;
export const HEIGHT = 1000;
export const RADIUS = 18;
export const DASH_EVERY = 30;

const TOP_SPEED = 11, ROCK_SPEED = 7, EASING = 0.3, DASH_SPEED = 42, REST_SPEED = 0.4;

const OP_STEP = 1, OP_SYNC = 2, FLAG_DASH = 1;

export const SYNC = Uint8Array.of(OP_SYNC);

const i8 = (v) => Math.max(-127, Math.min(127, Math.round(v * 127)));
const length = (x, y) => Math.sqrt(x * x + y * y);
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

/** Encodes a wish to move as a step's input. */
export function encodeStep(number, dx, dy, dash) {
  const b = new Uint8Array(6);
  const v = new DataView(b.buffer);
  v.setUint8(0, OP_STEP);
  v.setUint16(1, number & 0xffff);
  v.setInt8(3, i8(dx));
  v.setInt8(4, i8(dy));
  v.setUint8(5, dash ? FLAG_DASH : 0);
  return b;
}

/** What the server will read in a step's input. */
export function decodeStep(b) {
  const v = new DataView(b.buffer, b.byteOffset);
  let dx = v.getInt8(3) / 127, dy = v.getInt8(4) / 127;
  const n = length(dx, dy);
  if (n > 1) { dx /= n; dy /= n; }
  return { number: v.getUint16(1), dx, dy, dash: (v.getUint8(5) & FLAG_DASH) !== 0 };
}

export function rockAt(rocks, x, y) {
  return rocks.findIndex(([rx, ry, r]) => (x - rx) * (x - rx) + (y - ry) * (y - ry) <= r * r);
}

/** Advances p = {x, y, vx, vy, cool} by one step. */
export function move(p, w, rocks) {
  const top = rockAt(rocks, p.x, p.y) >= 0 ? ROCK_SPEED : TOP_SPEED;
  p.vx += (w.dx * top - p.vx) * EASING;
  p.vy += (w.dy * top - p.vy) * EASING;
  if (p.cool > 0) p.cool -= 1;
  const still = w.dx === 0 && w.dy === 0;
  if (w.dash && p.cool === 0 && !still) {
    const n = length(w.dx, w.dy);
    p.vx = w.dx / n * DASH_SPEED;
    p.vy = w.dy / n * DASH_SPEED;
    p.cool = DASH_EVERY;
  }
  if (still && length(p.vx, p.vy) < REST_SPEED) p.vx = p.vy = 0;
  place(p, p.x + p.vx, p.y + p.vy);
}

function place(p, x, y) {
  p.x = clamp(x, RADIUS, WIDTH - RADIUS);
  p.y = clamp(y, RADIUS, HEIGHT - RADIUS);
  if (p.x !== x) p.vx = 0;
  if (p.y !== y) p.vy = 0;
}

export const isResting = (p) => p.vx === 0 && p.vy === 0;
