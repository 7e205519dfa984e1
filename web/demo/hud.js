import { el } from './lobby.js';
import { DASH_EVERY } from './step.js';

const $ = (id) => document.getElementById(id);
const SHOWN = 6;

const TIDES = {
  out: 'Low tide: gather shells', rising: 'Tide coming in: find a rock',
  high: 'High tide: hold on!', falling: 'Tide going out',
};

/** What stands around the pool: tide, scores, dash, short messages. */
export class Hud {
  constructor(model) { this.model = model; }

  /** Cheap enough for a few times a second. */
  update() {
    const { model } = this;
    if (!model.ready) return;
    const { name, left } = model.phase();
    const whole = model.tides[['out', 'rising', 'high', 'falling'].indexOf(name)] / 20;
    $('tide').dataset.phase = name;
    $('tide-text').textContent = `${TIDES[name]} · ${Math.ceil(left)}`;
    $('tide-arc').style.strokeDasharray = `${100 * left / whole} 100`;
    $('dash').style.setProperty('--ready', String(1 - (model.own?.cool ?? 0) / DASH_EVERY));
    this.#scores();
  }

  #scores() {
    const all = [...this.model.players.values()].sort((a, b) => b.score - a.score || a.slot - b.slot);
    const shown = all.slice(0, SHOWN);
    const me = this.model.me;
    if (me && !shown.includes(me)) shown.splice(SHOWN - 1, 1, me);
    const key = shown.map((p) => [p.slot, p.name, p.score, p.away, p.hue].join()).join('|');
    if (key === this.key) return;
    this.key = key;
    $('scores').replaceChildren(...shown.map((p) => {
      const li = el('li', '', `${p === me ? 'me' : ''} ${p.away ? 'away' : ''}`);
      const dot = el('i');
      dot.style.background = `hsl(${p.hue} 65% 58%)`;
      li.append(dot, el('span', p.name), el('b', String(p.score)));
      return li;
    }));
  }

  toast(text, tone = '') {
    const t = $('toast');
    t.textContent = text;
    t.className = `shown ${tone}`;
    clearTimeout(this.toasting);
    this.toasting = setTimeout(() => { t.className = tone; }, 2600);
  }
}
