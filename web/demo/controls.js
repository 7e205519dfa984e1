// Keys, mouse and touch become one wish: a direction of length 0 to 1, and a dash.

const KEYS = {
  ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1],
  ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0],
};
const STICK = 56; // pixels of a full deflection
const NEAR = 90; // pixels from the limpet at which the mouse pulls fully

export class Controls {
  constructor(canvas, { ownPlace }) {
    this.ownPlace = ownPlace; // where the own limpet is on the screen
    this.keys = new Set();
    this.pointer = null; // {id, kind, x, y, startX, startY}
    this.dashAsked = false;
    this.heading = { x: 1, y: 0 };
    addEventListener('keydown', (e) => this.#key(e, true));
    addEventListener('keyup', (e) => this.#key(e, false));
    addEventListener('blur', () => { this.keys.clear(); this.pointer = null; });
    canvas.addEventListener('pointerdown', (e) => this.#down(e));
    canvas.addEventListener('pointermove', (e) => this.#moved(e));
    for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) canvas.addEventListener(end, (e) => this.#up(e));
    canvas.addEventListener('contextmenu', (e) => e.preventDefault());
  }

  dash() { this.dashAsked = true; }

  /** The stick under a finger, to be drawn; null without one. */
  get stick() { return this.pointer?.kind === 'touch' ? this.pointer : null; }

  /** The wish for one step. A dash without a direction goes where the limpet last went. */
  wish() {
    let { x, y } = this.#direction();
    const n = Math.hypot(x, y);
    if (n > 1) { x /= n; y /= n; }
    if (n > 0.1) this.heading = { x: x / Math.hypot(x, y), y: y / Math.hypot(x, y) };
    const dash = this.dashAsked;
    this.dashAsked = false;
    if (dash && n <= 0.1) return { dx: this.heading.x, dy: this.heading.y, dash };
    return n < 0.08 ? { dx: 0, dy: 0, dash: false } : { dx: x, dy: y, dash };
  }

  #direction() {
    let x = 0, y = 0;
    for (const k of this.keys) { x += KEYS[k][0]; y += KEYS[k][1]; }
    if (x || y) { const n = Math.hypot(x, y); return { x: x / n, y: y / n }; }
    const p = this.pointer;
    if (!p) return { x: 0, y: 0 };
    if (p.kind === 'touch') return { x: (p.x - p.startX) / STICK, y: (p.y - p.startY) / STICK };
    const me = this.ownPlace();
    return me ? { x: (p.x - me.x) / NEAR, y: (p.y - me.y) / NEAR } : { x: 0, y: 0 };
  }

  #key(e, down) {
    if (e.target instanceof HTMLInputElement || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.code === 'Space' || e.key === 'Shift') {
      if (e.target instanceof HTMLButtonElement) return;
      if (down && !e.repeat) this.dash();
      e.preventDefault();
    } else if (KEYS[e.code]) {
      if (down) this.keys.add(e.code); else this.keys.delete(e.code);
      e.preventDefault();
    }
  }

  #down(e) {
    e.target.focus?.();
    if (this.pointer || e.button === 2) { this.dash(); return; }
    this.pointer = { id: e.pointerId, kind: e.pointerType === 'mouse' ? 'mouse' : 'touch', x: e.clientX, y: e.clientY, startX: e.clientX, startY: e.clientY };
    try { e.target.setPointerCapture(e.pointerId); } catch { /* already gone */ }
  }

  #moved(e) {
    const p = this.pointer;
    if (p?.id !== e.pointerId) return;
    p.x = e.clientX;
    p.y = e.clientY;
    // The stick's root follows a finger that goes too far, so that turning back works at once.
    const dx = p.x - p.startX, dy = p.y - p.startY, n = Math.hypot(dx, dy);
    if (n > STICK * 1.3) { p.startX = p.x - dx / n * STICK * 1.3; p.startY = p.y - dy / n * STICK * 1.3; }
  }

  #up(e) { if (this.pointer?.id === e.pointerId) this.pointer = null; }
}
