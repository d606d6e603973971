/** Protects what `sealfs intercept --report` says: sums over programs, and what cannot be intercepted at all. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readReport, reportRows } from '../../../src/cli/intercept-report.js';
import { isStaticProgram, reasonAgainstPreload } from '../../../src/cli/preloadable.js';

describe('the report of intercepted programs', () => {
  it('adds up what they say, and leaves out what was cut', () => {
    const text =
      '{"pid":1,"calls":{"read":{"shim":3,"4202":2},"write":{"shim":0}},' +
      '"ns":{"read":{"shim":8000,"4202":7000}}}\n' +
      '{"pid":2,"calls":{"read":{"shim":4,"4202":1,"4100":5}},' +
      '"ns":{"read":{"shim":6000,"4202":5000,"4100":4000}}}\n' +
      '{"pid":3,"calls":{"re';
    const rows = reportRows(readReport(text).programs);
    assert.deepEqual(rows[0]!.slice(0, 3), ['read', '7', '8']);
    assert.deepEqual(rows[0]!.slice(3, 5), ['2.0', '2.0']);
    assert.match(rows[0]![5]!, /3 the file offset is shared/);
    assert.deepEqual(rows[1], ['write', '0', '0', '-', '-', '']);
  });

  it('knows who was killed, and what was executed', () => {
    const text =
      '{"pid":1,"began":"/bin/sh"}\n{"pid":2,"executes":"/bin/no"}\n{"pid":2,"stays":1}\n' +
      '{"pid":2,"executes":"dd"}\n{"pid":2,"began":"/bin/dd"}\n{"pid":2,"calls":{},"ns":{}}\n' +
      '{"pid":3,"executes":"/bin/yes"}\n{"pid":3,"began":"/bin/yes"}\n' +
      '{"pid":1,"calls":{},"ns":{}}\n';
    const found = readReport(text);
    assert.deepEqual(found.silent, [{ pid: 3, program: '/bin/yes' }]);
    assert.deepEqual(found.executed, ['dd', '/bin/yes']);
    assert.equal(found.programs.length, 2);
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

  it('says why nothing can be preloaded', () => {
    const dir = mkdtempSync(join(tmpdir(), 'sealfs-preloadable-'));
    try {
      const tool = join(dir, 'tool');
      const header = Buffer.alloc(64);
      header.write('\x7fELF\x02', 'latin1');
      writeFileSync(tool, header, { mode: 0o755 });
      writeFileSync(join(dir, 'script'), `#! ${tool} -x\n`, { mode: 0o755 });
      writeFileSync(join(dir, 'plain'), '#!/bin/sh\n', { mode: 0o755 });
      assert.match(reasonAgainstPreload(tool), /linked statically/);
      assert.match(reasonAgainstPreload(join(dir, 'script')), /interpreter .*tool is linked/);
      assert.equal(reasonAgainstPreload(join(dir, 'plain')), '');
      assert.equal(reasonAgainstPreload('sh'), '');
      assert.equal(reasonAgainstPreload(join(dir, 'none')), '');
      writeFileSync(join(dir, 'plain'), 'MZ');
      chmodSync(join(dir, 'plain'), 0o4755);
      assert.match(reasonAgainstPreload(join(dir, 'plain')), /set-user-ID/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
