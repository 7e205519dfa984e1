// A baseline: the benchmark's room on Colyseus, as its documentation has it: raw
// bytes in place of a synchronised state, which this room has none of, and the
// transport's pings off. bench/state/state.go has the messages' format.
import { parseArgs } from "node:util";
import { Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";

const args = process.argv.slice(2).map((a) => a.replace(/^-(?=[a-z])/, "--"));
const { values: flags } = parseArgs({
  args,
  options: {
    listen: { type: "string", default: "127.0.0.1:8080" },
    tick: { type: "string", default: "20" },
    size: { type: "string", default: "256" },
    messages: { type: "string", default: "1" },
    echo: { type: "boolean", default: false },
  },
});
const tick = Number(flags.tick);
const size = Number(flags.size);
const messages = Number(flags.messages);

const headSize = 20;
const echoSize = 16;
const maxEchoes = 14;
const kind = 1; // of all messages, both ways

// now is the machine's clock in nanoseconds.
const now = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;

class Bench extends Room {
  onCreate() {
    this.seq = 0;
    this.fresh = [];
    this.buffer = Buffer.alloc(Math.max(size, headSize));
    this.setPatchRate(null);
    if (flags.echo) {
      this.onMessageBytes(kind, (client, data) => client.sendBytes(kind, data));
      return;
    }
    this.onMessageBytes(kind, (_, data) => {
      if (data.length >= echoSize) this.fresh.push(Buffer.from(data.subarray(0, echoSize)));
    });
    this.setSimulationInterval(() => this.tick(), 1000 / tick);
  }

  tick() {
    for (let i = 0; i < messages; i++) this.broadcastBytes(kind, this.next());
  }

  next() {
    const b = this.buffer;
    this.seq++;
    b.writeBigUInt64BE(now(), 0);
    b.writeBigUInt64BE(BigInt(this.seq), 8);
    const n = Math.min(this.fresh.length, maxEchoes, Math.floor((b.length - headSize) / echoSize));
    b.writeUInt32BE(n, 16);
    for (let i = 0; i < n; i++) {
      this.fresh[(this.seq * maxEchoes + i) % this.fresh.length].copy(b, headSize + i * echoSize);
    }
    this.fresh.length = 0;
    return b;
  }
}

const [host, port] = flags.listen.split(":");
const server = new Server({ transport: new WebSocketTransport({ pingInterval: 0 }), greet: false });
server.define("bench", Bench).filterBy(["n"]);
await server.listen(Number(port), host);
