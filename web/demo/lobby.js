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

const PAGE = 6; // pools of one page

export class Lobby {
  constructor({ watch, enter }) {
    this.watch = watch; // (options, show, failed): shows pages until the function that it returns is called
    this.enter = enter; // (pool, mode, filter)
    this.pages = ['']; // where those up to this one begin
    this.hue = Number(localStorage.getItem('limpet.hue') ?? NaN);
    if (!HUES.includes(this.hue)) this.hue = pick(HUES);
    $('name').value = localStorage.getItem('limpet.name') ?? '';
    this.#swatches();
    $('enter').addEventListener('submit', (e) => {
      e.preventDefault();
      if (this.linked) this.#go(this.linked, 'joinOrCreate');
      else this.#go('', 'any');
    });
    $('create').addEventListener('click', () => this.#go(newPoolName(), 'create'));
    $('party').addEventListener('change', () => { this.pages = ['']; this.#look(); });
    $('more').addEventListener('click', () => { this.pages.push(this.next); this.#look(); });
    $('back').addEventListener('click', () => { this.pages.pop(); this.#look(); });
  }

  get profile() { return { name: $('name').value.trim() || 'limpet', hue: this.hue }; }
  /** Pools with seats for all of you. */
  get filter() { return { seats: Number($('party').value) }; }

  show(notice = '') {
    document.body.dataset.screen = 'lobby';
    $('notice').textContent = notice;
    this.linked = poolFromHash(location.hash);
    $('play').textContent = this.linked ? `Play in ${this.linked}` : 'Play';
    if (matchMedia('(hover: hover)').matches) $('name').focus();
    this.#look();
  }

  hide() {
    this.stop?.();
    this.stop = null;
    document.body.dataset.screen = 'game';
    $('pool').focus();
  }

  busy(yes) { for (const b of document.querySelectorAll('#lobby button')) b.disabled = yes; }

  #look() {
    this.stop?.();
    const options = { most: PAGE, after: this.pages.at(-1), filter: this.filter };
    this.stop = this.watch(options, (page) => this.#draw(page), (err) => {
      $('pools-note').textContent = `The list is not to be had now (${err.reason ?? err.message}).`;
    });
  }

  #draw({ rooms, asked, answered, covered, next }) {
    this.next = next;
    $('pools').replaceChildren(...rooms.map((r) => this.#row(r)));
    $('more').hidden = next === '';
    $('back').hidden = this.pages.length === 1;
    const none = this.pages.length > 1 ? 'No more pools.' : 'No pool is open: yours will be the first.';
    const whole = answered === asked ? '' : ` ${answered} of ${asked} hosts answered, with ${Math.round(100 * covered)} % of their rooms: there may be more pools.`;
    $('pools-note').textContent = (rooms.length === 0 ? none : '') + whole;
    $('pools').dataset.hosts = `${answered}/${asked}`;
  }

  #row(r) {
    const name = r.room.split('/')[1];
    const b = Object.assign(document.createElement('button'), { type: 'button' });
    const seats = `${r.members} / ${r.max}${r.reserved ? `, ${r.reserved} on their way` : ''}`;
    b.append(el('strong', name), el('span', r.labels?.leader ? `${r.labels.leader} leads, ${r.labels.score}` : ''), el('span', seats, 'seats'));
    b.addEventListener('click', () => this.#go(name, 'joinOrCreate'));
    const li = document.createElement('li');
    li.append(b);
    return li;
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
    this.enter(pool, mode, mode === 'any' ? this.filter : undefined);
  }
}

export function el(tag, text = '', className = '') {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}
