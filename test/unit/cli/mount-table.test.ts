/** Mount points. Protects: reading mountinfo with blanks and stacked mounts, every refusal. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkMountPoint,
  findMount,
  isFuse,
  isRunning,
  parseMountInfo,
  resolveMountPoint,
} from '../../../src/cli/mount-table.js';

describe('mount table', () => {
  let directory: string;
  before(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'sealfs-manager-mounts-')));
  });
  after(() => {
    rmSync(directory, { recursive: true });
  });

  it('reads mountinfo', () => {
    const entries = parseMountInfo(
      '36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/root rw\n' +
        '60 36 0:57 / /mnt/x rw - fuse.sealfs scratch rw,user_id=0\n\n',
    );
    assert.deepEqual(entries, [
      { mountPoint: '/mnt/a b', fsType: 'ext4', source: '/dev/root' },
      { mountPoint: '/mnt/x', fsType: 'fuse.sealfs', source: 'scratch' },
    ]);
    assert.deepEqual(entries.map(isFuse), [false, true]);
    assert.equal(findMount('/proc')!.fsType, 'proc');
    assert.equal(findMount('/proc/self'), undefined);
  });

  it('accepts an empty directory, refuses everything else', () => {
    const empty = join(directory, 'empty');
    mkdirSync(empty);
    checkMountPoint(empty);
    writeFileSync(join(directory, 'file'), '');
    const refused: [string, RegExp][] = [
      [directory, /is not empty/],
      [join(directory, 'file'), /is not a directory/],
      [join(directory, 'file', 'x'), /is not a directory/],
      [join(directory, 'none'), /does not exist; make it first/],
      ['/proc', /already mounted \(proc\)/],
    ];
    for (const [path, message] of refused) {
      assert.throws(() => checkMountPoint(path), { code: 'USAGE', message }, path);
    }
  });

  it('follows links to a mount point', () => {
    symlinkSync('/proc', join(directory, 'link'));
    assert.equal(resolveMountPoint(join(directory, 'link')), '/proc');
    assert.equal(resolveMountPoint(join(directory, 'none')), join(directory, 'none'));
    assert.equal(resolveMountPoint('/no/where'), '/no/where');
    assert.equal(resolveMountPoint('/'), '/');
  });

  it('tells running processes from ended ones', () => {
    assert.equal(isRunning(process.pid), true);
    assert.equal(isRunning(2 ** 30), false);
  });
});
