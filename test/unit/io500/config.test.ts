import assert from 'node:assert/strict';
import { UsageError } from '../../../src/common/errors.js';
import {
  defaultConfig,
  fitToSpace,
  formatConfig,
  parseSize,
  readConfig,
} from '../../../io500/config.js';
import { phasesToRun } from '../../../io500/benchmark.js';
import { phases } from '../../../io500/phases.js';
import { parseIni } from '../../../io500/ini.js';

const official = `
[global]
datadir = /mnt/x      ; where the data goes
resultdir = ./results
timestamp-datadir = TRUE
api = POSIX
drop-caches = FALSE
drop-caches-cmd = sudo -n bash -c "echo 3 > /proc/sys/vm/drop_caches"
verbosity = 1
[debug]
stonewall-time = 1 # for testing
[ior-easy]
transferSize = 1m
blockSize = 72m
[mdtest-easy]
n = 5000
[ior-hard]
segmentCount = 95
[mdtest-hard]
n = 4000
files-per-dir =
[find]
nproc = 2
[ior-rnd4K-easy-read]
run = FALSE
`;

function refused(text: string, pattern: RegExp): void {
  assert.throws(
    () => readConfig(text, 'a.ini', 'smoke'),
    (error: unknown) => {
      assert(error instanceof UsageError);
      assert.match(error.message, pattern);
      assert(!error.message.includes('\n'), 'one line');
      return true;
    },
  );
}

describe('io500 configuration', () => {
  it('reads a file with the official names', () => {
    const config = readConfig(official, 'a.ini', 'full');
    assert.equal(config.datadir, '/mnt/x');
    assert.equal(config.resultdir, './results');
    assert.equal(config.stonewallSeconds, 1);
    assert.equal(config.transferBytes, 1048576);
    assert.equal(config.blockBytes, 72 * 1048576);
    assert.equal(config.segmentCount, 95);
    assert.equal(config.mdtestEasyFiles, 5000);
    assert.equal(config.mdtestHardFiles, 4000);
    assert.equal(config.filesPerDir, 0);
    assert.equal(config.findRanks, 2);
    assert.equal(config.run['ior-rnd4K-easy-read'], false);
    assert.equal(config.run.find, true);
    assert.equal(config.dropCachesCommand.endsWith('drop_caches"'), true);
  });

  it('reads back what it writes', () => {
    const config = readConfig(official, 'a.ini', 'full');
    assert.deepEqual(readConfig(formatConfig(config), 'b.ini', 'smoke'), config);
  });

  it('refuses what it does not know, with file and line', () => {
    refused('[ior-easy]\nblocksize = 2m\n', /^a\.ini:2: unknown key 'blocksize' in \[ior-easy\]/);
    refused('[ior-soft]\nrun = TRUE\n', /^a\.ini:2: unknown section \[ior-soft\]/);
    refused('n = 3\n', /^a\.ini:1: .* before the first \[section\]/);
    refused('[mdtest-easy]\nn 3\n', /^a\.ini:2: 'n 3' is neither/);
    refused('[mdtest-easy]\nn = 3\nn = 4\n', /^a\.ini:3: 'n' .* already set in line 2/);
    refused('[mdtest-easy]\nn = -3\n', /^a\.ini:2: n: '-3' is not a whole number/);
    refused('[mdtest-easy]\nn = 0\n', /at least 1/);
    refused('[ior-easy]\nrun = maybe\n', /neither TRUE nor FALSE/);
    refused('[ior-easy]\nAPI = MPIIO\n', /only POSIX/);
    refused('[ior-easy]\ntransferSize = 3k\n', /multiple of 4k/);
    refused('[ior-easy]\nblockSize = 3m\n', /multiple of transferSize/);
    refused('[ior-easy]\nblockSize = big\n', /'big' is not a size/);
  });

  it('knows sizes in powers of 1024', () => {
    assert.equal(parseSize('47008', 'x'), 47008);
    assert.equal(parseSize('64k', 'x'), 65536);
    assert.equal(parseSize('2M', 'x'), 2097152);
    assert.equal(parseSize('1t', 'x'), 2 ** 40);
  });

  it('does not run phases whose files nobody writes', () => {
    const config = readConfig('[ior-easy-write]\nrun = FALSE\n', 'a.ini', 'smoke');
    const names = phasesToRun(config, phases).map((phase) => phase.name);
    assert(!names.includes('ior-easy-write'));
    assert(!names.includes('ior-easy-read'));
    assert(!names.includes('ior-rnd4K-easy-read'));
    assert.equal(names.length, 10);
  });

  it('lets a phase section win over the one of its group, in any order', () => {
    const text =
      '[ior-easy-read]\nrun = TRUE\n[ior-easy]\nrun = FALSE\n[ior-easy-write]\nrun=TRUE\n';
    const config = readConfig(text, 'a.ini', 'smoke');
    assert.equal(config.run['ior-easy-write'], true);
    assert.equal(config.run['ior-easy-read'], true);
    assert.equal(config.run['ior-rnd4K-easy-read'], false);
  });

  it('runs every phase by default, the full scale for 300 s', () => {
    assert.equal(phasesToRun(defaultConfig('smoke'), phases).length, 13);
    assert.equal(defaultConfig('full').stonewallSeconds, 300);
  });

  it('leaves room on a small file system, in whole transfers', () => {
    const config = fitToSpace(defaultConfig('laptop'), 2, { bytes: 800e6, inodes: 8000 });
    assert.equal(config.blockBytes % config.transferBytes, 0);
    assert(config.blockBytes <= 100e6 && config.blockBytes > 97e6);
    assert(config.segmentCount * 47008 <= 100e6);
    assert.equal(config.mdtestEasyFiles, 1000);
    const unlimited = fitToSpace(defaultConfig('smoke'), 2, { bytes: 1e15, inodes: 0 });
    assert.deepEqual(unlimited, defaultConfig('smoke'));
  });

  it('parses values with spaces, and lines of other systems', () => {
    const entries = parseIni('[a]\r\nkey = two words ; comment\r\n# all comment\r\n', 'x');
    assert.deepEqual(entries, [{ section: 'a', key: 'key', value: 'two words', line: 2 }]);
  });
});
