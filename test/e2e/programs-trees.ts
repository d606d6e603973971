/** Trees that programs are given: one to be built, one with everything that an inode can carry. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './programs-ground.js';

/** C files of the tree that is built: unit i adds i to what the program prints. */
export const units = 24;
export const libraries = 4;

const makefile = `CFLAGS = -O0 -MMD
LIBS = ${Array.from({ length: libraries }, (_, l) => `lib${l}/lib${l}.a`).join(' ')}
all: app
app: main.o $(LIBS)
\tgcc -o $@ main.o $(LIBS)
%.o: %.c
\tgcc $(CFLAGS) -c -o $@ $<
.SECONDEXPANSION:
$(LIBS): %.a: $$(addsuffix .o,$$(basename $$(wildcard $$(dir $$*)*.c)))
\trm -f $@ && ar rcs $@ $^
install: app
\tinstall -D -m 755 app $(DESTDIR)/usr/bin/app-1.0
\tln -sf app-1.0 $(DESTDIR)/usr/bin/app
clean:
\trm -rf app *.o *.d lib*/*.o lib*/*.d lib*/*.a stage
-include $(wildcard *.d lib*/*.d)
`;

/** Four libraries of C files and a program that adds up what their functions return. */
export async function makeBuildTree(tree: string): Promise<void> {
  mkdirSync(tree);
  writeFileSync(join(tree, 'Makefile'), makefile);
  for (let l = 0; l < libraries; l++) mkdirSync(join(tree, `lib${l}`));
  const declarations = Array.from({ length: libraries }, () => '');
  for (let i = 0; i < units; i++) {
    const l = i % libraries;
    declarations[l] += `int unit${i}(void);\n`;
    const source = `#include "lib${l}.h"\n#include <stdio.h>\nint unit${i}(void) {\n  return ${i};\n}\n`;
    writeFileSync(join(tree, `lib${l}`, `unit${i}.c`), source);
  }
  for (const [l, text] of declarations.entries()) {
    writeFileSync(join(tree, `lib${l}`, `lib${l}.h`), `#pragma once\n${text}`);
  }
  const includes = declarations.map((_, l) => `#include "lib${l}/lib${l}.h"`).join('\n');
  const sum = Array.from({ length: units }, (_, i) => `unit${i}()`).join(' + ');
  const main = `#include <stdio.h>\n${includes}\nint main(void) {\n  printf("%d\\n", ${sum});\n}\n`;
  writeFileSync(join(tree, 'main.c'), main);
}

/** rsync does not mend a directory's time that is wrong by less than a second. */
export const ageDirectories = `find . -type d -exec touch -d '1999-12-31T23:59:59.999999999Z' {} +`;

/**
 * Files of all kinds, links within and between directories, attributes, lists, holes, old times. Special files are
 * old, too: rsync leaves the time of one that it made in the second in which the original was.
 */
export async function makeVariedTree(tree: string): Promise<void> {
  mkdirSync(tree);
  await run(
    tree,
    `mkdir -p a b/c empty sticky
     for i in $(seq 30); do head -c $((i * i * i * 61)) /dev/urandom > a/f$i; done
     ln a/f1 a/f1-again; ln a/f2 b/f2-again; ln a/f2 b/c/f2-third; ln a/f20 empty/f20-again
     ln -s ../a/f3 b/link; ln -s /nowhere/at/all b/dangling; mkfifo b/fifo; mknod b/null c 1 3
     setfattr -n user.colour -v blue a/f4; setfattr -n trusted.secret -v 1 a/f4
     setfattr -n user.large -v "$(head -c 2000 /dev/zero | tr '\\0' x)" a/f5
     setfattr -n user.directory -v yes b/c
     setfacl -m u:1234:r,g:99:rw a/f5; setfacl -d -m g:4321:rwx b/c; setfacl -m u:77:x b
     chmod 4755 a/f6; chmod 2750 b/c; chmod 1777 sticky; chmod 000 a/f13; chown 1000:2000 a/f14
     chown -h 3000:4000 b/link
     truncate -s 5M a/sparse; printf end | dd of=a/sparse bs=1 seek=3000000 conv=notrunc status=none
     printf odd > $'new\\nline'; printf odd > "$(printf 'n%.0s' $(seq 255))"; printf odd > 'ünï çödé'
     printf odd > ' leading and trailing '; : > a/nothing
     touch -d '1969-07-20T20:17:40.123456789Z' a/f15; touch -d '2201-01-02T03:04:05.6Z' a/f16
     touch -h -d '2001-02-03T04:05:06.000000007Z' b/link b/dangling b/fifo b/null
     ${ageDirectories}`,
  );
}

/** Everything about a tree that a copy should keep, as text. Directories' sizes and links are left out. */
export async function describeTree(tree: string): Promise<string> {
  const entries = `find . \\( -type d -printf '%p %y %m %U %G %T@\\n' \\) \
      -o -printf '%p %y %m %U %G %s %T@ %l %n\\n' | sort`;
  const twins = `find . -type f -links +1 -printf '%i %p\\n' | sort -k2 |
      awk '{ if (!($1 in seen)) seen[$1] = ++n; print "inode", seen[$1], $2 }'`;
  const contents = `find . -type f -print0 | sort -z | xargs -0 sha256sum`;
  const attributes = `find . -print0 | sort -z | xargs -0 getfattr -h -d -m '^(user|trusted|security)'`;
  const lists = `find . ! -type l -print0 | sort -z | xargs -0 getfacl -n -p`;
  return run(tree, [entries, twins, contents, attributes, lists].join('\n'));
}
