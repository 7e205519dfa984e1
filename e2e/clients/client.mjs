// A client of limpet.v1 as docs/protocol.md describes it: joins, plays, loses
// its connection, resumes at another gateway, plays on, leaves.
// Usage: client.mjs LIBRARY ROOM URL URL; the library is ws or undici.
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'

const [library, room, ...urls] = process.argv.slice(2)
const modules = createRequire(new URL('../../web/test/package.json', import.meta.url))
const { WebSocket } = modules(library)

const u = (bytes, n) => { const b = Buffer.alloc(bytes); bytes === 8 ? b.writeBigUInt64BE(BigInt(n)) : b.writeUIntBE(n, 0, bytes); return b }
const sized = (bytes, data) => { const b = Buffer.from(data); return Buffer.concat([u(bytes, b.length), b]) }
const frame = (type, ...parts) => Buffer.concat([u(1, type), ...parts])

/** Reads fields one behind the other. */
class Fields {
  constructor(b) { this.b = b; this.at = 1 }
  u(bytes) { const v = bytes === 8 ? Number(this.b.readBigUInt64BE(this.at)) : this.b.readUIntBE(this.at, bytes); this.at += bytes; return v }
  sized(bytes) { const n = this.u(bytes); this.at += n; return this.b.subarray(this.at - n, this.at) }
  rest() { return this.b.subarray(this.at) }
}

const instance = randomBytes(16), data = '{"name":"ada"}'

/** Opens a connection, says hello, and gives a way to send and to wait. */
async function connect(url) {
  const ws = new WebSocket(url, ['limpet.v1']), queue = [], waiting = []
  ws.binaryType = 'arraybuffer'
  ws.onmessage = e => { const b = Buffer.from(e.data); waiting.length ? waiting.shift()(b) : queue.push(b) }
  await new Promise((ok, no) => { ws.onopen = ok; ws.onerror = () => no(new Error('no connection')) })
  if (ws.protocol !== 'limpet.v1') throw new Error('no gateway: ' + ws.protocol)
  const c = {
    ws, send: b => ws.send(b),
    /** The next frame of a type; others are passed over. */
    async next(type) {
      for (;;) {
        const b = queue.length ? queue.shift() : await new Promise(ok => waiting.push(ok))
        if (b[0] === type) return new Fields(b)
        if (b[0] === 0x8e) throw new Error('error ' + b.toString('latin1'))
      }
    },
  }
  c.send(frame(0x01, u(1, 0), instance, sized(2, ''), sized(1, 'test-' + library)))
  await c.next(0x81)
  return c
}

function joined(f) {
  const j = { ref: f.u(4), handle: f.u(4), kind: f.sized(1), name: f.sized(1), member: f.u(8), how: f.u(1), host: f.sized(1), epoch: f.u(8) }
  f.u(8) // incarnation
  Object.assign(j, { seq: f.u(8), count: f.u(8), applied: f.u(8), durable: f.u(8) })
  f.u(8); f.u(8) // from, to
  return { ...j, token: Buffer.from(f.sized(2)) }
}

const input = (handle, n) => frame(0x04, u(4, handle), u(8, n), Buffer.from(JSON.stringify({ c: library, n })))

async function echoed(c, n, position) {
  for (;;) {
    const f = await c.next(0x83)
    f.u(4)
    const seq = f.u(8)
    if (seq <= position.seq) throw new Error(`message ${seq} after ${position.seq}`)
    position.seq = seq
    const note = JSON.parse(f.rest())
    if (note.c === library && note.n === n) return
  }
}

const late = setTimeout(() => { console.error('too late'); process.exit(1) }, 20_000)
let c = await connect(urls[0])
c.send(frame(0x02, u(4, 1), u(1, 2), sized(1, 'ledger'), sized(1, room), sized(2, data)))
let j = joined(await c.next(0x82))
const position = { epoch: j.epoch, seq: j.seq }
for (let n = 1; n <= 3; n++) c.send(input(j.handle, n))
for (let n = 1; n <= 3; n++) await echoed(c, n, position)
c.ws.terminate ? c.ws.terminate() : c.ws.close()

c = await connect(urls[1])
c.send(frame(0x03, u(4, 2), sized(2, j.token), u(8, position.epoch), u(8, position.seq), sized(2, data)))
const back = joined(await c.next(0x82))
if (back.member !== j.member || back.how !== 1 || back.applied !== 3) throw new Error('resumed as ' + JSON.stringify(back))
c.send(input(back.handle, 3)) // once more: it must not count
c.send(input(back.handle, 4))
await echoed(c, 4, position)
c.send(frame(0x06, u(4, back.handle), u(8, 5)))
const left = await c.next(0x8d)
left.u(4)
if (left.u(2) !== 300) throw new Error('left otherwise')
c.ws.close(1000)
clearTimeout(late)
console.log('ok')
