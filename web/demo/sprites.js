// Pictures that never change are painted once, here.

/** Random numbers that are the same on every screen. */
export function seeded(seed) {
  let s = seed >>> 0;
  return () => { s = (s + 0x6d2b79f5) >>> 0; let t = Math.imul(s ^ (s >>> 15), 1 | s); t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t; return ((t ^ (t >>> 14)) >>> 0) / 4294967296; };
}

export function canvas(w, h) {
  const c = document.createElement('canvas');
  c.width = Math.ceil(w);
  c.height = Math.ceil(h);
  return c;
}

const TAU = Math.PI * 2;

/** The sand of the pool with its ripples, pebbles and weed. */
export function paintSand(w, h) {
  const c = canvas(w, h), g = c.getContext('2d'), rnd = seeded(7);
  const base = g.createRadialGradient(w * 0.5, h * 0.45, h * 0.1, w * 0.5, h * 0.5, w * 0.62);
  base.addColorStop(0, '#f1e3bf');
  base.addColorStop(0.55, '#dccb9f');
  base.addColorStop(1, '#a9a57f');
  g.fillStyle = base;
  g.fillRect(0, 0, w, h);
  ripples(g, w, h, rnd);
  for (let i = 0; i < 5200; i++) {
    g.fillStyle = rnd() < 0.5 ? 'rgba(120,96,60,.16)' : 'rgba(255,250,230,.26)';
    g.fillRect(rnd() * w, rnd() * h, 1 + rnd() * 1.6, 1 + rnd());
  }
  for (let i = 0; i < 130; i++) pebble(g, rnd() * w, rnd() * h, 2 + rnd() * 6, rnd);
  for (let i = 0; i < 34; i++) weed(g, ...edge(w, h, rnd), rnd);
  return c;
}

function ripples(g, w, h, rnd) {
  g.lineWidth = 5;
  for (let y = -40; y < h + 60; y += 26) {
    const a = rnd() * TAU, amp = 7 + rnd() * 7;
    for (const [off, style] of [[0, 'rgba(146,120,74,.13)'], [5, 'rgba(255,248,222,.24)']]) {
      g.strokeStyle = style;
      g.beginPath();
      for (let x = -20; x <= w + 20; x += 18) g.lineTo(x, y + off + Math.sin(x / 118 + a) * amp + Math.sin(x / 41 + a * 2) * 3);
      g.stroke();
    }
  }
}

function pebble(g, x, y, r, rnd) {
  const tone = 110 + rnd() * 90;
  g.save();
  g.translate(x, y);
  g.rotate(rnd() * TAU);
  g.fillStyle = 'rgba(60,45,30,.22)';
  oval(g, 1.5, 2, r, r * 0.7);
  g.fillStyle = `rgb(${tone},${tone - 8},${tone - 26})`;
  oval(g, 0, 0, r, r * 0.7);
  g.fillStyle = 'rgba(255,255,255,.22)';
  oval(g, -r * 0.25, -r * 0.2, r * 0.4, r * 0.22);
  g.restore();
}

// Weed grows along the edges, where it is in nobody's way.
function edge(w, h, rnd) {
  const d = rnd() * 46;
  return [[rnd() * w, d], [rnd() * w, h - d], [d, rnd() * h], [w - d, rnd() * h]][Math.floor(rnd() * 4)];
}

function weed(g, x, y, rnd) {
  g.lineCap = 'round';
  for (let i = 0; i < 7; i++) {
    const a = rnd() * TAU, len = 14 + rnd() * 34;
    g.strokeStyle = `hsla(${130 + rnd() * 40},34%,${26 + rnd() * 16}%,.75)`;
    g.lineWidth = 3 + rnd() * 3.5;
    g.beginPath();
    g.moveTo(x, y);
    g.quadraticCurveTo(x + Math.cos(a + 0.6) * len * 0.6, y + Math.sin(a + 0.6) * len * 0.6, x + Math.cos(a) * len, y + Math.sin(a) * len);
    g.stroke();
  }
}

function oval(g, x, y, rx, ry) { g.beginPath(); g.ellipse(x, y, rx, ry, 0, 0, TAU); g.fill(); }

/** One rock with barnacles, in the middle of its own picture. */
export function paintRock(r, seed) {
  const size = r * 2 + 70, c = canvas(size, size), g = c.getContext('2d'), rnd = seeded(seed);
  g.translate(size / 2, size / 2);
  const outline = rockOutline(r, rnd);
  g.save();
  g.shadowColor = 'rgba(20,40,50,.55)';
  g.shadowBlur = 18;
  g.shadowOffsetY = 9;
  g.fillStyle = '#55606a';
  g.fill(outline);
  g.restore();
  const light = g.createRadialGradient(-r * 0.35, -r * 0.45, r * 0.1, 0, 0, r * 1.12);
  light.addColorStop(0, '#a9aaa2');
  light.addColorStop(0.5, '#7b8284');
  light.addColorStop(1, '#48545f');
  g.fillStyle = light;
  g.fill(outline);
  g.save();
  g.clip(outline);
  facets(g, r, rnd);
  for (let i = 0; i < r * 0.9; i++) speck(g, r, rnd);
  for (let i = 0; i < r / 5; i++) barnacle(g, r, rnd);
  g.restore();
  g.strokeStyle = 'rgba(235,240,225,.25)';
  g.lineWidth = 2;
  g.stroke(outline);
  return c;
}

function rockOutline(r, rnd) {
  const p = new Path2D(), n = 26, bumps = Array.from({ length: n }, () => 0.955 + rnd() * 0.085);
  for (let i = 0; i <= n; i++) {
    const a = i / n * TAU, a2 = (i + 0.5) / n * TAU, k = bumps[i % n], k2 = (bumps[i % n] + bumps[(i + 1) % n]) / 2;
    if (i === 0) p.moveTo(Math.cos(a) * r * k, Math.sin(a) * r * k);
    else p.quadraticCurveTo(Math.cos(a) * r * k, Math.sin(a) * r * k, Math.cos(a2) * r * k2, Math.sin(a2) * r * k2);
  }
  p.closePath();
  return p;
}

function facets(g, r, rnd) {
  for (let i = 0; i < 9; i++) {
    const a = rnd() * TAU, d = r * (0.2 + rnd() * 0.7);
    g.fillStyle = i % 2 ? 'rgba(255,255,245,.055)' : 'rgba(15,30,40,.075)';
    g.beginPath();
    for (let k = 0; k < 5; k++) {
      const b = a + k / 5 * TAU, e = r * (0.25 + rnd() * 0.35);
      g.lineTo(Math.cos(a) * d + Math.cos(b) * e, Math.sin(a) * d + Math.sin(b) * e);
    }
    g.fill();
  }
}

function speck(g, r, rnd) {
  const a = rnd() * TAU, d = Math.sqrt(rnd()) * r;
  g.fillStyle = rnd() < 0.35 ? 'rgba(120,150,90,.35)' : rnd() < 0.5 ? 'rgba(20,30,36,.25)' : 'rgba(240,240,225,.22)';
  oval(g, Math.cos(a) * d, Math.sin(a) * d, 0.8 + rnd() * 2.4, 0.8 + rnd() * 1.8);
}

function barnacle(g, r, rnd) {
  const a = rnd() * TAU, d = r * (0.72 + rnd() * 0.24), s = 2.2 + rnd() * 2.6;
  const x = Math.cos(a) * d, y = Math.sin(a) * d;
  g.fillStyle = '#d9d6c6';
  oval(g, x, y, s, s);
  g.fillStyle = '#6d6f6c';
  oval(g, x, y, s * 0.42, s * 0.42);
}

const SHELLS = [['#fbe7d3', '#d98f6a'], ['#f9d5d3', '#c9707a'], ['#fff3da', '#c9a05a'], ['#e9e3f5', '#8f7fb8']];

/** Spiral shells in four colours. */
export function paintShells() {
  return SHELLS.map(([light, dark]) => {
    const c = canvas(48, 48), g = c.getContext('2d');
    g.translate(24, 26);
    g.fillStyle = 'rgba(30,30,20,.28)';
    oval(g, 2, 5, 15, 12);
    const fill = g.createRadialGradient(-5, -7, 2, 0, 0, 18);
    fill.addColorStop(0, '#fffaf0');
    fill.addColorStop(0.45, light);
    fill.addColorStop(1, dark);
    g.fillStyle = fill;
    g.beginPath();
    for (let i = 0; i <= 40; i++) {
      const a = i / 40 * TAU, r = 14 + Math.cos(a * 7) * 0.9 - Math.max(0, Math.sin(a)) * 2.2;
      g.lineTo(Math.cos(a) * r, Math.sin(a) * r);
    }
    g.fill();
    g.strokeStyle = dark;
    g.lineWidth = 1.5;
    g.globalAlpha = 0.75;
    for (let k = -3; k <= 3; k++) {
      g.beginPath();
      g.moveTo(0, 10);
      g.quadraticCurveTo(k * 3.4, 0, k * 4.3, -11.5 + Math.abs(k) * 1.6);
      g.stroke();
    }
    return c;
  });
}

/** A pearl with its glow. */
export function paintPearl() {
  const c = canvas(80, 80), g = c.getContext('2d');
  g.translate(40, 40);
  const glow = g.createRadialGradient(0, 0, 4, 0, 0, 38);
  glow.addColorStop(0, 'rgba(255,252,255,.85)');
  glow.addColorStop(0.35, 'rgba(214,232,255,.32)');
  glow.addColorStop(1, 'rgba(214,232,255,0)');
  g.fillStyle = glow;
  oval(g, 0, 0, 38, 38);
  const body = g.createRadialGradient(-4, -5, 1, 0, 0, 13);
  body.addColorStop(0, '#ffffff');
  body.addColorStop(0.5, '#f4e9f6');
  body.addColorStop(0.8, '#cfe0f2');
  body.addColorStop(1, '#a9a6cf');
  g.fillStyle = body;
  oval(g, 0, 0, 12, 12);
  g.fillStyle = 'rgba(255,255,255,.95)';
  oval(g, -4, -5, 3, 2.2);
  return c;
}

/** A limpet's shell from above, looking right. */
export function paintLimpet(hue) {
  const size = 96, r = 34, c = canvas(size, size), g = c.getContext('2d');
  g.translate(size / 2, size / 2);
  const rim = new Path2D();
  for (let i = 0; i <= 72; i++) {
    const a = i / 72 * TAU, k = r * (1 + Math.cos(a * 12) * 0.045) * (1 + Math.cos(a) * 0.05);
    rim.lineTo(Math.cos(a) * k, Math.sin(a) * k * 0.93);
  }
  const body = g.createRadialGradient(-5, -6, 2, 0, 0, r * 1.05);
  body.addColorStop(0, `hsl(${hue},75%,90%)`);
  body.addColorStop(0.3, `hsl(${hue},68%,70%)`);
  body.addColorStop(0.75, `hsl(${hue},58%,50%)`);
  body.addColorStop(1, `hsl(${hue},52%,36%)`);
  g.fillStyle = body;
  g.fill(rim);
  g.save();
  g.clip(rim);
  for (let i = 0; i < 12; i++) ridge(g, i / 12 * TAU, r, hue);
  for (const [k, alpha] of [[0.55, 0.2], [0.8, 0.24]]) {
    g.strokeStyle = `hsla(${hue},60%,24%,${alpha})`;
    g.lineWidth = 2.4;
    g.beginPath();
    g.ellipse(-1, -1, r * k, r * k * 0.92, 0, 0, TAU);
    g.stroke();
  }
  g.restore();
  g.strokeStyle = `hsl(${hue},50%,27%)`;
  g.lineWidth = 2;
  g.stroke(rim);
  g.fillStyle = 'rgba(255,255,255,.8)';
  oval(g, -6, -7, 5, 3.6);
  return c;
}

function ridge(g, a, r, hue) {
  g.fillStyle = `hsla(${hue},80%,94%,.32)`;
  g.beginPath();
  g.moveTo(-3, -3);
  g.lineTo(Math.cos(a - 0.09) * r * 1.1, Math.sin(a - 0.09) * r * 1.1);
  g.lineTo(Math.cos(a + 0.09) * r * 1.1, Math.sin(a + 0.09) * r * 1.1);
  g.fill();
}

/** A web of light, tileable, that drifts over the ground. */
export function paintCaustics(size, seed) {
  const c = canvas(size, size), g = c.getContext('2d'), rnd = seeded(seed);
  const points = Array.from({ length: 26 }, () => [rnd() * size, rnd() * size]);
  const image = g.createImageData(size, size);
  for (let y = 0, i = 0; y < size; y++) {
    for (let x = 0; x < size; x++, i += 4) {
      let d1 = Infinity, d2 = Infinity;
      for (const [px, py] of points) {
        const dx = Math.min(Math.abs(x - px), size - Math.abs(x - px)), dy = Math.min(Math.abs(y - py), size - Math.abs(y - py));
        const d = Math.sqrt(dx * dx + dy * dy);
        if (d < d1) { d2 = d1; d1 = d; } else if (d < d2) d2 = d;
      }
      const edgeLight = Math.max(0, 1 - (d2 - d1) / 13);
      image.data[i] = image.data[i + 1] = image.data[i + 2] = 255;
      image.data[i + 3] = edgeLight * edgeLight * 150;
    }
  }
  g.putImageData(image, 0, 0);
  return c;
}
