/**
 * What is said of this machine's RDMA, over a copy of /sys and /dev. Protects: each lack is found and
 * comes with the line that mends it, and a device's addresses are found however it has them.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { NetworkInterfaceInfo } from 'node:os';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeEach, describe, it } from 'mocha';
import { SealfsError } from '../../../src/common/errors.js';
import { readRdmaState, usableDevices } from '../../../src/native/rdma-state.js';
import type { RdmaPlaces } from '../../../src/native/rdma-state.js';

const MEBIBYTE = 2 ** 20;
const NO_GID = '0000:0000:0000:0000:0000:0000:0000:0000';
const LINK_LOCAL = 'fe80:0000:0000:0000:0000:0aff:fe4d:0001';

describe('rdma state', () => {
  let root: string;
  let places: RdmaPlaces;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'sealfs-rdma-state-'));
    places = {
      root,
      interfaces: () => ({}),
      load: () => undefined,
      verbs: () => ['rxe0', 'siw0'].map((name) => ({ name, unusable: '' })),
      status: 'Name:\tnode\nCapEff:\t0000000000000000\n',
      limits: 'Max locked memory         8388608              8388608              bytes     \n',
    };
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  function put(file: string, text = ''): void {
    const path = join(root, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  function device(name: string, netDevice: string, gids: string[], state = '4: ACTIVE'): void {
    const port = `sys/class/infiniband/${name}/ports/1`;
    put(`${port}/state`, `${state}\n`);
    gids.forEach((gid, i) => {
      put(`${port}/gids/${i}`, `${gid}\n`);
      put(`${port}/gid_attrs/types/${i}`, 'RoCE v2\n');
      put(`${port}/gid_attrs/ndevs/${i}`, `${netDevice}\n`);
    });
    put(`sys/class/infiniband/${name}/parent`, `${netDevice}\n`);
  }

  function deviceFiles(): void {
    put('dev/infiniband/uverbs0');
    put('dev/infiniband/rdma_cm');
  }

  const first = (lockedBytes = 0): string => {
    const [problem] = readRdmaState(lockedBytes, places).problems;
    return problem === undefined ? '' : `${problem.what}; ${problem.mend}`;
  };

  it('finds nothing where there is nothing', () => {
    assert.match(first(), /^this machine has no RDMA device; .*rdma link add rxe0 type rxe/);
  });

  it('reads a device, its address out of its GIDs', () => {
    device('rxe0', 'net0', [LINK_LOCAL, '0000:0000:0000:0000:0000:ffff:0a4d:0001', NO_GID]);
    deviceFiles();
    const state = readRdmaState(0, places);
    assert.deepEqual(state.problems, []);
    assert.deepEqual(state.devices, [
      {
        name: 'rxe0',
        type: 'RoCE v2',
        state: 'ACTIVE',
        interfaces: ['net0'],
        addresses: ['10.77.0.1'],
        gids: 2,
      },
    ]);
  });

  it('takes the addresses of the network interface where GIDs have none', () => {
    const info = (address: string, family: string): NetworkInterfaceInfo =>
      ({ address, family }) as NetworkInterfaceInfo;
    places.interfaces = () => ({
      net1: [info('fe80::1', 'IPv6'), info('fd00::1', 'IPv6'), info('10.0.0.5', 'IPv4')],
      net2: [info('10.0.0.6', 'IPv4')],
    });
    device('siw0', 'net1', ['0200:0a4d:0001:0000:0000:0000:0000:0000']);
    deviceFiles();
    assert.deepEqual(usableDevices(readRdmaState(0, places))[0]!.addresses, [
      '10.0.0.5',
      'fd00::1',
    ]);
  });

  it('names a device without a RoCE GID, and one that is down', () => {
    device('rxe0', 'net0', [LINK_LOCAL]);
    deviceFiles();
    assert.match(first(), /device rxe0 has no RoCE GID: give its network interface an IP address/);
    assert.match(first(), /ip address add ADDRESS\/24 dev net0/);
    device('rxe0', 'net0', [LINK_LOCAL], '1: DOWN');
    assert.match(first(), /^RDMA device rxe0 is DOWN; ip link set net0 up/);
  });

  it('names missing device files, libraries and the addon', () => {
    device('rxe0', 'net0', ['0000:0000:0000:0000:0000:ffff:0a4d:0001']);
    assert.match(first(), /no \/dev\/infiniband\/uverbs\*; modprobe ib_uverbs/);
    put('dev/infiniband/uverbs0');
    assert.match(first(), /no \/dev\/infiniband\/rdma_cm; modprobe rdma_ucm/);
    deviceFiles();
    places.verbs = () => [];
    assert.match(first(), /^libibverbs has no driver for rxe0; apt-get install ibverbs-providers/);
    places.verbs = () => [{ name: 'rxe0', unusable: 'it is odd' }];
    assert.match(first(), /^device rxe0: it is odd; rdma link show rxe0/);
    const failing = (message: string) => () => {
      throw new SealfsError('UNSUPPORTED', message);
    };
    places.load = failing('it does not load: libibverbs.so.1: cannot open shared object file');
    assert.match(first(), /^libibverbs is not installed; apt-get install libibverbs1/);
    places.load = failing('native addon sealfs_rdma is not built');
    assert.match(first(), /is not built; npm run build:native/);
  });

  it('compares what is to be registered with the memlock limit', () => {
    device('rxe0', 'net0', ['0000:0000:0000:0000:0000:ffff:0a4d:0001']);
    deviceFiles();
    assert.equal(first(8 * MEBIBYTE), '');
    const line = first(80 * MEBIBYTE);
    assert.match(line, /^locked memory is limited to 8\.00 MiB, 80\.0 MiB are needed; ulimit -l/);
    places.status = 'CapEff:\t000001ffffffffff\n';
    assert.equal(first(80 * MEBIBYTE), '', 'CAP_IPC_LOCK');
    places.status = 'CapEff:\t0000000000000000\n';
    places.limits =
      'Max locked memory         unlimited            unlimited            bytes     \n';
    assert.equal(first(80 * MEBIBYTE), '');
  });
});
