/** The worker of fuse.test.ts: mounts a Map at workerData.path, reports, serves until terminated. */
import { parentPort, workerData } from 'node:worker_threads';
import { MapFileSystem } from '../../../bench/map-file-system.js';
import { NativeArena } from '../../../src/native/arena.js';
import { FuseSession } from '../../../src/native/fuse.js';
import { Reactor } from '../../../src/native/reactor.js';

const { path } = workerData as { path: string };
const arena = new NativeArena({ messageSlots: 16, bulkSlots: 8 });
const files = new MapFileSystem(arena, { keepData: true });
new FuseSession(new Reactor(), arena, { mountpoint: path }, files).mount();
parentPort?.postMessage('mounted');
