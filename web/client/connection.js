import { decode, encode, SUBPROTOCOL, Type } from './codec.js';

// Browsers tell a page no more than that.
const NEVER_OPENED = 'no gateway answers, or it lets in no page of this origin (--origins)';

/**
 * One WebSocket from hello to end. It says hello, answers for the heartbeat,
 * measures the round trip, and ends exactly once.
 */
export class Connection {
  constructor({ url, socket, env, hello, helloMs, pingMs, onWelcome, onFrame, onEnd }) {
    Object.assign(this, { url, socket, env, pingMs, onWelcome, onFrame, onEnd });
    this.welcome = null;
    this.opened = this.ended = false;
    this.rtt = null;
    this.heardAt = env.now();
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.#opened(hello);
    socket.onmessage = (e) => this.#message(e.data);
    socket.onclose = (e) => this.end(this.opened ? 'closed' : NEVER_OPENED, e?.code ?? 1006, e?.reason ?? '');
    socket.onerror = () => {}; // a close follows
    this.timer = env.setTimeout(() => this.end('no welcome in time'), helloMs);
  }

  get buffered() { return this.socket.bufferedAmount ?? 0; }

  send(bytes) {
    if (!this.ended && this.socket.readyState === 1) this.socket.send(bytes);
  }

  /** Is it still there? Ends the connection if nothing is heard within ms. */
  probe(ms) {
    if (this.ended || !this.welcome) return;
    const asked = this.env.now();
    this.#ping();
    this.env.clearTimeout(this.probing);
    this.probing = this.env.setTimeout(() => {
      if (this.heardAt <= asked) this.end('no answer');
    }, ms);
  }

  end(why, code = 1006, text = '') {
    if (this.ended) return;
    this.ended = true;
    this.env.clearTimeout(this.timer);
    this.env.clearTimeout(this.probing);
    const s = this.socket;
    s.onopen = s.onmessage = s.onclose = null;
    s.onerror = () => {};
    try { s.close(1000); } catch { /* it never opened */ }
    this.onEnd({ why, code, text });
  }

  #opened(hello) {
    this.opened = true;
    if (this.socket.protocol === SUBPROTOCOL) this.send(hello);
    else this.end('what answered is no gateway');
  }

  #message(data) {
    this.heardAt = this.env.now();
    let frame;
    try {
      if (typeof data === 'string') throw new RangeError('text message');
      frame = decode(new Uint8Array(data));
    } catch (err) {
      this.end(`bad frame: ${err.message}`);
      return;
    }
    if (!frame) return;
    if (frame.type === Type.Welcome) this.#welcomed(frame);
    else if (frame.type === Type.Pong) this.#ponged(frame.echo);
    else if (this.welcome || frame.type === Type.Error || frame.type === Type.GoAway) this.onFrame(frame);
  }

  #welcomed(frame) {
    if (this.welcome) return;
    this.welcome = frame;
    this.env.clearTimeout(this.timer);
    this.heartbeat = Math.max(frame.heartbeat, 200);
    this.onWelcome(frame);
    if (!this.ended) this.#beat();
  }

  // One timer keeps the heartbeat and watches for silence.
  #beat() {
    if (this.env.now() - this.heardAt > 2 * this.heartbeat) {
      this.end('silent');
      return;
    }
    this.#ping();
    this.timer = this.env.setTimeout(() => this.#beat(), Math.min(this.pingMs, this.heartbeat / 2));
  }

  #ping() { this.send(encode.ping({ echo: Math.floor(this.env.now() * 1000) })); }

  #ponged(echo) {
    const sample = this.env.now() - echo / 1000;
    if (sample < 0) return;
    this.rtt = this.rtt === null ? sample : this.rtt * 0.7 + sample * 0.3;
  }
}
