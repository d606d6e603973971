/**
 * Leases that the entries of one page of a listing bring: asked for while the page is packed, an entry at a time,
 * from what is in memory alone. Names are leased with a lease of the whole directory; without one
 * (it is in partitions, or contended) each by itself, where attributes are asked for: who wants those is
 * about to look the names up.
 */
import { LEASE_ENTRY, LEASE_INODE, NOTICE_ENTRY, NOTICE_INODE } from '../../protocol/leases.js';
import type { Session } from '../../transport/rpc-server.js';
import type { LockTable } from '../transactions/locks.js';
import type { Leases } from './leases.js';

/** ReadDirRequest.flags */
export const LIST_ATTRIBUTES = 1;

const NAMES_NOT = 0;
const NAMES_ALL = 1;
const NAMES_EACH = 2;

export class ListedGrants {
  readonly #leases: Leases;
  readonly #locks: LockTable;
  /** Null: nothing is granted. */
  #session: Session | null = null;
  #directory = 0;
  #names = NAMES_NOT;
  #inodes = false;

  constructor(leases: Leases, locks: LockTable) {
    this.#leases = leases;
    this.#locks = locks;
  }

  begin(session: Session, directory: number, withAttributes: boolean): void {
    this.#session = session;
    this.#directory = directory;
    this.#names = NAMES_NOT;
    this.#inodes = withAttributes;
  }

  end(): void {
    this.#session = null;
  }

  /** `isWhole`: the session holds the directory. */
  namesAre(isWhole: boolean, withAttributes: boolean): void {
    this.#names = isWhole ? NAMES_ALL : withAttributes ? NAMES_EACH : NAMES_NOT;
  }

  /** LEASE_ENTRY or 0; `hash`: of the entry's cookie. */
  entry(hash: number): number {
    if (this.#session === null || this.#names === NAMES_NOT) return 0;
    if (this.#names === NAMES_ALL) return LEASE_ENTRY;
    const isGranted = this.#leases.grant(this.#session, NOTICE_ENTRY, this.#directory, hash);
    return isGranted ? LEASE_ENTRY : 0;
  }

  /** LEASE_INODE or 0, of an inode whose attributes are shown; `divided`: it is a directory in partitions. */
  inode(inode: number, divided: boolean): number {
    if (this.#session === null || !this.#inodes || divided) return 0;
    const locks = this.#locks;
    if (locks.attributes(inode) !== undefined || locks.freeze(inode) !== undefined) return 0;
    return this.#leases.grant(this.#session, NOTICE_INODE, inode, 0) ? LEASE_INODE : 0;
  }
}
