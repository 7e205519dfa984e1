import { el } from './lobby.js';

const $ = (id) => document.getElementById(id);
const POLL_MS = 1_000;

/** A process is NAME#BOOT; people know it by the name. */
export const nameOf = (node) => node.split('#')[0];

/**
 * In dev mode the cluster can be broken from here, for real. Elsewhere
 * /dev/status does not answer 200 and nothing of this shows.
 */
export class Dev {
  constructor({ client, host, said }) {
    this.client = client;
    this.host = host; // the host of the room played in
    this.said = said;
    this.nodes = [];
    $('breaks').addEventListener('click', (e) => { if (e.target.dataset.break) this.break(e.target.dataset.break); });
    this.#find();
  }

  get on() { return 'dev' in document.body.dataset; }

  async break(what) {
    if (what === 'drop') { this.said('you cut your connection'); this.client.drop(); return; }
    const [path, body, text] = what === 'host'
      ? ['/dev/kill', { node: this.host() }, `you killed ${nameOf(this.host())}`] : ['/dev/restart-gateway', {}, 'you restarted the gateway'];
    this.said(text);
    try {
      const answer = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
      if (!answer.ok) this.said(`that was refused: ${(await answer.text()).slice(0, 120) || answer.status}`);
    } catch { /* the gateway that was to answer may be what went down */ }
  }

  async #find() {
    const status = await this.#status();
    if (!status) return;
    document.body.dataset.dev = '';
    this.#draw(status.nodes);
    setInterval(async () => {
      const s = await this.#status();
      $('nodes').classList.toggle('stale', !s);
      if (s) this.#draw(s.nodes);
    }, POLL_MS);
  }

  async #status() {
    try {
      const answer = await fetch('/dev/status', { cache: 'no-store' });
      const s = answer.ok ? await answer.json() : null;
      return s?.dev ? s : null;
    } catch { return null; }
  }

  #draw(nodes = []) {
    this.nodes = nodes;
    const here = nameOf(this.host());
    $('nodes').replaceChildren(...nodes.map((n) => {
      const li = el('li', n.name);
      li.title = `${n.role}, ${n.state}, process ${n.pid}`;
      if (n.state === 'up') li.dataset.up = '';
      if (n.name === here) li.dataset.here = '';
      return li;
    }));
  }
}
