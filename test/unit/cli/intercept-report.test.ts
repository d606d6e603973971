/** Protects what `sealfs intercept --report` says: sums over programs, and what cannot be intercepted at all. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { isStaticProgram, parseReport, reportRows } from '../../../src/cli/intercept-report.js';

describe('the report of intercepted programs', () => {
  it('adds up what they say, and leaves out what was cut', () => {
    const text =
      '{"pid":1,"calls":{"read":{"shim":3,"4202":2},"write":{"shim":0}}}\n' +
      '{"pid":2,"calls":{"read":{"shim":4,"4202":1,"4100":5}}}\n' +
      '{"pid":3,"calls":{"re';
    const rows = reportRows(parseReport(text));
    assert.deepEqual(rows[0]!.slice(0, 3), ['read', '7', '8']);
    assert.match(rows[0]![3]!, /3 the file offset is shared/);
    assert.deepEqual(rows[1], ['write', '0', '0', '']);
  });

  it('knows programs that load no library', () => {
    assert.equal(isStaticProgram(readFileSync(process.execPath).subarray(0, 4096)), false);
    const header = Buffer.alloc(120);
    header.write('\x7fELF', 'latin1');
    header[4] = 2;
    header.writeBigUInt64LE(64n, 32);
    header.writeUInt16LE(56, 54);
    header.writeUInt16LE(1, 56);
    assert.equal(isStaticProgram(header), true);
    header.writeUInt32LE(3, 64);
    assert.equal(isStaticProgram(header), false);
    assert.equal(isStaticProgram(Buffer.from('#!/bin/sh\n')), false);
  });
});
