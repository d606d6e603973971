/** Which calls want a directory's attributes for its permissions alone: of texts, and of real processes. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  callerChecksPermissions,
  syscallChecksPermissions,
} from '../../../src/client/caller-syscall.js';

const STACK = '0x7ffca7a55398';

function text(number: number, stack = STACK): string {
  return `${number} 0xffffff9c 0x7f00 0xc1 0x1b6 0x0 0x0 ${stack} 0x7fbe0a23a2ad\n`;
}

describe('callers that check permissions', () => {
  it('are those in calls that show no attributes', function () {
    if (process.arch !== 'x64') this.skip();
    // openat, unlink, mkdir
    for (const number of [257, 87, 83]) assert.equal(syscallChecksPermissions(text(number)), true);
    // stat, fstat, lstat, newfstatat, statx, getdents64, utimensat, io_uring_enter
    for (const number of [4, 5, 6, 262, 332, 217, 280, 426]) {
      assert.equal(syscallChecksPermissions(text(number)), false);
    }
  });

  it('are not those of whom it is not certain', () => {
    assert.equal(syscallChecksPermissions('running\n'), false);
    assert.equal(syscallChecksPermissions('-1 0x7ffca7a55398 0x7fbe0a23a2ad\n'), false);
    assert.equal(syscallChecksPermissions(''), false);
    // A 32-bit program, a worker of io_uring.
    assert.equal(syscallChecksPermissions(text(257, '0xffa55398')), false);
    assert.equal(syscallChecksPermissions(text(257, '0x0')), false);
    assert.equal(callerChecksPermissions(0), false);
  });

  it('are found by their thread', async function () {
    if (process.arch !== 'x64' && process.arch !== 'arm64') this.skip();
    const dir = mkdtempSync(join(tmpdir(), 'sealfs-syscall-'));
    const children: ChildProcess[] = [];
    try {
      const fifo = join(dir, 'fifo');
      execFileSync('mkfifo', [fifo]);
      // One waits in open(2), the other in read(2).
      const opener = spawn('cat', [fifo], { stdio: 'ignore' });
      const reader = spawn('cat', [], { stdio: ['pipe', 'ignore', 'ignore'] });
      children.push(opener, reader);
      for (let i = 0; i < 100 && !callerChecksPermissions(opener.pid!); i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.equal(callerChecksPermissions(opener.pid!), true);
      for (let i = 0; i < 100 && callerChecksPermissions(reader.pid!); i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.equal(callerChecksPermissions(reader.pid!), false);
      const ended = new Promise((resolve) => opener.once('exit', resolve));
      opener.kill('SIGKILL');
      await ended;
      assert.equal(callerChecksPermissions(opener.pid!), false);
    } finally {
      for (const child of children) child.kill('SIGKILL');
      rmSync(dir, { recursive: true });
    }
  });
});
