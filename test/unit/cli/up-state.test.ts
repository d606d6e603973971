/** What `up --dir` remembers. Protects: the same cluster comes back, nothing else is accepted. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastComplaint } from '../../../src/cli/local-cluster.js';
import { prepareState, writeState } from '../../../src/cli/up-state.js';

describe('up --dir', () => {
  let directory: string;
  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), 'sealfs-manager-up-')), 'd');
  });
  afterEach(() => {
    rmSync(join(directory, '..'), { recursive: true });
  });
  const small = { dataBytes: 64 * 2 ** 20 };

  it('brings the same cluster back', () => {
    const state = prepareState(directory, { ...small, servers: 3 });
    assert.deepEqual(state, { format: 1, servers: 3, targets: 1, managerPort: 0, ...small });
    writeState(directory, { ...state, managerPort: 4711 });
    assert.deepEqual(prepareState(directory, {}), { ...state, managerPort: 4711 });
    assert.deepEqual(prepareState(directory, { servers: 3 }).servers, 3);
  });

  it('refuses another shape than the cluster has', () => {
    writeState(directory, prepareState(directory, { ...small, servers: 2 }));
    const message = /--servers: the cluster in .* has 2, not 3/;
    assert.throws(() => prepareState(directory, { servers: 3 }), { code: 'USAGE', message });
    assert.throws(() => prepareState(directory, { dataBytes: 1 }), { message: /--data-size/ });
  });

  it('refuses a directory that holds something else, a file, and a full disk', () => {
    mkdirSync(directory);
    writeFileSync(join(directory, 'x'), '');
    assert.throws(() => prepareState(directory, {}), { code: 'USAGE', message: /is not empty/ });
    assert.throws(() => prepareState(join(directory, 'x'), {}), { code: 'USAGE' });
    assert.throws(() => prepareState(join(directory, 'x', 'y'), {}), { message: /ENOTDIR/ });
    const huge = { dataBytes: 2 ** 50 };
    assert.throws(() => prepareState(join(directory, 'z'), huge), { message: /too little/ });
  });

  it('refuses a damaged up.json', () => {
    writeState(directory, prepareState(directory, small));
    writeFileSync(join(directory, 'up.json'), '{"format":1');
    assert.throws(() => prepareState(directory, {}), { code: 'CORRUPT', message: /not readable/ });
    writeFileSync(join(directory, 'up.json'), '{"format":1}');
    assert.throws(() => prepareState(directory, {}), { code: 'CORRUPT', message: /servers/ });
  });

  it('finds the last words of a process', () => {
    mkdirSync(directory);
    const file = join(directory, 'log');
    const earlier = 'sealfs: of an earlier run\n';
    const note = '2026-01-01T00:00:00.000Z info  server: stopping\n';
    const write = (text: string): void => writeFileSync(file, earlier + text);
    write(`${'x'.repeat(100_000)}\nsealfs: the disk is full\n${note}\n`);
    assert.equal(lastComplaint(file, earlier.length), 'the disk is full');
    write(note);
    assert.equal(lastComplaint(file, earlier.length), undefined);
  });
});
