/** Protects the handshake's tables: fields survive, garbage never throws. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  HELLO_BYTES_MAX,
  decodeHello,
  decodeHelloReply,
  encodeHello,
  encodeHelloReply,
} from '../../../src/protocol/handshake.js';
import type { HelloFields, HelloReplyFields } from '../../../src/protocol/handshake.js';
import { protocolVersion } from '../../../src/protocol/limits.generated.js';

const hello: HelloFields = {
  protocolVersion,
  sessionId: '0123456789abcdef0123456789abcdef',
  clusterId: 'c',
  targetId: 't',
  clientName: 'höst:1',
  slotCount: 64,
  kind: 'target',
  client: 2 ** 53 - 1,
};

const reply: HelloReplyFields = {
  protocolVersion,
  status: 71,
  reason: 'because',
  targetId: 't',
  incarnation: 'i',
  mapEpoch: 0xffffffff,
  newSession: true,
};

/** As it arrives: padded with zeros to a multiple of 8. */
function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array((bytes.length + 7) & ~7);
  whole.set(bytes);
  return whole;
}

describe('handshake', () => {
  it('carries every field', () => {
    assert.deepEqual(decodeHello(padded(encodeHello(hello))), hello);
    assert.deepEqual(decodeHelloReply(padded(encodeHelloReply(reply))), reply);
  });

  it('is refused when a field makes no sense, except that any version can be read', () => {
    assert.equal(decodeHello(encodeHello({ ...hello, sessionId: 'xyz' })), undefined);
    assert.equal(decodeHello(encodeHello({ ...hello, slotCount: 65 })), undefined);
    assert.equal(decodeHello(encodeHello({ ...hello, slotCount: 0 })), undefined);
    const other = { ...hello, protocolVersion: 7, sessionId: 'of another kind' };
    assert.equal(decodeHello(encodeHello(other))?.protocolVersion, 7);
  });

  it('fits its room however long the texts are', () => {
    const long = '\u{1f600}'.repeat(500);
    const bytes = encodeHello({ ...hello, clientName: long, clusterId: long, targetId: long });
    assert.ok(bytes.length <= HELLO_BYTES_MAX, `${bytes.length} bytes`);
  });

  it('of random or damaged bytes is read without an exception', () => {
    const good = padded(encodeHello(hello));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), fc.nat(255), (noise, at, value) => {
        decodeHello(noise);
        decodeHelloReply(noise);
        const damaged = good.slice();
        damaged[at % damaged.length] = value;
        decodeHello(damaged);
        decodeHelloReply(damaged);
      }),
      { numRuns: 3000 },
    );
  });
});
