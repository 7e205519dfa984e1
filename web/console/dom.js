// Small ways to make and keep elements. Nothing here takes HTML: all text is text.
export const $ = (id) => document.getElementById(id);

function fill(el, attrs, children) {
  for (const [k, v] of Object.entries(attrs)) {
    if (k === 'on') for (const [event, f] of Object.entries(v)) el.addEventListener(event, f);
    else if (v === true) el.setAttribute(k, '');
    else if (v !== false && v != null) el.setAttribute(k, v);
  }
  el.append(...children.filter((c) => c != null));
  return el;
}

export const h = (tag, attrs = {}, ...children) => fill(document.createElement(tag), attrs, children);
export const svg = (tag, attrs = {}, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attrs, children);

/** Sets text only where it changed, so that a selection stays. */
export function say(el, text) { if (el.textContent !== String(text)) el.textContent = text; }

/** Keeps one row for each item: rows stay, so that what is being clicked does. */
export class Rows {
  #rows = new Map();
  constructor(body, make, update) { this.body = body; this.make = make; this.update = update; }

  show(items, keyOf) {
    const old = this.#rows;
    this.#rows = new Map();
    items.forEach((item, at) => {
      const key = keyOf(item);
      const row = old.get(key) ?? this.make(item);
      old.delete(key);
      this.#rows.set(key, row);
      this.update(row, item);
      if (this.body.children[at] !== row) this.body.insertBefore(row, this.body.children[at] ?? null);
    });
    for (const row of old.values()) row.remove();
  }
}

export const cells = (row, ...texts) => texts.forEach((t, i) => say(row.cells[i], t));

const big = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
export const count = (n) => (n == null ? '–' : n < 10_000 ? Math.round(n).toLocaleString('en') : big.format(n));
export const rate = (n) => (n == null ? '–' : n < 10 ? n.toFixed(1).replace('.0', '') : count(n));
export const ms = (n) => (n == null ? '–' : n < 10 ? `${n.toFixed(1)} ms` : n < 1000 ? `${Math.round(n)} ms` : `${(n / 1000).toFixed(1)} s`);
export function time(s) {
  if (s == null) return '–';
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`;
}
