/** The typed face of sealfs_fuse.node (native/fuse). Used by the fuse-*.ts files only. */
import type { NativeHandle } from './core.js';
import { loadAddon } from './load.js';

export interface FuseAddon {
  Session: new (arena: NativeHandle, options: NativeFuseOptions) => NativeFuseSession;
  /** "major:minor" of what is mounted at exactly this resolved path; '' when nothing is. */
  mountedAt(path: string): string;
  /** umount2(2) on another thread; resolves to an errno, 0 when it is done. */
  unmount(path: string, lazy: boolean): Promise<number>;
}

export interface NativeFuseOptions {
  mountOptions: string[];
  rootInode: number;
  /** 0 off, 1 auto, 2 always. */
  readDirPlus: number;
  directIoMmap: boolean;
  posixAcl: boolean;
  flush: boolean;
  locks: boolean;
  maxBackground: number;
  reserveBulkSlots: number;
  smallWriteBytes: number;
}

export interface NativeFuseSession {
  readonly source: NativeHandle;
  readonly layout: FuseLayout;
  readonly negotiated: FuseInfo;
  readonly counters: FuseCounters;
  /** Throws an Error whose message is libfuse's reason. */
  mount(path: string): void;
  submit(): void;
  /** Something is mounted on the volume. */
  isCovered(): boolean;
  close(): void;
}

/** Arena offsets and sizes of the session's block. */
export interface FuseLayout {
  recordsOffset: number;
  recordBytes: number;
  recordCapacity: number;
  eventsOffset: number;
  submissionsOffset: number;
  submissionBytes: number;
  /** Before events and submissions: word 0 is their count, or bytes. */
  headerBytes: number;
}

/** What was agreed with the kernel. */
export interface FuseInfo {
  /** Minor version of the kernel's protocol 7. */
  protocolMinor: number;
  /** FUSE_INIT flags that the kernel offered, bits 0 to 52. */
  offeredFlags: number;
  /** FUSE_CAP_ bits of libfuse that are in use. */
  wantedCapabilities: number;
  maxWriteBytes: number;
  /** The kernel says, and leaves to us, when set-ID bits and capabilities go (Linux 5.12). */
  killPriv: boolean;
  /** It enforces and asks for access control lists. */
  posixAcl: boolean;
  /** The kernel can be told that all names are no longer valid (Linux 6.16). */
  epochNotify: boolean;
  /** fcntl(2) and flock(2) locks come as requests; otherwise the kernel keeps them by itself. */
  locks: boolean;
  /** The kernel makes sure of attributes before it reads from cached pages, which go when these changed. */
  autoInvalidData: boolean;
  /** Files opened with DirectIo can be mapped MAP_SHARED (Linux 6.6 and newer). */
  directIoMmap: boolean;
}

export interface FuseCounters {
  requests: number;
  replies: number;
  /** Lookups that the kernel gave back. */
  forgets: number;
  interrupts: number;
  /** Replies to requests that had been answered. */
  staleReplies: number;
  /** Replies that the kernel refused. */
  failedReplies: number;
  /** Bytes of small writes moved to message slots. */
  writeBytesCopied: number;
  /** Times that reading stopped because no slot was free. */
  pauses: number;
  /** Notices that the kernel has got. */
  notices: number;
  /** … of inodes that it does not know, and so remembers nothing of. */
  noticesUnknown: number;
  /** … that it refused. */
  noticesFailed: number;
  /** Times that all names were declared no longer valid, for one notice or for many. */
  epochs: number;
  /** Times that this was not done because something was mounted on the volume. */
  epochsNotRaised: number;
  activeRequests: number;
}

let addon: FuseAddon | undefined;

/** Throws SealfsError UNSUPPORTED when the addon is not built or libfuse3 is missing. */
export function fuseAddon(): FuseAddon {
  addon ??= loadAddon<FuseAddon>('sealfs_fuse');
  return addon;
}
