/**
 * The history checker of the simulations, on histories made by hand: it must accept what some order
 * of the operations explains, and find each kind of fault that it is there for.
 */
import assert from 'node:assert/strict';
import { check, History } from '../../sim/history.js';
import { EXCHANGE, NameSpace, NOREPLACE } from '../../sim/name-space.js';
import type { Operation, Result } from '../../sim/name-space.js';

const ROOT = 1;
const A = 2;
const B = 3;

type Step = readonly [Operation, Result];

const create = (dir: number, name: string): Operation => ({ op: 'create', dir, name });
const mkdir = (dir: number, name: string): Operation => ({ op: 'mkdir', dir, name });
const unlink = (dir: number, name: string): Operation => ({ op: 'unlink', dir, name });
const rmdir = (dir: number, name: string): Operation => ({ op: 'rmdir', dir, name });
const entry = (dir: number, name: string): Operation => ({ op: 'entry', dir, name });
const attributes = (inode: number): Operation => ({ op: 'attributes', inode });
const link = (inode: number, dir: number, name: string): Operation => ({
  op: 'link',
  inode,
  dir,
  name,
});
const rename = (
  dir: number,
  name: string,
  toDir: number,
  toName: string,
  flags = 0,
): Operation => ({ op: 'rename', dir, name, toDir, toName, flags });
const ok: Result = {};
const error = (name: string): Result => ({ error: name });

/** One empty directory with two empty ones in it, a and b. */
function start(): NameSpace {
  return [mkdir(ROOT, 'a'), mkdir(ROOT, 'b')].reduce(
    (state, operation, i) => state.after(operation, { inode: A + i }, 0)!,
    NameSpace.root(ROOT),
  );
}

/** A history by hand. */
class Script {
  readonly history = new History();
  readonly #calls = new Map<string, () => void>();

  /** One after the other. */
  run(...steps: Step[]): this {
    for (const step of steps) this.call('x', ...step).return('x');
    return this;
  }

  call(client: string, operation: Operation, result: Result): this {
    const call = this.history.call(client, operation);
    this.#calls.set(client, () => {
      call.returns([{ operation, result }]);
    });
    return this;
  }

  return(client: string): this {
    this.#calls.get(client)!();
    return this;
  }

  /** Each is called before any returns. */
  together(...steps: Step[]): this {
    for (const [i, step] of steps.entries()) this.call(`${i}`, ...step);
    for (const i of steps.keys()) this.return(`${i}`);
    return this;
  }

  accepted(): void {
    assert.equal(check(start(), this.history.entries), undefined);
  }

  refused(pattern: RegExp): void {
    assert.match(check(start(), this.history.entries) ?? 'accepted', pattern);
  }
}

const script = (): Script => new Script();

describe('history checker', () => {
  it('accepts one client that does what a name space does', () => {
    script()
      .run(
        [create(A, 'f'), { inode: 10, kind: 'file', links: 1 }],
        [create(A, 'f'), error('EEXIST')],
        [link(10, B, 'g'), { inode: 10, links: 2 }],
        [rename(A, 'f', B, 'f'), ok],
        [entry(A, 'f'), error('ENOENT')],
        [entry(B, 'f'), { inode: 10 }],
        [attributes(10), { kind: 'file', links: 2 }],
        [rename(B, 'f', B, 'g'), ok],
        [rename(B, 'f', B, 'g', NOREPLACE), error('EEXIST')],
        [unlink(B, 'f'), ok],
        [attributes(10), { links: 1 }],
        [mkdir(B, 'd'), { inode: 11, kind: 'dir', links: 2 }],
        [attributes(B), { links: 3 }],
        [rename(ROOT, 'b', 11, 'loop'), error('EINVAL')],
        [rename(ROOT, 'a', B, 'g', EXCHANGE), ok],
        [attributes(ROOT), { links: 3 }],
        [attributes(B), { links: 4 }],
        [rmdir(B, 'd'), ok],
        [attributes(11), error('ENOENT')],
        [rename(B, 'g', ROOT, 'b'), error('ENOTEMPTY')],
        [unlink(ROOT, 'a'), ok],
        [attributes(10), error('ENOENT')],
      )
      .accepted();
  });

  it('accepts what only another order than that of the calls explains', () => {
    script()
      .together([entry(A, 'f'), { inode: 10 }], [create(A, 'f'), { inode: 10 }])
      .accepted();
    script()
      .together([create(A, 'f'), error('EEXIST')], [create(A, 'f'), { inode: 10 }])
      .accepted();
    script()
      .together(
        [rename(A, 'f', B, 'f'), ok],
        [entry(A, 'f'), error('ENOENT')],
        [entry(B, 'f'), error('ENOENT')],
        [create(A, 'f'), { inode: 10 }],
      )
      .accepted();
  });

  it('finds a lost update', () => {
    script()
      .run([create(A, 'f'), { inode: 10 }], [entry(A, 'f'), error('ENOENT')])
      .refused(/entry.*ENOENT/);
    script()
      .together([create(A, 'f'), { inode: 10 }], [create(A, 'f'), { inode: 11 }])
      .refused(/create/);
    script()
      .run([create(A, 'f'), { inode: 10 }])
      .together([unlink(A, 'f'), ok], [unlink(A, 'f'), ok])
      .refused(/unlink/);
  });

  it('finds both names during a rename, by one client after the other', () => {
    script()
      .run([create(A, 'f'), { inode: 10 }])
      .call('mover', rename(A, 'f', B, 'g'), ok)
      .run([entry(B, 'g'), { inode: 10 }], [entry(A, 'f'), { inode: 10 }])
      .return('mover')
      .refused(/entry.*name=f/);
  });

  it('finds neither name during a rename', () => {
    const looks: Step[] = [
      [entry(A, 'f'), error('ENOENT')],
      [entry(B, 'g'), error('ENOENT')],
    ];
    script()
      .run([create(A, 'f'), { inode: 10 }])
      .call('mover', rename(A, 'f', B, 'g'), ok)
      .run(...looks)
      .return('mover')
      .refused(/entry.*name=g/);
    // The other order is no fault: it was moved in between.
    script()
      .run([create(A, 'f'), { inode: 10 }])
      .call('mover', rename(A, 'f', B, 'g'), ok)
      .run(...[...looks].reverse())
      .return('mover')
      .accepted();
  });

  it('finds both names after a rename', () => {
    script()
      .run(
        [create(A, 'f'), { inode: 10 }],
        [rename(A, 'f', B, 'g'), ok],
        [entry(B, 'g'), { inode: 10 }],
        [entry(A, 'f'), { inode: 10 }],
      )
      .refused(/entry.*name=f/);
  });

  it('finds a name that is gone while it is replaced', () => {
    const replace = script().run([create(A, 'f'), { inode: 10 }], [create(B, 'g'), { inode: 11 }]);
    replace
      .call('mover', rename(A, 'f', B, 'g'), ok)
      .run([entry(B, 'g'), error('ENOENT')])
      .return('mover')
      .refused(/entry.*ENOENT/);
  });

  it('finds a link count that is behind', () => {
    const linked = (): Script =>
      script().run([create(A, 'f'), { inode: 10 }], [link(10, B, 'g'), { links: 2 }]);
    linked()
      .run([attributes(10), { links: 2 }])
      .accepted();
    linked()
      .run([attributes(10), { links: 1 }])
      .refused(/attributes.*links=1/);
    linked()
      .call('other', unlink(A, 'f'), ok)
      .run([entry(A, 'f'), error('ENOENT')], [attributes(10), { links: 2 }])
      .return('other')
      .refused(/attributes.*links=2/);
    script()
      .run([mkdir(A, 'd'), { inode: 10 }], [attributes(A), { links: 2 }])
      .refused(/attributes/);
  });

  it('finds errors that were not due', () => {
    script()
      .run([mkdir(A, 'd'), error('EEXIST')])
      .refused(/EEXIST/);
    script()
      .run([create(A, 'f'), error('EXDEV')])
      .refused(/EXDEV/);
    script()
      .run([mkdir(A, 'd'), { inode: 10 }], [rmdir(A, 'd'), error('ENOTEMPTY')])
      .refused(/ENOTEMPTY/);
    script()
      .run([create(A, 'f'), { inode: 10 }], [mkdir(B, 'd'), { inode: 11 }])
      .run([rename(A, 'f', B, 'd'), error('ENOTDIR')])
      .refused(/ENOTDIR/);
  });

  it('finds a loop that two renames made', () => {
    script()
      .together([rename(ROOT, 'a', B, 'x'), ok], [rename(ROOT, 'b', A, 'x'), ok])
      .refused(/rename/);
    script()
      .together([rename(ROOT, 'a', B, 'x'), ok], [rename(ROOT, 'b', A, 'x'), error('EINVAL')])
      .accepted();
  });

  it('lets what never returned have happened at any later time, once, or never', () => {
    const lost = (): Script => script().call('killed', create(A, 'f'), ok);
    lost()
      .run([entry(A, 'f'), error('ENOENT')])
      .accepted();
    lost()
      .run(
        [entry(A, 'f'), error('ENOENT')],
        [entry(A, 'f'), { inode: 10 }],
        [link(10, B, 'g'), { links: 2 }],
        [attributes(10), { links: 2 }],
      )
      .accepted();
    lost()
      .run([entry(A, 'f'), { inode: 10 }], [entry(A, 'f'), { inode: 11 }])
      .refused(/inode=11/);
    lost()
      .run([entry(A, 'f'), { inode: 10 }], [unlink(A, 'f'), ok], [entry(A, 'f'), { inode: 11 }])
      .refused(/inode=11/);
    // It is another's: who made it is known.
    script()
      .call('killed', create(A, 'f'), ok)
      .run([create(B, 'g'), { inode: 10 }], [entry(A, 'f'), { inode: 10 }])
      .refused(/entry/);
  });

  it('binds what a killed client made, above and below', () => {
    script()
      .call('killed', mkdir(A, 'd'), ok)
      .call('other', rename(A, 'd', B, 'd'), ok)
      .run([entry(B, 'd'), { inode: 10 }], [create(10, 'f'), { inode: 11 }])
      .return('other')
      .run([rename(ROOT, 'b', 10, 'x'), error('EINVAL')], [attributes(10), { links: 2 }])
      .accepted();
  });

  it('lets a rename that does nothing now do something later', () => {
    const renamed = (): Script =>
      script()
        .run([create(A, 'f'), { inode: 10 }], [link(10, B, 'g'), { links: 2 }])
        .call('mover', rename(A, 'f', B, 'g'), ok)
        .run([unlink(B, 'g'), ok], [entry(A, 'f'), { inode: 10 }])
        .return('mover');
    renamed()
      .run([entry(B, 'g'), { inode: 10 }])
      .accepted();
    renamed()
      .run([entry(A, 'f'), { inode: 10 }])
      .accepted();
    renamed()
      .run([entry(A, 'f'), { inode: 10 }], [entry(B, 'g'), { inode: 10 }])
      .refused(/name=g/);
  });

  it('is fast on long histories with much under way', () => {
    const long = script()
      .call('killed', create(A, 'x'), ok)
      .call('killed too', rename(A, 'x', B, 'x'), ok)
      .call('and this one', mkdir(B, 'x'), ok);
    for (let inode = 100; inode < 200; inode++) {
      long.together(
        [unlink(B, 'f'), ok],
        [entry(A, 'f'), error('ENOENT')],
        [rename(A, 'f', B, 'f'), ok],
        [create(A, 'f'), { inode }],
      );
    }
    const began = performance.now();
    long.accepted();
    assert.ok(performance.now() - began < 2000);
    long.run([entry(A, 'f'), { inode: 199 }]).refused(/inode=199/);
  });
});
