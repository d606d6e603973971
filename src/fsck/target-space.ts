/**
 * The books of one target: blocks in use against bitmap and shared counts, promised space, the number
 * of inodes. Own keys and chunks are handed in by the two walks; `finish` says what does not add up.
 */
import { chunkKey } from '../server/data/keys.js';
import { ExtentMap } from '../server/data/extent-map.js';
import { propertyKey } from '../server/keys.js';
import { BlockMarks } from './block-marks.js';
import { blockOf, BlockUse, deviceOf, DEVICE_PLACES } from './block-use.js';
import type { CheckState } from './check-state.js';
import type { Finding } from './findings.js';
import { copyOf, replacement } from './findings.js';
import { KEY } from './parsed-key.js';
import type { ParsedKey } from './parsed-key.js';
import { SharedRuns } from './shared-runs.js';
import type { Difference } from './shared-runs.js';
import { numberProblem, storedNumber, viewOf } from './values.js';
import { byteU64 } from '../server/inode-record.js';

/** As the property `devices` lists them. */
export interface DeviceRecord {
  number: number;
  totalBlocks: number;
  path: string;
}

/** The devices in this property; undefined: it is no such list. */
export function parseDevices(value: Uint8Array): DeviceRecord[] | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(value).toString());
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (!Array.isArray(parsed)) return undefined;
  for (const device of parsed as Partial<DeviceRecord>[]) {
    const numbers = Number.isInteger(device?.number) && Number.isInteger(device?.totalBlocks);
    if (!numbers || typeof device.path !== 'string') return undefined;
  }
  return parsed as DeviceRecord[];
}

interface ChunkPlace {
  bucket: number;
  inode: number;
  chunk: number;
}

const UNREPAIRED = 'nothing while a chunk of this target is damaged: its blocks are not known';

export class TargetSpace {
  inodeRecords = 0;
  promisedBlocks = 0;
  /** Undefined: the store has no list, so places are not checked. */
  devices: Map<number, DeviceRecord> | undefined;
  /** There are chunks whose blocks are not known, or elsewhere: nothing may be freed. */
  hasDamagedChunks = false;
  readonly #target: number;
  readonly #marks: BlockMarks;
  readonly #runs: SharedRuns;
  readonly #use = new BlockUse();
  readonly #chunks: ChunkPlace[] = [];
  #storedInodes = 0;
  #storedPromise = 0;

  constructor(target: number) {
    this.#target = target;
    this.#marks = new BlockMarks(target);
    this.#runs = new SharedRuns(target);
  }

  takeOwn(state: CheckState, parsed: ParsedKey, key: Uint8Array, value: Uint8Array): void {
    if (parsed.kind === KEY.region) this.#marks.take(parsed.device, parsed.number, value);
    else if (parsed.kind === KEY.shared) {
      this.#runs.take(parsed.device, parsed.number, key, value);
    } else this.#takeProperty(state, parsed.name, key, value);
  }

  #takeProperty(state: CheckState, name: string, key: Uint8Array, value: Uint8Array): void {
    switch (name) {
      case 'inodes':
        this.#storedInodes = numberProblem(value) === '' ? byteU64(value, 0) : NaN;
        return;
      case 'promised':
        this.#storedPromise = value.length === 8 ? viewOf(value).getFloat64(0, true) : NaN;
        return;
      case 'transactions': {
        const { id } = state.cluster.targets[this.#target]!;
        state.nextTransactions.set(id, numberProblem(value) === '' ? byteU64(value, 0) : NaN);
        return;
      }
      case 'devices': {
        const devices = parseDevices(value);
        if (devices === undefined) {
          const text = "the target's list of devices cannot be read";
          state.reportMalformed(this.#target, key, value, text);
        } else this.devices = new Map(devices.map((device) => [device.number, device]));
        return;
      }
    }
  }

  /** Whether the device has blocks up to `end`; where devices are not known, it is believed. */
  isOnDevice(device: number, end: number): boolean {
    if (this.devices === undefined) return true;
    const known = this.devices.get(device);
    return known !== undefined && end <= known.totalBlocks;
  }

  /** The chunk's blocks are in use. Reports extents where no device is. */
  takeChunk(state: CheckState, place: ChunkPlace, map: ExtentMap, value: Uint8Array): void {
    this.promisedBlocks += map.promisedBlocks();
    const index = this.#chunks.length;
    let outside = '';
    this.#use.add(map, index, (device, end) => {
      if (this.isOnDevice(device, end)) return true;
      const isKnown = this.devices?.has(device) === true;
      outside = isKnown ? `device ${device} up to block ${end}` : `device ${device}`;
      return false;
    });
    this.#chunks.push(place);
    if (outside === '') return;
    this.hasDamagedChunks = true;
    const { bucket, inode, chunk } = place;
    const key = chunkKey(bucket, inode, chunk).slice();
    state.report({
      kind: 'outside-device',
      target: this.#target,
      inode,
      text: `chunk ${chunk} has an extent on ${outside}, which is not there`,
      evidence: [{ target: this.#target, key, expect: copyOf(value) }],
    });
  }

  /** After both walks. */
  async finish(state: CheckState): Promise<void> {
    this.#use.sweep((segment) => {
      state.counts.usedBlocks += segment.end - segment.start;
      this.#marks.use(deviceOf(segment.start), blockOf(segment.start), endBlock(segment));
      this.#runs.use(segment);
    });
    this.#finishMarks(state);
    await this.#finishRuns(state);
    this.#finishCounts(state);
  }

  #report(state: CheckState, given: Pick<Finding, 'kind' | 'text'> & Partial<Finding>): void {
    // Counted anew when the cluster runs: no single key proves it.
    state.report({ ...given, target: this.#target, evidence: undefined });
  }

  #finishMarks(state: CheckState): void {
    this.#marks.damaged((device, region, _value, edit) => {
      const text = `the allocator's region ${region} of device ${device} is no bitmap`;
      const repaired = this.hasDamagedChunks
        ? { repair: '' }
        : { repair: 'write it by the extents', edits: [edit] };
      this.#report(state, { kind: 'malformed', text, ...repaired });
    });
    this.#marks.differences(
      (device, from, to, edit) => {
        const text = `${blocks(device, from, to)} marked as used, but no extent uses them`;
        const repaired = this.hasDamagedChunks
          ? { text: `${text} (${UNREPAIRED})` }
          : { text, repair: 'free them', edits: [edit] };
        this.#report(state, { kind: 'leaked-block', ...repaired });
      },
      (device, from, to, edit) => {
        const text = `${blocks(device, from, to)} used by extents, but not marked`;
        this.#report(state, { kind: 'unmarked-block', text, repair: 'mark them', edits: [edit] });
      },
    );
  }

  async #finishRuns(state: CheckState): Promise<void> {
    const differences = this.#runs.differences();
    if (differences.length === 0 && this.#runs.damaged.length === 0) return;
    const disputed = new Set<Difference>();
    for (const difference of differences) {
      const more = difference.used > difference.stored;
      if (more && !(await this.#sameContent(state, difference))) disputed.add(difference);
    }
    const keeps = (place: number): boolean => {
      return [...disputed].some(({ start, end }) => place >= start && place < end);
    };
    const repairable = !this.hasDamagedChunks;
    const edits = repairable ? this.#runs.edits(keeps) : [];
    const repair = repairable ? 'count them by the extents' : '';
    for (const { key } of this.#runs.damaged) {
      const end = viewOf(key).getUint32(5);
      const text = `the run of shared blocks before block ${end} is none`;
      this.#report(state, { kind: 'malformed', text, repair, edits });
    }
    for (const difference of differences) {
      const { start, stored, used } = difference;
      const where = blocks(deviceOf(start), blockOf(start), endBlock(difference));
      if (disputed.has(difference)) {
        const chunks = this.#chunksIn(difference).map(({ inode, chunk }) => `${inode}/${chunk}`);
        const text = `${where} used by ${used + 1} chunks with other checksums: ${chunks.join(', ')}`;
        this.#report(state, { kind: 'double-use', text });
      } else {
        const text = `${where} used by ${used + 1} chunks, but counted as ${stored + 1}`;
        this.#report(state, { kind: 'shared-count', text, repair, edits });
      }
    }
  }

  #chunksIn({ start, end }: Difference): ChunkPlace[] {
    return this.#use.chunksIn(start, end).map((index) => this.#chunks[index]!);
  }

  /** Whether all chunks that use these blocks expect the same checksums there: then it is a clone. */
  async #sameContent(state: CheckState, difference: Difference): Promise<boolean> {
    const { reader } = state.cluster.targets[this.#target]!;
    const wanted = new Map<number, number>();
    const map = new ExtentMap();
    for (const { bucket, inode, chunk } of this.#chunksIn(difference)) {
      const value = await reader.get(chunkKey(bucket, inode, chunk));
      if (value === undefined) continue;
      map.load(value);
      for (let i = 0; i < map.count; i++) {
        if (!map.hasBlocks(i)) continue;
        const start = map.devices[i]! * DEVICE_PLACES + map.blocks[i]!;
        const from = Math.max(start, difference.start);
        const to = Math.min(start + map.blockCount(i), difference.end);
        for (let place = from; place < to; place++) {
          const crc = map.crcs[map.crcStarts[i]! + place - start]!;
          if ((wanted.get(place) ?? crc) !== crc) return false;
          wanted.set(place, crc);
        }
      }
    }
    return true;
  }

  #finishCounts(state: CheckState): void {
    if (this.#storedInodes !== this.inodeRecords) {
      const key = propertyKey('inodes');
      this.#report(state, {
        kind: 'inode-count',
        text: `the target counts ${this.#storedInodes} inodes and has ${this.inodeRecords}`,
        id: `inodes ${this.#target} ${this.#storedInodes - this.inodeRecords}`,
        repair: `set the count to ${this.inodeRecords}`,
        edits: [replacement(this.#target, key, storedNumber(this.inodeRecords))],
      });
    }
    if (this.#storedPromise === this.promisedBlocks) return;
    const sum = new Uint8Array(Float64Array.of(this.promisedBlocks).buffer);
    const repaired = this.hasDamagedChunks
      ? {}
      : {
          repair: `set it to ${this.promisedBlocks}`,
          edits: [replacement(this.#target, propertyKey('promised'), sum)],
        };
    this.#report(state, {
      kind: 'promised-count',
      text: `the target promises ${this.#storedPromise} blocks, its chunks ${this.promisedBlocks}`,
      id: `promised ${this.#target} ${this.#storedPromise - this.promisedBlocks}`,
      ...repaired,
    });
  }
}

function endBlock({ start, end }: { start: number; end: number }): number {
  return blockOf(start) + end - start;
}

function blocks(device: number, from: number, to: number): string {
  return to - from === 1
    ? `block ${from} of device ${device} is`
    : `blocks ${from} to ${to - 1} of device ${device} are`;
}
