/** Real mounts of the FUSE addon for tests: the benchmark's Map, with requests held back at will. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { MapFileSystem, type MapFileSystemOptions } from '../../../bench/map-file-system.js';
import { NativeArena } from '../../../src/native/arena.js';
import { isMountPoint } from '../../../src/native/fuse-mount.js';
import {
  FuseSession,
  Operation,
  type FuseOptions,
  type FuseRequest,
} from '../../../src/native/fuse.js';
import { nativeFolder } from '../../../src/native/load.js';
import { Reactor } from '../../../src/native/reactor.js';
import { errno } from '../../../src/common/errno.js';

export const BULK_SLOTS = 12;
export const MESSAGE_SLOTS = 64;

/** Answers like MapFileSystem, except what `hold` keeps; checks where the data of writes lies. */
export class HoldingFileSystem extends MapFileSystem {
  /** True: it is answered later, or has been answered here. */
  hold: (request: FuseRequest) => boolean = () => false;
  readonly held: FuseRequest[] = [];
  readonly interrupted: FuseRequest[] = [];
  readonly dataOffsets: number[] = [];
  readies = 0;
  ends = 0;
  notified = 0;
  pagesDropped = 0;

  override onReady(): void {
    this.readies++;
  }

  override onInterrupt(request: FuseRequest): void {
    this.interrupted.push(request);
    this.held.splice(this.held.indexOf(request), 1);
    request.replyStatus(errno.EINTR);
  }

  override onNotified(number: number): void {
    this.notified = number;
  }

  override onPagesDropped(number: number): void {
    this.pagesDropped = number;
  }

  override onEnded(reason: string): void {
    this.ends++;
    super.onEnded(reason);
  }

  /** Answers a GetAttr so that the kernel drops the file's pages. */
  answerDropping(request: FuseRequest): void {
    const value = (attributes: number): void => {
      request.replyAttributesDropping(attributes);
    };
    Object.defineProperty(request, 'replyAttributes', { value, configurable: true });
    super.onRequest(request);
    Reflect.deleteProperty(request, 'replyAttributes');
  }

  override onRequest(request: FuseRequest): void {
    if (request.operation === Operation.Write) this.dataOffsets.push(request.dataOffset);
    if (!this.hold(request)) super.onRequest(request);
    else if (request.active) this.held.push(request);
  }

  answerHeld(): void {
    for (const request of this.held.splice(0)) super.onRequest(request);
  }
}

export interface Mounted {
  path: string;
  arena: NativeArena;
  reactor: Reactor;
  files: HoldingFileSystem;
  session: FuseSession;
}

export interface GroundOptions {
  session?: Partial<FuseOptions>;
  bulkSlots?: number;
  map?: MapFileSystemOptions;
}

/** Mounts below one temporary folder, all gone after `unmountAll`. */
export class FuseGround {
  readonly base = mkdtempSync(join(tmpdir(), 'sealfs-fuse-'));
  readonly #mounts: Mounted[] = [];

  mount(options: GroundOptions = {}): Mounted {
    const path = mkdtempSync(join(this.base, 'mnt-'));
    const bulkSlots = options.bulkSlots ?? BULK_SLOTS;
    const arena = new NativeArena({ messageSlots: MESSAGE_SLOTS, bulkSlots });
    const reactor = new Reactor();
    const files = new HoldingFileSystem(arena, { keepData: true, ...options.map });
    const session = new FuseSession(
      reactor,
      arena,
      { mountpoint: path, ...options.session },
      files,
    );
    session.mount();
    const mounted = { path, arena, reactor, files, session };
    this.#mounts.push(mounted);
    return mounted;
  }

  async unmountAll(): Promise<void> {
    for (const { session, reactor, files, path } of this.#mounts.splice(0)) {
      files.hold = () => false;
      files.answerHeld();
      await session.unmount({ lazy: true });
      session.close();
      reactor.close();
      assert.equal(isMountPoint(path), false, 'the mount point is free again');
    }
  }

  remove(): void {
    rmSync(this.base, { recursive: true });
  }
}

export const fuseIsHere = existsSync('/dev/fuse');

const posix = join(nativeFolder(), 'sealfs_posix');
export const callerIsHere = existsSync(posix);

/** A process that makes calls in a mount's folder, one script line after another (native/posix). */
export class Caller {
  readonly #child;
  readonly #lines: AsyncIterator<string>;
  readonly pid: number;
  readonly ended: Promise<number | string>;

  constructor(path: string) {
    // Not spawn's own `cwd`: this thread would wait for it, and serves the mount.
    const script = 'cd "$0" && exec "$1"';
    const stdio = ['pipe', 'pipe', 'inherit'] as const;
    this.#child = spawn('sh', ['-c', script, path, posix], { stdio: [...stdio] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.pid = this.#child.pid!;
    this.ended = exit(this.#child);
  }

  async call(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    const answer = await this.#lines.next();
    return answer.done === true ? 'ended' : answer.value;
  }

  kill(): void {
    this.#child.kill('SIGTERM');
  }

  end(): Promise<number | string> {
    this.#child.stdin.end();
    return this.ended;
  }
}

export async function until(what: string, holds: () => boolean, timeoutMs = 5000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!holds()) {
    assert.ok(Date.now() < end, `timed out waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Exit status or signal of a process that is ended. */
export function exit(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? ''));
  });
}

export function run(command: string, args: string[]): Promise<number | string> {
  return exit(spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }));
}
