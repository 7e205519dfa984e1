import { connect, LimpetError, type Client, type Room } from '../../client/limpet.js';

const client: Client = connect(['ws://a/', 'ws://b/'], { token: async () => 'secret', backoff: { cap: 5000 }, WebSocket });
const room: Room = await client.join('arena', 'lobby', { data: { name: 'Ann' }, mode: 'joinOrCreate', persist: true });
const stop: () => void = room.on('message', (m) => { const n: number = m.seq; console.log(n, m.json, m.text.length); });
room.once('latest', (m) => console.log(m.key.toFixed(), m.bytes.length));
room.on('rewound', (lost) => console.log(lost.from, lost.to, lost.applied));
room.on('left', ({ reason }) => console.log(reason));
const n: number = room.send(new Uint8Array(3)) + room.send('text') + room.send({ x: 1 });
console.log(n, room.applied, room.durable, client.stats.rtt?.toFixed(1), client.rtt);
for (const info of (await client.rooms('arena', { most: 5 })).rooms) console.log(info.room, info.labels?.leader);
const unwatch: () => void = client.watch('arena', { filter: { pool: 'gold', seats: 2 } }, (l) => console.log(l.rooms.length, l.covered), (err) => console.log(err.reason));
unwatch();
await client.join('arena', '', { mode: 'any', filter: { labels: { map: 'reef' } } });
try { await client.join('chat'); } catch (err) { if (err instanceof LimpetError && err.retryable) console.log(err.retryMs); }
stop();
await room.leave();
client.close();
