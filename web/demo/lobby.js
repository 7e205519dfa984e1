// Who you are and where to play.

const HUES = [18, 44, 96, 158, 196, 226, 276, 334];
const WORDS = [['amber', 'coral', 'misty', 'silver', 'quiet', 'sunny', 'windy', 'pearl', 'salty', 'golden'],
  ['cove', 'reef', 'shoal', 'ledge', 'lagoon', 'skerry', 'inlet', 'haven', 'strand', 'basin']];

const $ = (id) => document.getElementById(id);
const pick = (list) => list[Math.floor(Math.random() * list.length)];

export const newPoolName = () => `${pick(WORDS[0])}-${pick(WORDS[1])}-${10 + Math.floor(Math.random() * 90)}`;

/** A pool's name from a link, or ''. */
export function poolFromHash(hash) {
  const name = decodeURIComponent(hash.replace(/^#/, ''));
  return /^[A-Za-z0-9._~-]{1,64}$/.test(name) ? name : '';
}

export class Lobby {
  constructor({ list, enter }) {
    this.list = list; // asks for rooms
    this.enter = enter; // (pool, mode)
    this.hue = Number(localStorage.getItem('limpet.hue') ?? NaN);
    if (!HUES.includes(this.hue)) this.hue = pick(HUES);
    $('name').value = localStorage.getItem('limpet.name') ?? '';
    this.#swatches();
    $('enter').addEventListener('submit', (e) => { e.preventDefault(); this.#go(this.linked || this.best || 'lobby', 'joinOrCreate'); });
    $('create').addEventListener('click', () => this.#go(newPoolName(), 'create'));
  }

  get profile() { return { name: $('name').value.trim() || 'limpet', hue: this.hue }; }

  show(notice = '') {
    document.body.dataset.screen = 'lobby';
    $('notice').textContent = notice;
    this.linked = poolFromHash(location.hash);
    this.#label();
    if (matchMedia('(hover: hover)').matches) $('name').focus();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.refresh(), 2_000);
    this.refresh();
  }

  hide() {
    clearInterval(this.timer);
    document.body.dataset.screen = 'game';
    $('pool').focus();
  }

  busy(yes) { for (const b of document.querySelectorAll('#lobby button')) b.disabled = yes; }

  async refresh() {
    if (this.asking) return;
    this.asking = true;
    try {
      const { rooms, asked, answered } = await this.list();
      this.#draw(rooms);
      $('pools-note').textContent = rooms.length === 0 ? 'No pool is open yet: yours will be the first.'
        : answered < asked ? `${answered} of ${asked} hosts answered: there may be more pools.` : '';
    } catch (err) {
      $('pools-note').textContent = `The list is not to be had now (${err.reason ?? err.message}).`;
    } finally { this.asking = false; }
  }

  #draw(rooms) {
    rooms.sort((a, b) => b.members - a.members || a.room.localeCompare(b.room));
    this.best = rooms.find((r) => r.open !== false && r.members < r.max)?.room.split('/')[1] ?? '';
    this.#label();
    $('pools').replaceChildren(...rooms.map((r) => this.#row(r)));
  }

  #row(r) {
    const name = r.room.split('/')[1];
    const b = Object.assign(document.createElement('button'), { type: 'button' });
    b.disabled = r.open === false;
    b.append(el('strong', name), el('span', r.labels?.leader ? `${r.labels.leader} leads, ${r.labels.score}` : ''), el('span', `${r.members} / ${r.max}`, 'seats'));
    b.addEventListener('click', () => this.#go(name, 'joinOrCreate'));
    const li = document.createElement('li');
    li.append(b);
    return li;
  }

  #label() {
    const where = this.linked || this.best;
    $('play').textContent = where ? `Play in ${where}` : 'Play';
  }

  #swatches() {
    $('hues').replaceChildren(...HUES.map((hue) => {
      const b = Object.assign(document.createElement('button'), { type: 'button', ariaLabel: `hue ${hue}` });
      b.setAttribute('role', 'radio');
      b.setAttribute('aria-checked', String(hue === this.hue));
      b.style.background = `hsl(${hue} 65% 58%)`;
      b.addEventListener('click', () => { this.hue = hue; this.#swatches(); });
      return b;
    }));
  }

  #go(pool, mode) {
    if (!$('enter').reportValidity()) return;
    localStorage.setItem('limpet.name', this.profile.name);
    localStorage.setItem('limpet.hue', String(this.hue));
    this.enter(pool, mode);
  }
}

export function el(tag, text = '', className = '') {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}
