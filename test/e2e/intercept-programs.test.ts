/**
 * Programs under the preload library do on the mount what they do on a local directory. A short form: the programs' tests
 * (programs*.test.ts) run as a whole under it with SEALFS_PROGRAMS_INTERCEPT=1.
 */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { answeredCalls, preloaded } from '../support/preload.js';
import { ground, needs, run } from './programs-ground.js';
import type { Ground } from './programs-ground.js';
import { describeTree, makeBuildTree, makeVariedTree, units } from './programs-trees.js';

describe('programs under the preload library', function () {
  this.timeout(60_000);
  let place: Ground;
  let mount: string;
  let root: string;
  let local: string;
  let report: string;

  before(async () => {
    needs('cp', 'find', 'du', 'tar', 'git', 'make', 'gcc', 'sqlite3', 'python3', 'fio', 'mpirun');
    place = await ground();
    // Under leases, which interception needs.
    mount = place.cluster.mount('leases', 'coherence=leases');
    root = join(mount, 'intercepted');
    local = join(place.local, 'intercepted');
    report = join(place.local, 'intercept-report');
    mkdirSync(root);
    mkdirSync(local);
  });

  after(() => {
    place.cluster.unmount(mount);
  });

  function under(cwd: string, commands: string): Promise<string> {
    rmSync(report, { force: true });
    return run(cwd, commands, { env: preloaded(report) });
  }

  function assertAnswered(...calls: string[]): void {
    for (const call of calls) assert.ok(answeredCalls(report, call) > 0, call);
  }

  it('cp, mv, ls, find, du and rm see and leave what they do elsewhere', async () => {
    const source = join(local, 'varied');
    await makeVariedTree(source);
    const want = await describeTree(source);
    await under(root, `cp -a "${source}" copy && mv copy copied && cp -r copied/a again`);
    assertAnswered('write');
    assert.equal(await describeTree(join(root, 'copied')), want);
    await under(root, `diff -r "${source}/a" again && mv again copied/moved && ls -lR copied`);
    assertAnswered('read', 'stat');
    await run(source, 'cp -r a moved');
    // Sizes of directories and blocks are each file system's own.
    const names = `ls -1RA; find . -type f -size +100k | sort; find . ! -type d -printf '%p %m %s %n\\n' | sort`;
    const sizes = `find . -type f -print0 | sort -z | du -b --files0-from=-`;
    const both = `${names}; ${sizes}`;
    assert.equal(await under(join(root, 'copied'), both), await run(source, both));
    await under(root, 'rm -r copied');
    assert.equal(await run(root, 'ls -A'), '');
  });

  it('tar packs and unpacks', async () => {
    const source = join(local, 'tree');
    await run(local, `cp -r "${packageRoot()}/docs" tree`);
    const tar = 'tar --acls --xattrs --sparse';
    await under(
      root,
      `${tar} -cf packed.tar -C "${local}" tree && mkdir out && ${tar} -xf packed.tar -C out
       ${tar} -cf - -C out . | tar -tvf - | wc -l && tar -df packed.tar -C out`,
    );
    assertAnswered('read', 'write');
    assert.equal(await describeTree(join(root, 'out/tree')), await describeTree(source));
    await under(root, 'rm -r out packed.tar');
  });

  it('git commits, merges, packs and finds its store whole', async () => {
    const who = 'git config user.email a@b && git config user.name n && git config gc.auto 0';
    await under(
      root,
      `git init -q -b main repository && cd repository && ${who}
       cp -r "${packageRoot()}/docs" . && git add . && git commit -qm one
       git checkout -qb side && git mv docs moved && git commit -qm moved
       git checkout -q main && echo more >> docs/client.md && git commit -qam main
       git merge -q -m merged side && git gc -q --prune=now && git fsck --full --strict`,
    );
    assertAnswered('read', 'write');
    assert.equal(
      await run(join(root, 'repository'), 'git status --porcelain && tail -1 moved/client.md'),
      'more\n',
    );
    await under(root, 'rm -rf repository');
  });

  it('make -j builds, and rebuilds what has changed', async () => {
    const tree = join(root, 'build');
    await makeBuildTree(tree);
    await under(tree, 'make -s -j4');
    assert.equal(await under(tree, './app'), `${(units * (units - 1)) / 2}\n`);
    await under(tree, 'make -q');
    await under(tree, `sed -i 's/return 3;/return 1003;/' lib3/unit3.c && make -s -j4`);
    assertAnswered('write');
    assert.equal(await under(tree, './app'), `${(units * (units - 1)) / 2 + 1000}\n`);
    await under(root, 'rm -rf build');
  });

  for (const mode of ['delete', 'wal']) {
    it(`sqlite3 writers share a database in journal mode ${mode}`, async () => {
      const insert = (from: number): string =>
        `seq ${from} ${from + 39} | sed 's/.*/INSERT INTO t VALUES(&, hex(randomblob(700)));/' |
         sqlite3 -bail -cmd '.timeout 20000' db`;
      const text = `
        sqlite3 db 'PRAGMA journal_mode=${mode}; CREATE TABLE t(n INTEGER PRIMARY KEY, b TEXT);' > /dev/null
        (${insert(0)}) & first=$!
        (${insert(100)}) & second=$!
        wait $first; wait $second
        sqlite3 db 'PRAGMA integrity_check; SELECT count(*) FROM t;'`;
      const directory = join(root, `sqlite-${mode}`);
      mkdirSync(directory);
      assert.equal(await under(directory, text), 'ok\n80\n');
      await run(root, `rm -r sqlite-${mode}`);
    });
  }

  it('python3 copies trees, packs, maps and replaces files', async () => {
    const text = `
import hashlib, json, mmap, os, shutil, subprocess, tempfile, zipfile
shutil.copytree(${JSON.stringify(join(packageRoot(), 'docs'))}, 'docs')
shutil.make_archive('docs-packed', 'zip', 'docs')
assert zipfile.ZipFile('docs-packed.zip').testzip() is None
for i in range(30):
    with tempfile.NamedTemporaryFile('w', dir='.', delete=False) as file:
        json.dump({'round': i, 'text': 'x' * 1000 * i}, file)
    os.replace(file.name, 'state.json')
    assert json.load(open('state.json'))['round'] == i
with open('mapped', 'w+b') as file:
    file.write(b'a' * 100000); file.flush()
    with mmap.mmap(file.fileno(), 0) as view: view[5000:5003] = b'xyz'
    file.seek(4999); assert file.read(5) == b'axyza'
with open('log', 'a') as log:
    for i in range(20): subprocess.run(['echo', str(i)], stdout=log, check=True)
assert open('log').read() == ''.join('%d\\n' % i for i in range(20))
shutil.rmtree('docs')
print(sorted(os.listdir('.')))`;
    const script = join(local, 'work.py');
    await run(local, 'cat > work.py', { input: text });
    const want = "['docs-packed.zip', 'log', 'mapped', 'state.json']\n";
    // Of its own: it lists what is there, and an earlier failure leaves its files.
    const directory = join(root, 'python');
    mkdirSync(directory);
    assert.equal(await under(directory, `python3 "${script}"`), want);
    assertAnswered('read', 'write');
    await run(root, 'rm -r python');
  });

  for (const engine of ['psync', 'pvsync', 'libaio']) {
    it(`fio reads back what it wrote, by ${engine}`, async () => {
      const out = await under(
        root,
        `fio --name=job --ioengine=${engine} --rw=randrw --bsrange=4k-256k --size=8m \\
           --numjobs=2 --thread --verify=crc32c --verify_state_save=0 --do_verify=1 --fallocate=none --minimal`,
      );
      assert.equal(out.match(/^3;fio.*;job;/gm)?.length, 2, out);
      if (engine !== 'libaio') assertAnswered('read', 'write');
      await run(root, 'rm job.*');
    });
  }

  it('four MPI ranks write and read one shared file', async () => {
    const script = join(packageRoot(), 'test/e2e/intercept-mpi.py');
    const options = [
      ...['--allow-run-as-root', '--oversubscribe', '-np', '4'],
      ...['--mca', 'btl', 'self,vader', '--mca', 'btl_vader_single_copy_mechanism', 'none'],
      ...['--mca', 'mpi_yield_when_idle', '1', '--mca', 'plm', 'isolated'],
    ];
    // Debian's python3, which has mpi4py.
    const out = await under(
      root,
      `mpirun ${options.join(' ')} /usr/bin/python3 "${script}" shared`,
    );
    assert.equal(out, 'done\n');
    assertAnswered('read', 'write');
    await run(root, 'rm -f shared*');
  });
});
