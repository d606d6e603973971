/** Real programs on the mount do what they do on a local directory. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { ground, needs, rounds, run } from './programs-ground.js';
import type { Ground } from './programs-ground.js';
import {
  ageDirectories,
  describeTree,
  libraries,
  makeBuildTree,
  makeVariedTree,
  units,
} from './programs-trees.js';

describe('programs on a mount', function () {
  this.timeout(60_000 + rounds * 60_000);
  let place: Ground;
  let root: string;
  let local: string;

  before(async () => {
    needs('git', 'make', 'gcc', 'ar', 'tar', 'rsync', 'setfattr', 'setfacl', 'dpkg', 'dpkg-deb');
    place = await ground();
    root = join(place.mount, 'programs');
    local = join(place.local, 'programs');
    mkdirSync(root);
    mkdirSync(local);
  });

  describe('git', () => {
    const who = 'git config user.email a@b && git config user.name n && git config gc.auto 0';

    it('initialises, commits, branches, merges and rewrites', async () => {
      await run(root, 'git init -q -b main repository');
      const repository = join(root, 'repository');
      await run(repository, who);
      await run(
        repository,
        `cp -r "${packageRoot()}"/{docs,src/client,src/server} . && git add . && git commit -qm one`,
      );
      await run(
        repository,
        `git checkout -qb side && git mv client moved && git commit -qm moved
         git checkout -q main && echo more >> docs/client.md && git commit -qam main
         git merge -q -m merged side && git tag -a -m tag v1
         git stash list && echo junk > new && git stash -qu && git stash pop -q && rm new
         git rebase -q --onto main~1 main~1 side && git checkout -q main`,
      );
      assert.equal(await run(repository, 'git status --porcelain'), '');
      await run(repository, 'git fsck --full --strict');
    });

    it('clones, with hard links and without, collects garbage and finds its store whole', async () => {
      // --local: it is an error if an object cannot be linked.
      await run(root, 'git clone -q --local repository linked');
      await run(root, `git clone -q --no-hardlinks repository "${local}/far"`);
      await run(root, `git clone -q --no-local "${local}/far" near`);
      for (const clone of ['linked', 'near']) {
        const there = join(root, clone);
        await run(there, `${who} && echo x >> new && git add . && git commit -qm two`);
        await run(there, 'git gc -q --prune=now && git fsck --full --strict');
        await run(
          there,
          'git worktree add -q ../worktree HEAD~1 && git worktree remove ../worktree',
        );
        assert.equal(await run(there, 'git status --porcelain'), '');
        await run(there, `rm new && diff -r --exclude .git . "${local}/far" && git checkout -q .`);
        assert.equal(await run(there, 'cat new'), 'x\n');
      }
      await run(join(root, 'near'), 'git push -q origin HEAD:refs/heads/pushed');
      await run(local, 'git -C far fsck --strict');
      assert.equal(await run(local, 'git -C far log -1 --format=%s pushed'), 'two\n');
      await run(root, 'rm -rf repository linked near');
    });
  });

  it('make -j builds a tree, then only what has changed', async () => {
    const tree = join(root, 'build');
    await makeBuildTree(tree);
    await run(tree, 'make -s -j4');
    assert.equal(await run(tree, './app'), `${(units * (units - 1)) / 2}\n`);
    await run(tree, 'make -q');
    // Timestamps decide: a touched header is newer than what was built from it, now and here.
    await run(tree, 'touch lib1/lib1.h');
    const again = await run(tree, 'make -j4');
    assert.equal(again.match(/^gcc .* -c /gm)?.length, units / libraries + 1, again);
    await run(tree, `sed -i 's/return 3;/return 1003;/' lib3/unit3.c && make -s -j4`);
    assert.equal(await run(tree, './app'), `${(units * (units - 1)) / 2 + 1000}\n`);
    await run(tree, 'make -s install DESTDIR=stage && ./stage/usr/bin/app > /dev/null');
    assert.equal(await run(tree, 'make -s clean && find . -name "*.o" -o -name "*.a"'), '');
    await run(root, 'rm -rf build');
  });

  it('tar unpacks a big tree that compares equal', async () => {
    const packages = rounds > 1 ? '.' : 'typescript fastify';
    await run(local, `tar cf big.tar -C "${packageRoot()}/node_modules" ${packages}`);
    await run(
      root,
      `mkdir big && tar xf "${local}/big.tar" -C big && tar df "${local}/big.tar" -C big`,
    );
    await run(root, 'rm -rf big');
  });

  it('tar and rsync keep hard links, attributes, lists, holes, times and odd names', async () => {
    const source = join(local, 'varied');
    await makeVariedTree(source);
    const want = await describeTree(source);
    const tar = `tar --acls --xattrs --xattrs-include='*' --sparse`;
    await run(root, `mkdir untarred && ${tar} -cf - -C "${source}" . | ${tar} -xpf - -C untarred`);
    assert.equal(await describeTree(join(root, 'untarred')), want);
    await run(root, `rsync -aHAXS "${source}/" synced/`);
    assert.equal(await describeTree(join(root, 'synced')), want);
    const difference = `rsync -aHAXnic --delete`;
    assert.equal(await run(root, `${difference} "${source}/" synced/`), '');
    await run(root, `rsync -aHAXS synced/ "${local}/back/"`);
    assert.equal(await describeTree(join(local, 'back')), want);
    // What another client sees is the same.
    assert.equal(await describeTree(join(place.other, 'programs/synced')), want);
  });

  it('rsync brings a changed tree up to date, and links what is unchanged to the last copy', async () => {
    const source = join(local, 'varied');
    await run(
      source,
      'rm a/f7 && mv a/f8 b/moved && echo more >> a/f9 && rm -r b/c && mkdir b/new',
    );
    await run(source, 'ln -f a/f10 b/new/f10 && setfattr -x user.colour a/f4 && chmod 640 a/f11');
    await run(source, ageDirectories);
    const want = await describeTree(source);
    await run(root, `rsync -aHAXS --delete "${source}/" synced/`);
    assert.equal(await describeTree(join(root, 'synced')), want);
    await run(root, `rsync -aX --link-dest=../synced "${source}/" snapshot/`);
    const same = `[ "$(stat -c %i synced/a/f12)" = "$(stat -c %i snapshot/a/f12)" ]`;
    await run(root, `${same} && diff -r --no-dereference -x fifo -x null synced snapshot`);
    await run(root, 'rm -rf untarred synced snapshot');
    assert.equal(await run(root, 'ls'), '');
  });

  it('dpkg installs, replaces and removes a package', async () => {
    for (const version of ['1', '2']) {
      const tree = join(local, `package-${version}`);
      await run(
        local,
        `mkdir -p ${tree}/DEBIAN ${tree}/usr/share/sealed ${tree}/etc
         for i in $(seq 40); do seq $((i * ${version} * 97)) > ${tree}/usr/share/sealed/file$i; done
         ln -s file1 ${tree}/usr/share/sealed/link; echo ${version} > ${tree}/etc/sealed.conf
         echo /etc/sealed.conf > ${tree}/DEBIAN/conffiles
         printf '%s\\n' 'Package: sealed' 'Version: ${version}' 'Architecture: all' \
           'Maintainer: n <a@b>' 'Description: test' > ${tree}/DEBIAN/control
         dpkg-deb --root-owner-group -b ${tree} sealed-${version}.deb > build.log`,
      );
    }
    await run(root, 'mkdir -p system/var/lib/dpkg/info system/var/lib/dpkg/updates');
    await run(root, 'touch system/var/lib/dpkg/status');
    const dpkg = `PATH=$PATH:/usr/sbin:/sbin dpkg --root="${root}/system" --log=/dev/null`;
    for (const version of ['1', '2', '1']) {
      await run(
        local,
        `${dpkg} --force-downgrade -i sealed-${version}.deb > dpkg.log 2>&1 || (cat dpkg.log; exit 1)`,
      );
      assert.equal(await run(local, `${dpkg} --verify sealed`), '');
      await run(local, `diff -r package-${version}/usr "${root}/system/usr"`);
      assert.equal(await run(root, 'find system -name "*.dpkg-*"'), '');
    }
    await run(local, `${dpkg} --purge sealed > dpkg.log 2>&1 && [ ! -e "${root}/system/usr" ]`);
    await run(root, 'rm -rf system');
  });
});
