/** A scripted target that grants leases, and a client that wants them. */
import { errno } from '../../../../src/common/errno.js';
import { HAS_ATTRIBUTES, LEASE_ENTRY, LEASE_INODE } from '../../../../src/protocol/leases.js';
import type { ClientOptions } from '../../../../src/client/context.js';
import { NameReference } from '../../../../src/client/request.js';
import { AbsentReply, LookupReply, Opcode } from '../../../../src/protocol/wire.generated.js';
import { FakeWorld, attributesBody, bodyOf, fillAttributes, put64 } from '../fake-target.js';
import type { ScriptedReply } from '../fake-target.js';
import { noticesBody } from './notices-body.js';
import type { NoticeValues } from './notices-body.js';

export class LeaseWorld extends FakeWorld {
  readonly notices: NoticeValues[][] = [];
  readonly file: number;

  constructor(leaseNamesMax: number, options: Partial<ClientOptions>) {
    super(1, { coherence: 'leases', leaseNamesMax, ...options });
    this.file = this.inodeOn(0, 50);
    this.answer(Opcode.Await, () => this.#awaited());
    this.answer(Opcode.Returned, () => ({}));
    this.answer(Opcode.GetAttr, () => ({
      body: attributesBody({ inode: this.rootInode, mode: 0o40755 }, LEASE_INODE),
    }));
    this.answer(Opcode.Lookup, () => this.found(LEASE_INODE | LEASE_ENTRY));
    this.answer(Opcode.Create, () => ({
      body: attributesBody({ inode: this.file }, LEASE_INODE | LEASE_ENTRY),
    }));
  }

  #first = true;

  #awaited(): ScriptedReply {
    const notices = this.notices.shift() ?? [];
    const afterMs = this.#first ? 0 : notices.length > 0 ? 100 : 2000;
    this.#first = false;
    return { afterMs, body: noticesBody(notices) };
  }

  /** A Lookup's answer that grants these. */
  found(flags: number): ScriptedReply {
    const body = put64(new Uint8Array(LookupReply.SIZE), LookupReply.inode, this.file);
    const words = new Uint32Array(body.buffer);
    words[LookupReply.flags / 4] = HAS_ATTRIBUTES | flags;
    fillAttributes(words, LookupReply.attributes, { inode: this.file });
    return { body };
  }

  absent(flags: number): ScriptedReply {
    return {
      status: errno.ENOENT,
      body: bodyOf(AbsentReply.SIZE, { [AbsentReply.flags]: flags }),
    };
  }

  async exists(path: string): Promise<boolean> {
    return this.files.stat(path).then(
      () => true,
      () => false,
    );
  }

  /** Names of opcodes but those of notices. */
  asked_(): string[] {
    return this.takeAsked().filter((name) => !['Await', 'Returned', 'Release'].includes(name));
  }
}

/** Connects, and waits for the first Await's answer: from then on leases are believed. */
export async function play(
  body: (world: LeaseWorld) => Promise<void>,
  leaseNamesMax = 4,
  options: Partial<ClientOptions> = {},
): Promise<void> {
  const world = new LeaseWorld(leaseNamesMax, options);
  await world.run(async () => {
    await world.exists('/');
    await world.pause(50);
    world.takeAsked();
    await body(world);
  }, 1_000_000);
}

export function reference(bytes: Uint8Array): NameReference {
  return new NameReference().set(bytes, 0, bytes.length);
}
