"""A client of limpet.v1 as docs/protocol.md describes it: joins, plays, loses
its connection, resumes at another gateway, plays on, leaves.
Usage: client.py LIBRARY ROOM URL URL; the library is websockets or aiohttp."""
import asyncio, json, os, struct, sys

library, room, *urls = sys.argv[1:]
instance, data = os.urandom(16), b'{"name":"ada"}'

def s8(b): return struct.pack(">B", len(b)) + b
def s16(b): return struct.pack(">H", len(b)) + b

class Conn:
    """send, recv and drop, over either library."""
    async def open(self, url):
        if library == "websockets":
            import websockets
            self.ws = await websockets.connect(url, subprotocols=["limpet.v1"])
            self.send, self.recv = self.ws.send, self.ws.recv
            assert self.ws.subprotocol == "limpet.v1"
            self.drop = lambda: self.ws.transport.abort()
        else:
            import aiohttp
            self.http = aiohttp.ClientSession()
            self.ws = await self.http.ws_connect(url, protocols=["limpet.v1"])
            self.send, self.recv = self.ws.send_bytes, self.ws.receive_bytes
            assert self.ws.protocol == "limpet.v1"
            self.drop = lambda: self.ws._response.connection.transport.abort()
        await self.send(struct.pack(">BB", 1, 0) + instance + s16(b"") + s8(b"test-" + library.encode()))
        await self.next(0x81)
        return self

    async def next(self, kind):
        while True:
            b = await self.recv()
            if b[0] == kind:
                return b[1:]
            assert b[0] != 0x8E, b

    async def close(self):
        await self.ws.close()
        if library == "aiohttp":
            await self.http.close()

def joined(b):
    j, at = {}, 8
    j["handle"] = struct.unpack_from(">I", b, 4)[0]
    for _ in range(2):  # kind, name
        at += 1 + b[at]
    j["member"], j["how"] = struct.unpack_from(">QB", b, at)
    at += 9
    at += 1 + b[at]  # host
    j["epoch"], _, j["seq"], j["count"], j["applied"], j["durable"], _, _, n = struct.unpack_from(">8QH", b, at)
    j["token"] = b[at + 66 : at + 66 + n]
    return j

def play(handle, n):
    return struct.pack(">BIQ", 4, handle, n) + json.dumps({"c": library, "n": n}).encode()

async def echoed(c, n, pos):
    while True:
        b = await c.next(0x83)
        seq = struct.unpack_from(">Q", b, 4)[0]
        assert seq > pos["seq"]
        pos["seq"] = seq
        note = json.loads(b[12:])
        if note.get("c") == library and note.get("n") == n:
            return

async def main():
    c = await Conn().open(urls[0])
    await c.send(struct.pack(">BIB", 2, 1, 2) + s8(b"ledger") + s8(room.encode()) + s16(data))
    j = joined(await c.next(0x82))
    pos = {"epoch": j["epoch"], "seq": j["seq"]}
    for n in 1, 2, 3:
        await c.send(play(j["handle"], n))
    for n in 1, 2, 3:
        await echoed(c, n, pos)
    c.drop()

    d = await Conn().open(urls[1])
    await d.send(struct.pack(">BI", 3, 2) + s16(j["token"]) + struct.pack(">QQ", pos["epoch"], pos["seq"]) + s16(data))
    back = joined(await d.next(0x82))
    assert back["member"] == j["member"] and back["how"] == 1 and back["applied"] == 3, back
    await d.send(play(back["handle"], 3))  # once more: it must not count
    await d.send(play(back["handle"], 4))
    await echoed(d, 4, pos)
    await d.send(struct.pack(">BIQ", 6, back["handle"], 5))
    left = await d.next(0x8D)
    assert struct.unpack_from(">H", left, 4)[0] == 300
    await d.close()
    await c.close()
    print("ok")

asyncio.run(asyncio.wait_for(main(), 20))
