/** Log lines. Protects: the plain form on standard error, JSON in files, and level checking. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, plainLine } from '../../../src/common/log.js';

describe('log', () => {
  it('writes records as plain lines', () => {
    const record = {
      level: 30,
      time: 0,
      pid: 1,
      name: 'server',
      epoch: 3,
      place: 'a b',
      msg: 'up',
    };
    assert.equal(
      plainLine(JSON.stringify(record)),
      '1970-01-01T00:00:00.000Z info  server: up (epoch=3 place=a b)\n',
    );
    const error = { level: 50, time: 0, name: 'x', msg: 'failed', err: { message: 'boom' } };
    assert.match(plainLine(JSON.stringify(error)), /error x: failed \(error=boom\)\n$/);
  });

  it('keeps notes back until a start has succeeded, never warnings', () => {
    const compiled = new URL('../../../src/common/log.js', import.meta.url);
    const script =
      `import { LogHold, createLogger } from '${compiled.href}';` +
      `const hold = new LogHold(); const log = createLogger('x', { hold });` +
      `log.info('one'); log.warn('two'); if (process.env.RELEASE) hold.release();` +
      `log.info('three');`;
    const run = (release: string): string =>
      spawnSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
        env: { ...process.env, SEALFS_LOG: 'info', RELEASE: release },
      }).stderr;
    assert.deepEqual(run('').match(/: \w+$/gm), [': two']);
    assert.deepEqual(run('1').match(/: \w+$/gm), [': two', ': one', ': three']);
  });

  it('appends JSON to a file at once', () => {
    const directory = mkdtempSync(join(tmpdir(), 'sealfs-manager-log-'));
    const file = join(directory, 'log');
    for (const text of ['one', 'two']) createLogger('mount', { file, level: 'info' }).info(text);
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    const texts = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
    assert.deepEqual(texts, ['one', 'two']);
    rmSync(directory, { recursive: true });
  });

  it('refuses a level that does not exist, and a file that cannot be', () => {
    assert.throws(() => createLogger('x', { level: 'loud' }), { code: 'USAGE', message: /'loud'/ });
    assert.throws(() => createLogger('x', { file: '/nowhere/log' }), { message: /\/nowhere\/log/ });
  });
});
