/**
 * Protects the frame codec: what is written is read back and accepted, and whatever a single change
 * or random bytes make of a frame, checkFrame lets nothing out of bounds through.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_REPLIES,
  checkFrame,
  nextSequence,
  opcodeName,
  writeFrameHeader,
  writeReplyHeader,
  writeRequestHeader,
} from '../../../src/protocol/frame.js';
import {
  frameMagic,
  maxBulkBytes,
  messageSlotBytes,
  noTag,
  rpcSlots,
} from '../../../src/protocol/limits.generated.js';
import { isMutation, needsRecord } from '../../../src/protocol/mutations.js';
import {
  FrameHeader,
  Opcode,
  ReplyHeader,
  RequestHeader,
} from '../../../src/protocol/wire.generated.js';

const BASE = 64;
const buffer = new ArrayBuffer(2 * messageSlotBytes);
const words = new Uint32Array(buffer);
const bytes = new Uint8Array(buffer);
const view = new DataView(buffer);

interface Entry {
  slot: number;
  opcode: number;
  sequence: number;
  bodyWords: number;
}

const entries: fc.Arbitrary<Entry[]> = fc.array(
  fc.record({
    slot: fc.nat(rpcSlots - 1),
    opcode: fc.nat(255),
    sequence: fc.nat(0xffffffff),
    bodyWords: fc.nat(40),
  }),
  { minLength: 1, maxLength: 40 },
);

/** Writes the frame at BASE; returns its length. */
function write(list: Entry[], replies: boolean): number {
  bytes.fill(0);
  let at = BASE + FRAME_HEADER_BYTES;
  for (const { slot, opcode, sequence, bodyWords } of list) {
    const entryBytes = ENTRY_HEADER_BYTES + 8 * bodyWords;
    if (replies) writeReplyHeader(words, at, entryBytes, opcode, 1, slot, 5, sequence, 9);
    else writeRequestHeader(words, at, entryBytes, opcode, 1, slot, sequence, 9);
    at += entryBytes;
  }
  writeFrameHeader(words, BASE, at - BASE, noTag, list.length, replies ? FRAME_REPLIES : 0);
  return at - BASE;
}

/** An independent reading: all entries within the message, which they fill. */
function fillsMessage(messageBytes: number): boolean {
  let at = BASE + FRAME_HEADER_BYTES;
  const end = BASE + messageBytes;
  let left = view.getUint32(BASE + FrameHeader.count, true);
  for (; left > 0 && at + ENTRY_HEADER_BYTES <= end; left--) {
    const length = view.getUint16(at, true);
    if (length < ENTRY_HEADER_BYTES || length % 8 !== 0) return false;
    if (view.getUint16(at + RequestHeader.slot, true) >= rpcSlots) return false;
    at += length;
  }
  return left === 0 && at === end;
}

describe('frames', () => {
  it('are written as the schema says and accepted', () => {
    fc.assert(
      fc.property(entries, fc.boolean(), (list, replies) => {
        const messageBytes = write(list, replies);
        assert.equal(view.getUint32(BASE + FrameHeader.magic, true), frameMagic);
        let at = BASE + FRAME_HEADER_BYTES;
        for (const entry of list) {
          assert.equal(view.getUint16(at + RequestHeader.bytes, true), 16 + 8 * entry.bodyWords);
          assert.equal(view.getUint8(at + RequestHeader.opcode), entry.opcode);
          assert.equal(view.getUint8(at + RequestHeader.flags), 1);
          assert.equal(view.getUint16(at + RequestHeader.slot, true), entry.slot);
          assert.equal(view.getUint32(at + RequestHeader.sequence, true), entry.sequence);
          assert.equal(view.getUint32(at + RequestHeader.mapEpoch, true), 9);
          if (replies) assert.equal(view.getUint16(at + ReplyHeader.status, true), 5);
          at += view.getUint16(at, true);
        }
        assert.equal(checkFrame(words, BASE, messageBytes, 0, replies), '');
        assert.notEqual(checkFrame(words, BASE, messageBytes, 0, !replies), '');
      }),
    );
  });

  it('with one byte changed are refused unless they are still in bounds', () => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(255), (list, where, value) => {
        const messageBytes = write(list, false);
        bytes[BASE + (where % messageBytes)] = value;
        if (checkFrame(words, BASE, messageBytes, 0, false) === '') {
          assert.ok(fillsMessage(messageBytes));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('of random words are refused unless they are in bounds', () => {
    const word = fc.oneof(fc.nat(0xffffffff), fc.nat(64), fc.constant(frameMagic));
    fc.assert(
      fc.property(fc.array(word, { minLength: 8, maxLength: 60 }), (list) => {
        bytes.fill(0);
        words.set(list, BASE / 4);
        words[BASE / 4] = frameMagic;
        words[BASE / 4 + 1] = list.length * 4;
        words[BASE / 4 + 2] = 0;
        const wrong = checkFrame(words, BASE, list.length * 4, 0, (list[5]! & 1) !== 0);
        if (wrong === '') assert.ok(fillsMessage(list.length * 4));
      }),
      { numRuns: 2000 },
    );
  });

  it('are refused for each rule that they break, with a reason', () => {
    const one = [{ slot: 1, opcode: 2, sequence: 3, bodyWords: 1 }];
    const length = write(one, false);
    const broken = (change: () => void, bulkBytes = 0, messageBytes = length): string => {
      write(one, false);
      change();
      return checkFrame(words, BASE, messageBytes, bulkBytes, false);
    };
    const set = (field: number, value: number) => () => {
      words[(BASE + field) / 4] = value;
    };
    assert.equal(broken(set(FrameHeader.magic, 1)), 'wrong magic');
    assert.match(broken(set(FrameHeader.messageBytes, 16)), /length differs/);
    assert.match(broken(set(FrameHeader.bulkBytes, 8)), /bulk length/);
    assert.match(broken(set(FrameHeader.bulkBytes, maxBulkBytes + 1), maxBulkBytes + 1), /bulk/);
    assert.match(broken(set(FrameHeader.bulkTag, 0)), /bulk tag/);
    assert.match(broken(set(FrameHeader.count, 0)), /more bytes/);
    assert.match(broken(set(FrameHeader.count, 2)), /fewer entries/);
    assert.match(
      broken(() => undefined, 0, 16),
      /message of 16/,
    );
    assert.match(
      broken(() => undefined, 0, messageSlotBytes + 8),
      /message of/,
    );
    const two = [one[0]!, one[0]!];
    const bytesOfTwo = write(two, false);
    words[(BASE + FrameHeader.bulkBytes) / 4] = 8;
    assert.match(checkFrame(words, BASE, bytesOfTwo, 8, false), /more than one/);
    assert.match(checkFrame(words, BASE + 4, length, 0, false), /aligned/);
    writeFrameHeader(words, BASE, FRAME_HEADER_BYTES, noTag, 0, 0);
    assert.match(checkFrame(words, BASE, FRAME_HEADER_BYTES, 0, false), /fewer entries/);
  });

  it('number requests from 1 and wrap to 1', () => {
    assert.equal(nextSequence(0), 1);
    assert.equal(nextSequence(0xffffffff), 1);
    assert.equal(nextSequence(0xfffffffe), 0xffffffff);
  });

  it('know which requests must not be executed twice', () => {
    assert.ok(isMutation(Opcode.Create) && isMutation(Opcode.Write) && isMutation(Opcode.Reserve));
    assert.ok(!isMutation(Opcode.Read) && !isMutation(Opcode.Lookup) && !isMutation(Opcode.Fsync));
    assert.ok(needsRecord(Opcode.Release) && !isMutation(Opcode.Release));
    assert.equal(opcodeName(Opcode.Rename), 'Rename');
    assert.equal(opcodeName(200), 'opcode 200');
  });
});
