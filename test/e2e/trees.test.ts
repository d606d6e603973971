/** Trees of a volume without a mount, `sealfs cp`, `rm` and `find`, compared with what a mount shows. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { sealfs, TestCluster } from '../support/cluster.js';
import type { Result } from '../support/cluster.js';
import { assertClean } from '../support/fsck.js';

const MANY = 230;

function pattern(length: number, seed: number): Buffer {
  const data = Buffer.alloc(length);
  for (let i = 0; i < length; i++) data[i] = (i * 31 + seed * 17 + (i >> 8)) & 0xff;
  return data;
}

/** Files of all sizes, names and kinds. */
function makeTree(root: string): void {
  const deep = join(root, 'a/b/c');
  fs.mkdirSync(deep, { recursive: true });
  fs.mkdirSync(join(root, 'empty'));
  fs.mkdirSync(join(root, 'many'));
  for (let i = 0; i < MANY; i++) fs.writeFileSync(join(root, `many/n${i}`), `content of ${i}`);
  for (const length of [0, 1, 8191, 8192, 8193, 100_000, 3 * 2 ** 20 + 5]) {
    fs.writeFileSync(join(deep, `file of ${length}`), pattern(length, length), { mode: 0o640 });
  }
  fs.writeFileSync(join(root, 'Ünï\ncode'), 'text', { mode: 0o755 });
  fs.symlinkSync('a/b', join(root, 'link'));
  fs.symlinkSync('nowhere', join(root, 'dangling'));
  fs.linkSync(join(deep, 'file of 1'), join(root, 'a/second name'));
}

/** Path, type, permissions, length and content of everything below, as text. */
function snapshot(root: string): string[] {
  const lines: string[] = [];
  const visit = (path: string): void => {
    const full = join(root, path);
    const stats = fs.lstatSync(full);
    if (stats.isDirectory()) {
      lines.push(`${path} directory ${(stats.mode & 0o777).toString(8)}`);
      for (const name of fs.readdirSync(full).sort()) visit(`${path}/${name}`);
    } else if (stats.isSymbolicLink()) lines.push(`${path} -> ${fs.readlinkSync(full)}`);
    else {
      const content = fs.readFileSync(full);
      const mode = (stats.mode & 0o777).toString(8);
      lines.push(`${path} ${mode} ${stats.size} ${content.toString('base64')}`);
    }
  };
  visit('.');
  return lines;
}

describe('trees without a mount', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let root: string;
  let local: string;

  function run(...args: string[]): Result {
    return sealfs(...args, '--manager', cluster.url);
  }

  function must(...args: string[]): string {
    const { status, stdout, stderr } = run(...args);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    return stdout;
  }

  before(async () => {
    cluster = await TestCluster.start({ servers: 2, targets: 2 });
    root = cluster.mount();
    local = join(cluster.dir, 'local');
    fs.mkdirSync(local);
    makeTree(join(local, 'tree'));
  });

  after(async () => {
    await cluster?.stop();
  });

  it('are copied to a volume, within it, and back, with all that is in them', () => {
    const expected = snapshot(join(local, 'tree'));
    const counts = JSON.parse(must('cp', '-r', '--json', join(local, 'tree'), 'default:/')) as {
      files: number;
      directories: number;
      links: number;
      failed: number;
    };
    const { files, directories, links, failed } = counts;
    assert.deepEqual([files, directories, links, failed], [MANY + 9, 6, 2, 0]);
    assert.deepEqual(snapshot(join(root, 'tree')), expected);
    must('cp', '-r', 'default:/tree', 'default:/copy');
    assert.deepEqual(snapshot(join(root, 'copy')), expected);
    must('cp', '-r', 'default:/copy', join(local, 'back'));
    assert.deepEqual(snapshot(join(local, 'back')), expected);
  });

  it('are copied over what is there', () => {
    fs.writeFileSync(join(root, 'copy/many/n1'), pattern(500_000, 1));
    fs.writeFileSync(join(root, 'copy/a/more'), 'stays');
    fs.unlinkSync(join(root, 'copy/link'));
    fs.unlinkSync(join(root, 'copy/dangling'));
    must('cp', '-r', join(local, 'tree/a'), join(local, 'tree/many'), 'default:/copy');
    assert.equal(fs.readFileSync(join(root, 'copy/many/n1'), 'utf8'), 'content of 1');
    assert.equal(fs.readFileSync(join(root, 'copy/a/more'), 'utf8'), 'stays');
    must('cp', 'default:/copy/many/n2', 'default:/copy/many/n3');
    assert.equal(fs.readFileSync(join(root, 'copy/many/n3'), 'utf8'), 'content of 2');
    must('cp', 'default:/copy/a/b/c/file of 8193', join(local, 'one'));
    assert.deepEqual(fs.readFileSync(join(local, 'one')), pattern(8193, 8193));
  });

  it('are listed as find does', () => {
    const find = (...args: string[]): string[] => {
      const found = spawnSync('find', ['tree', ...args, '-print0'], { cwd: root });
      const paths = found.stdout.toString().split('\0').slice(0, -1);
      return paths.map((path) => `default:/${path}`).sort();
    };
    const listed = (...args: string[]): string[] => {
      const text = must('find', 'default:/tree', '--json', ...args);
      const { entries } = JSON.parse(text) as { entries: { path: string }[] };
      return entries.map(({ path }) => path).sort();
    };
    assert.deepEqual(listed(), find());
    assert.deepEqual(listed('--type', 'd'), find('-type', 'd'));
    assert.deepEqual(listed('--type', 'l'), find('-type', 'l'));
    assert.deepEqual(listed('--name', 'n1[0-4]?'), find('-name', 'n1[0-4]?'));
    const lines = must('find', 'default:/tree', '--name', 'file*', '--type', 'f').split('\n');
    assert.deepEqual(lines.slice(0, -1).sort(), find('-name', 'file*', '-type', 'f'));
    const outcome = spawnSync('sh', [
      '-c',
      `"$0" "$1" find default:/tree --manager "$2" | head -n 1`,
      process.execPath,
      join(import.meta.dirname, '../../../bin/sealfs.js'),
      cluster.url,
    ]);
    assert.equal(outcome.stdout.toString().split('\n').length, 2);
    assert.equal(outcome.stderr.toString(), '');
  });

  it('say in one line what cannot be done, and change nothing', () => {
    const before = must('find', 'default:/', '--json').length;
    const bad: [string[], number, RegExp][] = [
      [['rm', 'default:/tree'], 2, /default:\/tree is a directory; to remove it, too: -r/],
      [['rm', 'default:/none'], 1, /default:\/none: no such file or directory/],
      [['find', 'default:/none'], 2, /default:\/none: no such file or directory/],
      [['cp', 'default:/tree', local], 2, /default:\/tree is a directory; to copy it, too: -r/],
      [['cp', '-r', 'default:/tree', 'default:/tree/a'], 2, /cannot be copied into itself/],
      [['cp', 'default:/tree/many/n1', 'default:/tree/many/n1'], 2, /are the same file/],
      [['cp', 'default:/tree/many/n1', 'default:/no/x'], 2, /default:\/no\/x: no such file/],
      [['cp', '-r', 'default:/tree/a', 'default:/tree/many', 'default:/x'], 2, /not a directory/],
    ];
    for (const [args, status, message] of bad) {
      const result = run(...args);
      assert.equal(result.status, status, args.join(' '));
      assert.match(result.stderr, /^sealfs: .*\n$/, args.join(' '));
      assert.match(result.stderr, message);
    }
    assert.equal(must('find', 'default:/', '--json').length, before);
    must('rm', '-f', 'default:/none');
  });

  it('go on with the others when something cannot be copied', () => {
    fs.mkdirSync(join(local, 'some'));
    assert.equal(spawnSync('mkfifo', [join(local, 'some/fifo')]).status, 0);
    fs.writeFileSync(join(local, 'some/f'), 'x');
    const { status, stderr } = run('cp', '-r', join(local, 'some'), 'default:/');
    assert.equal(status, 1);
    assert.match(stderr, /^sealfs: .*\/some\/fifo: neither a file nor a directory.*\n$/);
    assert.equal(fs.readFileSync(join(root, 'some/f'), 'utf8'), 'x');
  });

  it('are removed whole', async () => {
    const { removed } = JSON.parse(
      must('rm', '-r', '--json', 'default:/tree', 'default:/copy', 'default:/some'),
    ) as { removed: number };
    assert.ok(removed > 2 * MANY, String(removed));
    assert.deepEqual(fs.readdirSync(root), []);
    cluster.unmount(root);
    await Promise.all([0, 1].map((index) => cluster.killServer(index, 'SIGTERM')));
    await assertClean([0, 1].map((index) => join(cluster.dir, `meta-${index}`)));
  });
});
