/** A volume's files without a mount, in a process of its own: for the command line and programs. */
import { ClientProcess } from './client-process.js';
import type { ClientProcessOptions } from './client-process.js';
import { VolumeFiles } from './volume-files.js';

export { FileError, FileStats } from './answer.js';
export { findTree } from './tree-find.js';
export type { FoundEntry } from './tree-find.js';
export { FileHandle } from './file-handle.js';
export type { ClientProcessOptions } from './client-process.js';
export type { OpenFlags, VolumeFiles } from './volume-files.js';

export interface OpenVolume extends VolumeFiles {
  /** Ends the client; calls under way fail. */
  close(): Promise<void>;
}

/** Connects to a volume. Rejects with a SealfsError, UNAVAILABLE when its servers do not answer. */
export async function openVolume(options: ClientProcessOptions): Promise<OpenVolume> {
  const client = await ClientProcess.start(options);
  return new ProcessVolume(client, options.volume.rootInode);
}

class ProcessVolume extends VolumeFiles implements OpenVolume {
  readonly #client: ClientProcess;

  constructor(client: ClientProcess, rootInode: number) {
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    super(client.core, client.arena, rootInode, owner);
    this.#client = client;
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}
