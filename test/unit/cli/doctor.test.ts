/** What the doctor concludes. Protects: that a lack is seen, and that the advice comes with it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkAddons,
  checkDax,
  checkDirectIo,
  checkHugePages,
  checkIoUring,
  checkKernel,
  checkLimits,
  checkNode,
  checkRdma,
  softLimit,
} from '../../../src/cli/doctor-checks.js';
import type { RdmaDevice } from '../../../src/native/rdma-state.js';
import type { CheckResult } from '../../../src/cli/doctor-checks.js';

const limits = (files: string, locked: string): string =>
  'Limit                     Soft Limit           Hard Limit           Units     \n' +
  `Max open files            ${files.padEnd(20)} 1048576              files     \n` +
  `Max locked memory         ${locked.padEnd(20)} unlimited            bytes     \n`;

describe('doctor', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sealfs-manager-doctor-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  const state = (check: CheckResult): string => {
    assert.equal(check.advice === '', check.state === 'ok', `${check.name}: ${check.advice}`);
    return check.state;
  };

  it('judges versions', () => {
    assert.equal(state(checkNode('v20.18.1')), 'fail');
    assert.equal(state(checkNode('v20.19.0')), 'ok');
    assert.equal(state(checkNode('v22.1.0')), 'ok');
    assert.equal(state(checkKernel('6.1.0-13-amd64')), 'warn');
    assert.equal(state(checkKernel('6.6.1')), 'ok');
    assert.equal(state(checkKernel('7.0.0')), 'ok');
  });

  it('judges limits', () => {
    assert.equal(softLimit(limits('1024', 'unlimited'), 'Max open files'), 1024);
    assert.deepEqual(checkLimits(limits('1024', '65536')).map(state), ['warn', 'warn']);
    assert.deepEqual(checkLimits(limits('65536', 'unlimited')).map(state), ['ok', 'ok']);
  });

  it('judges devices and memory', () => {
    assert.equal(state(checkIoUring('io_uring')), 'ok');
    assert.equal(state(checkIoUring('threads (Operation not permitted)')), 'warn');
    assert.equal(state(checkHugePages('HugePages_Free:   4\nHugepagesize: 2048 kB\n')), 'ok');
    assert.equal(state(checkHugePages('HugePages_Free:   0\nHugepagesize: 2048 kB\n')), 'warn');
    const plain = '1 2 98:0 / /data rw - ext4 /dev/sdax rw\n';
    assert.match(checkDax(plain).found, /no persistent memory/);
    const pmem = '1 2 259:0 / /pmem rw - xfs /dev/pmem0 rw,dax=always\n';
    assert.match(checkDax(pmem).found, /at \/pmem/);
  });

  it('shows each RDMA device, and what keeps it from being used, as notes', () => {
    const rxe0: RdmaDevice = {
      ...{ name: 'rxe0', type: 'RoCE v2', state: 'ACTIVE', interfaces: ['net0'] },
      ...{ addresses: ['10.77.0.1'], gids: 2 },
    };
    const good = checkRdma({ devices: [rxe0], problems: [] });
    assert.deepEqual(good.map(state), ['ok', 'ok']);
    assert.match(good[0]!.found, /ACTIVE, RoCE v2, on net0, at 10\.77\.0\.1/);
    const bare = { ...rxe0, addresses: [], gids: 1 };
    const problems = [{ what: 'it lacks something', mend: 'mend it so' }];
    const bad = checkRdma({ devices: [bare], problems });
    assert.deepEqual(bad.map(state), ['warn', 'warn']);
    assert.match(bad[0]!.advice, /device rxe0 has no RoCE GID: give its network interface an IP/);
    assert.match(bad[1]!.found, /it lacks something; tcp is used/);
    assert.equal(bad[1]!.advice, 'mend it so');
  });

  it('names addons that are missing or broken', () => {
    writeFileSync(join(directory, 'sealfs_core.node'), 'not an addon');
    const check = checkAddons(directory);
    assert.equal(state(check), 'fail');
    assert.match(check.found, /core: .*(invalid|too short|file)/i);
    assert.match(check.found, /socket: not built/);
    assert.match(check.advice, /npm run build:native/);
  });

  it('tries O_DIRECT and leaves nothing behind', () => {
    assert.notEqual(state(checkDirectIo(directory)), 'fail');
    assert.deepEqual(readdirSync(directory), []);
    assert.equal(state(checkDirectIo(join(directory, 'none'))), 'fail');
  });
});
