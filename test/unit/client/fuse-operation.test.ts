/** What a reply of the core tells the kernel: validities and page use, of each reply or by default. */
import assert from 'node:assert/strict';
import { FileAttributes } from '../../../src/client/attributes.js';
import { FuseFront, defaultFuseFrontOptions } from '../../../src/client/fuse-front.js';
import { FuseOperation } from '../../../src/client/fuse-operation.js';
import { PageUse } from '../../../src/client/request.js';
import { errno } from '../../../src/common/errno.js';
import { OpenFlag, Operation } from '../../../src/native/fuse.js';
import type { FuseInfo, FuseRequest } from '../../../src/native/fuse.js';
import { FakeWorld } from './fake-target.js';

const DIRECT = OpenFlag.DirectIo | OpenFlag.ParallelDirectWrites;

describe('FUSE operation', () => {
  const fake = new FakeWorld(1);
  const front = new FuseFront(fake.core, fake.arena, fake.scheduler, {
    ...defaultFuseFrontOptions,
    entryTimeoutMs: 11,
    attributesTimeoutMs: 22,
  });
  front.onReady({ directIoMmap: true } as FuseInfo);
  const attributes = new FileAttributes(fake.arena.words, 4096);

  /** The calls that the kernel's request gets when the core replies in this way. */
  function answers(operation: number, reply: (operation: FuseOperation) => void): unknown[] {
    const calls: unknown[] = [];
    const note =
      (name: string) =>
      (...values: unknown[]): number =>
        calls.push([name, ...values]);
    const stub = {
      operation,
      flags: 0,
      replyStatus: note('status'),
      replyEntry: note('entry'),
      replyNoEntry: note('no entry'),
      replyAttributes: note('attributes'),
      replyCreate: note('create'),
      replyOpen: note('open'),
      replyDirectory: note('directory'),
    };
    const pooled = new FuseOperation(front);
    pooled.start(stub as unknown as FuseRequest, 0);
    reply(pooled);
    return calls;
  }

  const says = (operation: FuseOperation): void => {
    operation.entryValidMs = 3000;
    operation.attributesValidMs = 4000;
  };

  it('takes the options where the core says nothing', () => {
    const at = attributes.offset;
    assert.deepEqual(
      answers(Operation.Lookup, (one) => one.replyEntry(attributes)),
      [['entry', at, 11, 22]],
    );
    assert.deepEqual(
      answers(Operation.GetAttr, (one) => one.replyAttributes(attributes)),
      [['attributes', at, 22]],
    );
    assert.deepEqual(
      answers(Operation.Create, (one) => one.replyCreated(attributes, 5)),
      [['create', at, 11, 22, 5, DIRECT]],
    );
    assert.deepEqual(
      answers(Operation.Lookup, (one) => one.replyError(errno.ENOENT)),
      [['status', errno.ENOENT]],
    );
  });

  it('passes on what the core says of one reply, 0 as well', () => {
    const at = attributes.offset;
    const reply = (operation: number, how: (one: FuseOperation) => void): unknown[] =>
      answers(operation, (one) => {
        says(one);
        how(one);
      });
    assert.deepEqual(
      reply(Operation.Lookup, (one) => one.replyEntry(attributes)),
      [['entry', at, 3000, 4000]],
    );
    assert.deepEqual(
      reply(Operation.Create, (one) => one.replyCreated(attributes, 5)),
      [['create', at, 3000, 4000, 5, DIRECT]],
    );
    assert.deepEqual(
      reply(Operation.ReadDirPlus, (one) => one.replyEntries(0, 0)),
      [['directory', 0, 0, false, 0, 3000, 4000]],
    );
    assert.deepEqual(
      reply(Operation.Lookup, (one) => one.replyError(errno.ENOENT)),
      [['no entry', 3000]],
    );
    assert.deepEqual(
      reply(Operation.Unlink, (one) => one.replyError(errno.ENOENT)),
      [['status', errno.ENOENT]],
    );
    assert.deepEqual(
      answers(Operation.GetAttr, (one) => {
        one.attributesValidMs = 0;
        one.replyAttributes(attributes);
      }),
      [['attributes', at, 0]],
    );
  });

  it('has pages cached as the core chooses for an open', () => {
    for (const [use, flags] of [
      [PageUse.AsOptions, DIRECT],
      [PageUse.Direct, DIRECT],
      [PageUse.Cached, 0],
      [PageUse.Kept, OpenFlag.KeepCache],
    ] as const) {
      const opened = answers(Operation.Open, (one) => {
        one.pageUse = use;
        one.replyOpened(9);
      });
      assert.deepEqual(opened, [['open', 9, flags]]);
    }
    const directory = answers(Operation.OpenDir, (one) => {
      one.pageUse = PageUse.Kept;
      one.replyOpened(9);
    });
    assert.deepEqual(directory, [['open', 9, 0]]);
  });

  it('forgets what was said when it is used again', () => {
    const pooled = new FuseOperation(front);
    says(pooled);
    pooled.pageUse = PageUse.Kept;
    const stub = { operation: Operation.Lookup, flags: 0 };
    pooled.start(stub as unknown as FuseRequest, 0);
    assert.deepEqual([pooled.entryValidMs, pooled.attributesValidMs, pooled.pageUse], [-1, -1, 0]);
  });
});
