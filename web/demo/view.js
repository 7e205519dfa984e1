import { HEIGHT, RADIUS, WIDTH } from './step.js';
import { paintCaustics, paintLimpet, paintPearl, paintRock, paintSand, paintShells } from './sprites.js';

const TAU = Math.PI * 2;
const SMALLEST = 0.62, LARGEST = 0.95; // how far a small screen zooms to fill itself
const LINK = 13; // between the shells of a string

/** Draws a Model on a canvas. It keeps only what is for the eye: trails, splashes. */
export class View {
  constructor(canvas, model) {
    this.canvas = canvas;
    this.g = canvas.getContext('2d', { alpha: false });
    this.model = model;
    this.camera = { x: WIDTH / 2, y: HEIGHT / 2, scale: 1 };
    this.sand = paintSand(WIDTH, HEIGHT);
    this.caustics = [paintCaustics(256, 3), paintCaustics(256, 11)].map((c) => this.g.createPattern(c, 'repeat'));
    this.shellSprites = paintShells();
    this.pearl = paintPearl();
    this.limpets = new Map(); // hue -> sprite
    this.rocks = [];
    this.trails = new Map(); // slot -> what follows a limpet
    this.effects = [];
    this.shade = depth(this.g);
    this.quality = 2; // layers of light; fewer where drawing is slow
    this.pace = 16;
    this.resize();
    addEventListener('resize', () => this.resize());
  }

  resize() {
    const ratio = Math.min(devicePixelRatio || 1, this.quality > 1 ? 2 : 1);
    this.width = innerWidth;
    this.height = innerHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
  }

  /** Where a place of the pool is on the screen. */
  screen(x, y) {
    const { camera } = this;
    return { x: (x - camera.x) * camera.scale + this.width / 2, y: (y - camera.y) * camera.scale + this.height / 2 };
  }

  splash(effect) {
    if (this.effects.length < 80) this.effects.push({ age: 0, ...effect });
  }

  draw(now, dt) {
    const { g, model } = this;
    this.#ease(dt);
    this.#follow(dt);
    const { camera, ratio } = this;
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.fillStyle = '#0b3443';
    g.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const s = camera.scale * ratio;
    g.setTransform(s, 0, 0, s, this.canvas.width / 2 - camera.x * s, this.canvas.height / 2 - camera.y * s);
    g.drawImage(this.sand, 0, 0);
    this.#water(now);
    this.#rocks(now);
    if (model.ready) {
      this.#shells(now);
      this.#players(now, dt);
      this.#effects(dt);
    }
    this.#flood(now);
    this.#frame();
  }

  // A screen that can't keep up gets less light to draw.
  #ease(dt) {
    this.pace += (Math.min(dt, 100) - this.pace) * 0.03;
    if (this.pace < 30 || this.quality === 0) return;
    this.quality -= 1;
    this.pace = 16;
    this.resize();
  }

  #follow(dt) {
    const { camera, model, width, height } = this;
    const fit = Math.min(width / WIDTH, height / HEIGHT);
    const cover = Math.max(width / WIDTH, height / HEIGHT);
    camera.scale = Math.max(fit, SMALLEST, Math.min(cover, LARGEST));
    const me = model.me;
    const wide = width / camera.scale, high = height / camera.scale;
    const aimX = wide >= WIDTH ? WIDTH / 2 : Math.min(Math.max(me?.x ?? WIDTH / 2, wide / 2 - 40), WIDTH - wide / 2 + 40);
    const aimY = high >= HEIGHT ? HEIGHT / 2 : Math.min(Math.max(me?.y ?? HEIGHT / 2, high / 2 - 90), HEIGHT - high / 2 + 90);
    const k = 1 - Math.exp(-dt / 140);
    camera.x += (aimX - camera.x) * k;
    camera.y += (aimY - camera.y) * k;
  }

  // Shallow at low tide, deep when it is in; light plays on the ground.
  #water(now) {
    const { g, model } = this;
    const deep = model.tide;
    g.fillStyle = `rgba(${Math.round(22 - 14 * deep)},${Math.round(156 - 74 * deep)},${Math.round(178 - 44 * deep)},${0.46 + 0.32 * deep})`;
    g.fillRect(0, 0, WIDTH, HEIGHT);
    g.fillStyle = this.shade;
    g.fillRect(0, 0, WIDTH, HEIGHT);
    if (this.quality === 0) return;
    g.save();
    g.globalCompositeOperation = this.quality > 1 ? 'soft-light' : 'source-over';
    this.caustics.slice(0, this.quality).forEach((pattern, i) => {
      const t = now / 1000 * (i ? -7 : 9), zoom = i ? 1.7 : 1.15;
      pattern.setTransform(new DOMMatrix([zoom, 0, 0, zoom, t + Math.sin(now / 2600 + i) * 12, t * 0.6 + Math.cos(now / 3100 + i * 2) * 12]));
      g.globalAlpha = (this.quality > 1 ? 0.85 : 0.3) - 0.25 * deep;
      g.fillStyle = pattern;
      g.fillRect(0, 0, WIDTH, HEIGHT);
    });
    g.restore();
  }

  #rocks(now) {
    const { g, model } = this;
    const deep = model.tide;
    model.rocks.forEach(([x, y, r], i) => {
      this.rocks[i] ??= paintRock(r, 31 + i * 7);
      for (let k = 0; k < 3; k++) { // foam laps around the foot
        const swell = Math.sin(now / 900 + i * 2 + k * 2.1) * 0.5 + 0.5;
        g.strokeStyle = `rgba(255,255,255,${(0.1 + 0.16 * deep) * (1 - swell * 0.7)})`;
        g.lineWidth = 5 - k;
        g.beginPath();
        g.arc(x, y, r + 3 + k * 6 + swell * 9 + deep * 6, 0, TAU);
        g.stroke();
      }
      const c = this.rocks[i];
      g.drawImage(c, x - c.width / 2, y - c.height / 2);
    });
  }

  #shells(now) {
    const { g, model } = this;
    for (const s of model.shells.values()) {
      const bob = Math.sin(now / 700 + s.id) * 1.6;
      if (s.pearl) {
        const k = 32 + Math.sin(now / 420 + s.id) * 4;
        g.drawImage(this.pearl, s.x - k, s.y - k + bob, k * 2, k * 2);
      } else this.#shell(s.x, s.y + bob, s.id, 29, s.id * 1.7 + Math.sin(now / 1100 + s.id) * 0.12);
    }
  }

  #shell(x, y, id, size, turn) {
    const { g } = this;
    g.save();
    g.translate(x, y);
    g.rotate(turn);
    g.drawImage(this.shellSprites[id % this.shellSprites.length], -size / 2, -size / 2, size, size);
    g.restore();
  }

  #players(now, dt) {
    const { model } = this;
    for (const slot of this.trails.keys()) if (!model.players.has(slot)) this.trails.delete(slot);
    const order = [...model.players.values()].filter((p) => p.seen).sort((a, b) => (a.slot === model.slot) - (b.slot === model.slot));
    for (const p of order) this.#trail(p);
    for (const p of order) this.#limpet(p, now, dt);
    for (const p of order) this.#name(p);
  }

  // The shells that somebody carries follow along the way it came.
  #trail(p) {
    let t = this.trails.get(p.slot);
    if (!t || Math.hypot(t.way[0].x - p.x, t.way[0].y - p.y) > 400) this.trails.set(p.slot, t = { id: p.id, way: [{ x: p.x, y: p.y }], turn: 0, dash: 0 });
    const first = t.way[0];
    if (Math.hypot(first.x - p.x, first.y - p.y) >= 4) {
      t.way.unshift({ x: p.x, y: p.y });
      if (t.way.length > 160) t.way.pop();
    }
    const { g } = this;
    g.globalAlpha = p.away ? 0.3 : 1;
    let gone = -RADIUS * 0.55, next = LINK, last = p;
    let left = p.string;
    for (let i = 0; i < t.way.length && left > 0; i++) {
      const w = t.way[i], d = Math.hypot(w.x - last.x, w.y - last.y);
      while (left > 0 && d > 0 && gone + d >= next) {
        const k = (next - gone) / d, n = p.string - left;
        this.#shell(last.x + (w.x - last.x) * k, last.y + (w.y - last.y) * k, n + p.slot, Math.max(10, 18 - n * 0.25), n * 1.3);
        next += LINK;
        left -= 1;
      }
      gone += d;
      last = w;
    }
    g.globalAlpha = 1;
  }

  #limpet(p, now, dt) {
    const { g, model } = this;
    const t = this.trails.get(p.slot);
    const speed = Math.hypot(p.vx, p.vy);
    if (speed > 1) {
      let d = Math.atan2(p.vy, p.vx) - t.turn;
      d = Math.atan2(Math.sin(d), Math.cos(d));
      t.turn += d * (1 - Math.exp(-dt / 70));
    }
    if (speed > 18 && !p.away) this.splash({ kind: 'bubble', x: p.x, y: p.y, r: 3 + Math.random() * 5 });
    const stretch = Math.min(0.28, speed / 90), breath = Math.sin(now / 600 + p.slot) * 0.02;
    g.save();
    g.translate(p.x, p.y);
    g.globalAlpha = p.away ? 0.38 : 1;
    const lift = p.clinging ? 1.5 : 5;
    g.fillStyle = 'rgba(8,28,36,.34)';
    g.beginPath();
    g.ellipse(lift * 0.6, lift, RADIUS * 1.06, RADIUS * 0.98, 0, 0, TAU);
    g.fill();
    if (p.slot === model.slot) this.#halo(p, now);
    if (p.away) this.#ghost(now);
    g.rotate(t.turn);
    if (!p.clinging) this.#eyes(now, p);
    g.scale(1 + stretch + breath, 1 - stretch * 0.7 + breath);
    const size = RADIUS * 3.1;
    g.rotate(-t.turn * 0.35);
    g.drawImage(this.#sprite(p.hue), -size / 2, -size / 2, size, size);
    g.restore();
  }

  #sprite(hue) {
    if (!this.limpets.has(hue)) this.limpets.set(hue, paintLimpet(hue));
    return this.limpets.get(hue);
  }

  #halo(p, now) {
    const { g } = this;
    g.strokeStyle = p.clinging ? 'rgba(255,236,170,.95)' : `rgba(255,255,255,${0.42 + Math.sin(now / 500) * 0.12})`;
    g.lineWidth = p.clinging ? 3 : 2;
    g.beginPath();
    g.arc(0, 0, RADIUS + 6, 0, TAU);
    g.stroke();
  }

  #ghost(now) {
    const { g } = this;
    g.save();
    g.rotate(now / 1500);
    g.setLineDash([6, 7]);
    g.strokeStyle = 'rgba(255,255,255,.9)';
    g.lineWidth = 2;
    g.beginPath();
    g.arc(0, 0, RADIUS + 7, 0, TAU);
    g.stroke();
    g.restore();
  }

  #eyes(now, p) {
    const { g } = this;
    const blink = (now / 90 + p.slot * 13) % 47 < 1.4;
    for (const side of [-1, 1]) {
      const x = RADIUS + 7, y = side * 7;
      g.strokeStyle = `hsl(${p.hue},45%,68%)`;
      g.lineWidth = 4;
      g.beginPath();
      g.moveTo(RADIUS - 4, side * 5);
      g.lineTo(x, y);
      g.stroke();
      g.fillStyle = blink ? `hsl(${p.hue},45%,60%)` : '#fff';
      g.beginPath();
      g.arc(x, y, 4, 0, TAU);
      g.fill();
      if (blink) continue;
      g.fillStyle = '#15242c';
      g.beginPath();
      g.arc(x + 1.3, y, 2.1, 0, TAU);
      g.fill();
    }
  }

  #name(p) {
    const { g, model } = this;
    const mine = p.slot === model.slot;
    const px = Math.max(13, 13 / this.camera.scale);
    g.font = `${mine ? 700 : 600} ${px}px ui-rounded, "SF Pro Rounded", "Nunito", system-ui, sans-serif`;
    g.textAlign = 'center';
    g.lineWidth = px / 4;
    g.lineJoin = 'round';
    g.strokeStyle = 'rgba(6,32,42,.6)';
    g.fillStyle = p.away ? 'rgba(255,255,255,.6)' : mine ? '#fff3cf' : '#fff';
    const label = p.away ? `${p.name} …` : p.name;
    g.strokeText(label, p.x, p.y + RADIUS + 10 + px);
    g.fillText(label, p.x, p.y + RADIUS + 10 + px);
  }

  #effects(dt) {
    const { g } = this;
    this.effects = this.effects.filter((e) => { e.age += dt / (e.life ?? 700); return e.age < 1; });
    for (const e of this.effects) {
      g.globalAlpha = 1 - e.age;
      if (e.kind === 'text') {
        g.font = `800 ${18 / Math.min(1, this.camera.scale + 0.25)}px ui-rounded, system-ui, sans-serif`;
        g.textAlign = 'center';
        g.lineWidth = 4;
        g.strokeStyle = 'rgba(6,32,42,.55)';
        g.fillStyle = e.color ?? '#fff6d8';
        g.strokeText(e.text, e.x, e.y - 24 - e.age * 34);
        g.fillText(e.text, e.x, e.y - 24 - e.age * 34);
      } else {
        g.strokeStyle = '#fff';
        g.lineWidth = e.kind === 'ring' ? 5 * (1 - e.age) : 1.5;
        g.beginPath();
        g.arc(e.x, e.y, e.kind === 'ring' ? 14 + e.age * 60 : e.r * (1 + e.age), 0, TAU);
        g.stroke();
      }
    }
    g.globalAlpha = 1;
  }

  // When the tide is in, streaks show where the current goes.
  #flood(now) {
    const { g, model } = this;
    const strength = Math.max(0, (model.tide - 0.35) / 0.65);
    if (strength <= 0) return;
    const dx = Math.cos(model.current), dy = Math.sin(model.current);
    g.lineCap = 'round';
    for (let i = 0; i < 70; i++) {
      const life = (now / 1500 + i * 0.618) % 1, k = Math.floor(now / 1500 + i * 0.618);
      const x = ((i * 397 + k * 173) % 1600) + dx * life * 190, y = ((i * 211 + k * 331) % 1000) + dy * life * 190;
      const len = 34 + (i % 5) * 14;
      g.strokeStyle = `rgba(235,250,255,${strength * 0.34 * Math.sin(life * Math.PI)})`;
      g.lineWidth = 2 + (i % 3);
      g.beginPath();
      g.moveTo(x, y);
      g.quadraticCurveTo(x - dx * len / 2 - dy * 6, y - dy * len / 2 + dx * 6, x - dx * len, y - dy * len);
      g.stroke();
    }
  }

  // The pool's edge, and a soft vignette.
  #frame() {
    const { g } = this;
    g.strokeStyle = 'rgba(9,44,57,.9)';
    g.lineWidth = 14;
    g.strokeRect(-7, -7, WIDTH + 14, HEIGHT + 14);
    g.strokeStyle = 'rgba(255,255,255,.16)';
    g.lineWidth = 2;
    g.strokeRect(0, 0, WIDTH, HEIGHT);
  }
}

// The pool is deeper towards its edges.
function depth(g) {
  const shade = g.createRadialGradient(WIDTH / 2, HEIGHT / 2, HEIGHT * 0.25, WIDTH / 2, HEIGHT / 2, WIDTH * 0.62);
  shade.addColorStop(0, 'rgba(4,60,84,0)');
  shade.addColorStop(1, 'rgba(4,60,84,.5)');
  return shade;
}
