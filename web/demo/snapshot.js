// The state broadcast of games/arena/snapshot.go.

const PLACE = 40, SPEED = 256, HEAD = 8, EACH = 18;

/** Decodes a snapshot, or gives null for one that this page does not know. */
export function decodeSnapshot(b) {
  const v = new DataView(b.buffer, b.byteOffset, b.byteLength);
  if (b.length < HEAD || v.getUint8(0) !== 1) return null;
  const n = v.getUint8(7);
  if (b.length < HEAD + n * EACH) return null;
  const players = [];
  for (let i = 0, at = HEAD; i < n; i++, at += EACH) {
    const flags = v.getUint8(at + 1);
    players.push({
      slot: v.getUint8(at), away: (flags & 1) !== 0, clinging: (flags & 2) !== 0, swept: (flags & 4) !== 0,
      x: v.getUint16(at + 2) / PLACE, y: v.getUint16(at + 4) / PLACE,
      vx: v.getInt16(at + 6) / SPEED, vy: v.getInt16(at + 8) / SPEED,
      step: v.getUint16(at + 10), cool: v.getUint8(at + 12), string: v.getUint8(at + 13), score: v.getUint32(at + 14),
    });
  }
  return { tick: v.getUint32(1), tide: v.getUint8(5) / 255, current: v.getUint8(6) * Math.PI / 128, players };
}
