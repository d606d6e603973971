/** Where a setting's value comes from. Protects: precedence, and errors that name file and key. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig, parseConfig, settings } from '../../../src/common/config.js';

describe('configuration', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sealfs-manager-config-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  const write = (content: string): string => {
    const path = join(directory, 'sealfs.toml');
    writeFileSync(path, content);
    return path;
  };

  it('reads ./sealfs.toml without being told', () => {
    write('manager_url = "http://a:1"\n[server]\ntargets = 3\ndata = ["/a:1G", "/b"]\n');
    const config = loadConfig(undefined, {}, directory);
    assert.deepEqual(config.value('manager_url')!.values, ['http://a:1']);
    assert.deepEqual(config.value('server.targets')!.values, ['3']);
    assert.deepEqual(config.value('server.data')!.values, ['/a:1G', '/b']);
    assert.equal(config.value('server.meta_dir'), undefined);
  });

  it('prefers variables to the file, and says which it was', () => {
    const path = write('[server]\ntargets = 3\ndata = ["/a"]\n');
    const config = loadConfig(path, { SEALFS_SERVER_TARGETS: '5', SEALFS_SERVER_DATA: '/x,/y:1G' });
    assert.deepEqual(config.value('server.targets'), {
      values: ['5'],
      source: 'SEALFS_SERVER_TARGETS',
    });
    assert.deepEqual(config.value('server.data')!.values, ['/x', '/y:1G']);
    const unset = loadConfig(path, { SEALFS_SERVER_TARGETS: '' });
    assert.equal(unset.value('server.targets')!.source, `server.targets in ${path}`);
  });

  it('has a place in the file for every setting', () => {
    for (const { key } of settings) {
      const [section, name] = key.includes('.') ? key.split('.') : [undefined, key];
      const value = key === 'server.data' ? '["v"]' : '"v"';
      const content =
        section === undefined ? `${name} = ${value}` : `[${section}]\n${name} = ${value}`;
      const path = write(content);
      assert.deepEqual(loadConfig(path, {}).value(key)!.values, ['v'], key);
    }
  });

  const bad: [string, string, RegExp][] = [
    ['an unknown key', 'color = 1', /^f: Unrecognized key: "color"/],
    [
      'an unknown key of a section',
      '[server]\ntarget = 1',
      /^f: server: Unrecognized key: "target"/,
    ],
    ['a wrong type', '[server]\ntargets = [1]', /^f: server\.targets: expected a whole number/],
    ['a broken line', 'manager_url = ', /^f is not valid TOML: /],
  ];
  for (const [what, content, message] of bad) {
    it(`refuses ${what} in one line`, () => {
      assert.throws(
        () => parseConfig(content, 'f'),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'USAGE');
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /\n/);
          return true;
        },
      );
    });
  }

  it('refuses a named file that is not there', () => {
    assert.throws(() => loadConfig(join(directory, 'none.toml'), {}), {
      code: 'USAGE',
      message: /none\.toml cannot be read: ENOENT/,
    });
    assert.equal(loadConfig(undefined, {}, directory).value('up.dir'), undefined);
  });
});
