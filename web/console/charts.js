// The page's pictures: tiles with the last two minutes, and the ring.
import { $, count, h, say, svg } from './dom.js';

const KEPT = 120; // points of a tile's line

/** A number with its recent past. */
export class Tile {
  #points = [];
  #value = h('b', {}, '–');
  #line = svg('path', { class: 'spark' });
  #area = svg('path', { class: 'under' });
  constructor(name, title, show) {
    this.show = show;
    $('tiles').append(h('div', { class: 'tile', id: `tile-${name}` }, h('span', { class: 'soft small' }, title), this.#value,
      svg('svg', { viewBox: '0 0 120 30', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, this.#area, this.#line)));
  }

  add(v) {
    say(this.#value, this.show(v));
    if (v == null) return;
    this.#points.push(v);
    if (this.#points.length > KEPT) this.#points.shift();
    const top = Math.max(...this.#points) || 1, step = 120 / Math.max(30, this.#points.length - 1), from = 120 - (this.#points.length - 1) * step;
    const d = this.#points.map((p, i) => `${i ? 'L' : 'M'}${(from + i * step).toFixed(1)},${(28 - 25 * p / top).toFixed(1)}`).join('');
    this.#line.setAttribute('d', d);
    this.#area.setAttribute('d', `${d}L120,30L${from.toFixed(1)},30Z`);
  }
}

/** A host's colour, the same as long as its name is. */
export function colour(name) {
  let x = 7;
  for (const c of name) x = (x * 33 + c.charCodeAt(0)) % 100_003;
  const n = Number(/(\d+)$/.exec(name)?.[1] ?? x);
  return `hsl(${(186 + n * 137.5) % 360} 40% 54%)`;
}

const at = (r, turn) => [200 + r * Math.sin(2 * Math.PI * turn), 200 - r * Math.cos(2 * Math.PI * turn)].map((v) => v.toFixed(2));
const arc = (r, a, b) => `M${at(r, a)}A${r},${r},0,${b - a > .5 ? 1 : 0},1,${at(r, b)}`;

/** Draws partitions around, hosts inside, each as large as its share of rooms. */
export function drawRing(fleet, hosts, rooms) {
  const parts = [svg('circle', { class: 'track', cx: 200, cy: 200, r: 184, 'stroke-width': 18 })];
  const n = fleet.ring.length;
  fleet.ring.forEach((owner, i) => {
    if (owner < 0) return;
    parts.push(svg('path', { d: arc(184, i / n + .0004, (i + 1) / n - .0004), fill: 'none', stroke: colour(fleet.nodes[owner].name), 'stroke-width': 18 }));
  });
  const most = Math.max(1, ...hosts.map((x) => x.rooms ?? 0)), size = Math.min(40, 250 / Math.max(3, hosts.length));
  hosts.forEach((x, i) => {
    const [cx, cy] = at(hosts.length > 1 ? 118 : 0, i / hosts.length), r = size * (.45 + .55 * Math.sqrt((x.rooms ?? 0) / most));
    const g = svg('g', { opacity: x.missing ? .35 : 1 },
      svg('circle', { cx, cy, r: r.toFixed(1), fill: colour(x.name), opacity: x.draining ? .35 : .85 }),
      svg('circle', { class: 'track', cx, cy, r: (r + 5).toFixed(1), 'stroke-width': 3 }));
    const load = Math.min(.999, (x.cpu ?? 0) / 100);
    if (load > 0) {
      const turn = `translate(${cx - 200},${cy - 200})`;
      g.append(svg('path', { d: arc(r + 5, 0, load), transform: turn, fill: 'none', stroke: colour(x.name), 'stroke-width': 3 }));
    }
    g.append(svg('title', {}, `${x.name}: ${x.rooms ?? '?'} rooms, ${x.cpu ?? '?'} % cpu`));
    if (hosts.length <= 12) g.append(svg('text', { x: cx, y: Number(cy) + r + 20 }, x.name));
    parts.push(g);
  });
  if (hosts.length !== 1) {
    parts.push(svg('text', { class: 'big', x: 200, y: 205 }, count(rooms)), svg('text', { class: 'small', x: 200, y: 224 }, 'rooms'));
  }
  $('ring').replaceChildren(...parts);
}
