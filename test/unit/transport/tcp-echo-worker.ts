/**
 * A thread that answers every frame with a reply frame carrying the request's bulk, tagged 5; for
 * tcp.test.ts, which also uses `fillFrame`.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { frameMagic, noTag } from '../../../src/protocol/limits.generated.js';
import { FrameHeader } from '../../../src/protocol/wire.generated.js';
import { NativeArena } from '../../../src/native/arena.js';
import { Reactor } from '../../../src/native/reactor.js';
import { TcpTransport } from '../../../src/transport/tcp.js';

/** Fills a message slot with a frame: a request, or the reply for the landing `replyTag`. */
export function fillFrame(
  arena: NativeArena,
  slot: number,
  bytes: number,
  replyTag?: number,
): void {
  for (let i = FrameHeader.SIZE; i < bytes; i++) arena.bytes[slot + i] = (i * 31 + bytes) & 0xff;
  const words = arena.words.subarray(slot / 4, (slot + FrameHeader.SIZE) / 4);
  words.fill(0);
  words[FrameHeader.magic / 4] = frameMagic;
  words[FrameHeader.messageBytes / 4] = bytes;
  words[FrameHeader.bulkTag / 4] = replyTag ?? noTag;
  words[FrameHeader.count / 4] = 1;
  words[FrameHeader.flags / 4] = replyTag === undefined ? 0 : 1;
}

async function echo(): Promise<void> {
  const reactor = new Reactor();
  const arena = new NativeArena({ messageSlots: 64, bulkSlots: 6, receiveAreas: 1 });
  const transport = new TcpTransport(arena, reactor);
  transport.setHandler({
    onOpen: () => {},
    onClose: () => {},
    onMessage: (connection, _offset, bytes, bulkOffset, bulkBytes) => {
      const slot = arena.messages.take();
      fillFrame(arena, slot, bytes, 5);
      if (bulkOffset !== 0) transport.addBulk(bulkOffset, bulkBytes, true);
      transport.send(connection, slot, bytes, true);
    },
  });
  parentPort!.once('message', () => {
    transport.shutdown();
    parentPort!.postMessage({ messages: arena.messages.available, bulk: arena.bulk.available });
    reactor.close();
  });
  parentPort!.postMessage(await transport.listen('127.0.0.1', 0));
}

if (workerData === 'echo') await echo();
