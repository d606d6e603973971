/**
 * What a client keeps of a listing, against a scripted target. Protects: names and attributes that a page brought
 * under leases cost no request again, and are never believed when somebody has changed them since.
 */
import assert from 'node:assert/strict';
import { ListAttributes } from '../../../../src/client/listing-page.js';
import type { ListedEntry } from '../../../../src/client/answer.js';
import { errno } from '../../../../src/common/errno.js';
import { nameHash44 } from '../../../../src/placement/hash.js';
import {
  HAS_ATTRIBUTES,
  LEASE_DIRECTORY,
  LEASE_ENTRY,
  LEASE_INODE,
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
} from '../../../../src/protocol/leases.js';
import { writeU16, writeU53 } from '../../../../src/protocol/u53.js';
import {
  Attributes,
  DirEntry,
  Opcode,
  ReadDirReply,
  ReadDirRequest,
} from '../../../../src/protocol/wire.generated.js';
import { fillAttributes } from '../fake-target.js';
import type { Asked, ScriptedReply } from '../fake-target.js';
import type { LeaseWorld } from './lease-world.js';
import { play } from './lease-world.js';

const HASH_END = 2 ** 44;
const encoder = new TextEncoder();

interface Page {
  names: string[];
  /** Of the reply. */
  flags?: number;
  /** Of each entry: HAS_ATTRIBUTES, LEASE_INODE, LEASE_ENTRY. */
  grants: number;
  last?: boolean;
}

const cookieOf = (name: string): number => nameHash44(encoder.encode(name), 0, name.length) * 256;
/** As a target lists them. */
const inOrder = (names: string[]): string[] => names.sort((a, b) => cookieOf(a) - cookieOf(b));

/** The n-th file is that of the n-th name of all. */
function fileOf(world: LeaseWorld, name: string): number {
  return world.inodeOn(0, 100 + name.charCodeAt(0));
}

function pageReply(world: LeaseWorld, page: Page): ScriptedReply {
  const bytes = new Uint8Array(4096);
  const words = new Uint32Array(bytes.buffer);
  let at: number = ReadDirReply.SIZE;
  for (const name of page.names) {
    const inode = fileOf(world, name);
    writeU53(words, at + DirEntry.inode, inode);
    writeU53(words, at + DirEntry.cookie, cookieOf(name));
    writeU16(words, at + DirEntry.nameBytes, name.length);
    writeU16(words, at + DirEntry.hasAttributes, page.grants);
    words[(at + DirEntry.mode) / 4] = 0o100000;
    at += DirEntry.SIZE;
    if ((page.grants & HAS_ATTRIBUTES) !== 0) {
      fillAttributes(words, at, { inode });
      at += Attributes.SIZE;
    }
    bytes.set(encoder.encode(name), at);
    at = (at + name.length + 7) & ~7;
  }
  words[ReadDirReply.inlineBytes / 4] = at - ReadDirReply.SIZE;
  words[ReadDirReply.entryCount / 4] = page.names.length;
  words[ReadDirReply.endOfDirectory / 4] = page.last === false ? 0 : 1;
  words[ReadDirReply.flags / 4] = page.flags ?? 0;
  writeU53(words, ReadDirReply.rangeEnd, HASH_END);
  return { body: bytes.slice(0, at) };
}

class Lister {
  readonly #world: LeaseWorld;
  handle = 0;

  constructor(world: LeaseWorld) {
    this.#world = world;
  }

  async open(): Promise<this> {
    const { core, files, rootInode } = this.#world;
    const opened = await files.call('opendir', '/', (request) => {
      core.openDirectory(request, rootInode);
    });
    this.handle = opened.handle;
    return this;
  }

  async page(cookie: number, attributes: ListAttributes): Promise<ListedEntry[]> {
    const { core, files } = this.#world;
    const answer = await files.call('readdir', '/', (request) => {
      core.readDirectory(request, this.handle, cookie, 4096, attributes, 0);
    });
    return answer.entries;
  }

  close(): void {
    this.#world.core.closeHandle(this.handle);
  }
}

const ALL = HAS_ATTRIBUTES | LEASE_INODE | LEASE_ENTRY;
const wantsAttributes = ({ body }: Asked): boolean => body[ReadDirRequest.flags] === 1;

describe('client: leases of listings', () => {
  async function listed(world: LeaseWorld, page: Page): Promise<ListedEntry[]> {
    world.answer(Opcode.ReadDir, () => pageReply(world, page));
    const lister = await new Lister(world).open();
    const entries = await lister.page(0, ListAttributes.Learnt);
    lister.close();
    return entries;
  }

  it('answer each name and its attributes, until they are recalled', () =>
    play(async (world) => {
      const names = inOrder(['a', 'b', 'c']);
      const entries = await listed(world, { names, grants: ALL });
      assert.deepEqual(
        entries.map(({ nameBytes, stats }) => [Buffer.from(nameBytes).toString(), stats]),
        names.map((name) => [name, undefined]),
        'attributes are for look-ups',
      );
      for (const name of names) assert.ok(await world.exists(`/${name}`));
      assert.deepEqual(world.asked_(), ['ReadDir']);
      const inode = fileOf(world, 'b');
      const hash = nameHash44(encoder.encode('c'), 0, 1);
      world.notices.push([
        { number: 1, kind: NOTICE_INODE, inode },
        { number: 2, kind: NOTICE_ENTRY, inode: world.rootInode, hash },
      ]);
      await world.pause(5000);
      for (const name of ['a', 'b', 'c']) assert.ok(await world.exists(`/${name}`));
      assert.deepEqual(world.asked_(), ['GetAttr', 'Lookup']);
    }));

  it('say nothing of what was not granted', () =>
    play(async (world) => {
      await listed(world, { names: ['a'], grants: HAS_ATTRIBUTES });
      assert.ok(await world.exists('/a'));
      assert.deepEqual(world.asked_(), ['ReadDir', 'Lookup']);
    }));

  it('say nothing of what was recalled before the page came', () =>
    play(async (world) => {
      world.answer(Opcode.ReadDir, () => ({
        ...pageReply(world, { names: ['a'], grants: ALL }),
        afterMs: 5000,
      }));
      world.notices.push([
        { number: 1, kind: NOTICE_DIRECTORY, inode: world.rootInode },
        { number: 2, kind: NOTICE_INODE, inode: fileOf(world, 'a') },
      ]);
      const lister = await new Lister(world).open();
      await lister.page(0, ListAttributes.Learnt);
      assert.ok(await world.exists('/a'));
      assert.deepEqual(world.asked_(), ['ReadDir', 'Lookup']);
    }));

  it('of a whole directory answer for names that are not in it', () =>
    play(async (world) => {
      await listed(world, { names: ['a'], flags: LEASE_DIRECTORY, grants: ALL });
      assert.ok(!(await world.exists('/z')));
      assert.ok(await world.exists('/a'));
      assert.deepEqual(world.asked_(), ['ReadDir']);
    }));

  it('of a whole directory are such over several pages, but not over a recall', () =>
    play(async (world) => {
      const [first, second] = inOrder(['a', 'b']) as [string, string];
      const read = async (between: () => Promise<void>): Promise<void> => {
        world.answer(Opcode.ReadDir, ({ body }) => {
          const begins = body.subarray(ReadDirRequest.cookie, 16).every((byte) => byte === 0);
          const names = begins ? [first] : [second];
          const flags = begins ? LEASE_DIRECTORY : 0;
          return pageReply(world, { names, flags, grants: ALL, last: !begins });
        });
        const lister = await new Lister(world).open();
        await lister.page(0, ListAttributes.Learnt);
        await between();
        await lister.page(cookieOf(first), ListAttributes.Learnt);
        lister.close();
      };
      world.notices.push([], [{ number: 1, kind: NOTICE_DIRECTORY, inode: world.rootInode }]);
      await read(() => world.pause(5000));
      world.asked_();
      await world.exists('/y');
      assert.deepEqual(world.asked_(), ['Lookup']);
      await read(() => Promise.resolve());
      world.asked_();
      assert.ok(!(await world.exists('/z')));
      assert.ok(await world.exists(`/${first}`));
      assert.ok(await world.exists(`/${second}`));
      assert.deepEqual(world.asked_(), []);
    }));

  it('bring attributes, unasked, where the names of the page before were looked up', () =>
    play(async (world) => {
      const [first, second, third] = inOrder(['a', 'b', 'c']) as [string, string, string];
      const pages = [first, second, third];
      const wanted: boolean[] = [];
      world.answer(Opcode.ReadDir, (asked) => {
        wanted.push(wantsAttributes(asked));
        const grants = wantsAttributes(asked) ? ALL : 0;
        return pageReply(world, { names: [pages.shift()!], grants, last: false });
      });
      const lister = await new Lister(world).open();
      await lister.page(0, ListAttributes.IfUsed);
      await lister.page(cookieOf(first), ListAttributes.IfUsed);
      await world.exists(`/${second}`);
      await lister.page(cookieOf(second), ListAttributes.IfUsed);
      assert.deepEqual(wanted, [false, false, true]);
    }));

  it('cost one request for a directory of one page', () =>
    play(async (world) => {
      const names = inOrder(Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i)));
      const grants = LEASE_ENTRY;
      world.answer(Opcode.ReadDir, () =>
        pageReply(world, { names, flags: LEASE_DIRECTORY, grants }),
      );
      const lister = await new Lister(world).open();
      assert.equal((await lister.page(0, ListAttributes.None)).length, names.length);
      assert.equal((await lister.page(cookieOf(names.at(-1)!), ListAttributes.None)).length, 0);
      lister.close();
      await world.pause(100);
      const asked = world.takeAsked().filter((name) => name !== 'Await');
      assert.deepEqual(asked, ['ReadDir']);
    }));

  it('go on behind what had been the end when they begin anew', () =>
    play(async (world) => {
      const [first, second] = inOrder(['a', 'b']) as [string, string];
      const lister = await new Lister(world).open();
      world.answer(Opcode.ReadDir, () => pageReply(world, { names: [first], grants: 0 }));
      await lister.page(0, ListAttributes.None);
      assert.deepEqual(await lister.page(cookieOf(first), ListAttributes.None), [], 'the end');
      const pages = [first, second];
      world.answer(Opcode.ReadDir, () =>
        pageReply(world, { names: [pages.shift()!], grants: 0, last: pages.length === 0 }),
      );
      await lister.page(0, ListAttributes.None);
      const [entry] = await lister.page(cookieOf(first), ListAttributes.None);
      assert.equal(Buffer.from(entry!.nameBytes).toString(), second);
      lister.close();
    }));

  it('end without a trace in the next handle when theirs is closed before a page comes', () =>
    play(async (world) => {
      const names = inOrder(['a', 'b']);
      world.answer(Opcode.ReadDir, () => ({
        ...pageReply(world, { names, grants: 0 }),
        afterMs: 10,
      }));
      const closed = await new Lister(world).open();
      const page = closed.page(0, ListAttributes.None);
      closed.close();
      const next = await new Lister(world).open();
      assert.equal(next.handle, closed.handle);
      await assert.rejects(page, { errno: -errno.EBADF });
      // Not the end there.
      const entries = await next.page(cookieOf(names.at(-1)!), ListAttributes.None);
      assert.equal(entries.length, names.length);
      next.close();
    }));
});
