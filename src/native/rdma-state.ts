/**
 * Whether this machine can speak RDMA, and what it lacks: read from /sys, /dev and /proc, so that it
 * can be said without a device, without libibverbs and without the addon; what libibverbs itself
 * sees is asked last. For `--transport` and for `sealfs doctor`. What the adapter refuses later is the
 * engine's to say.
 */
import { accessSync, constants, existsSync, readFileSync, readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { SealfsError } from '../common/errors.js';
import { formatBytes } from '../common/sizes.js';
import { loadAddon } from './load.js';
import { rdmaDevices } from './rdma.js';

export interface RdmaDevice {
  name: string;
  /** As the kernel says: RoCE v2, IB, iWARP and so on; '' when it has no GID. */
  type: string;
  /** ACTIVE, or why not. */
  state: string;
  /** Its network interfaces. */
  interfaces: string[];
  /** IP addresses that it is reached by, IPv4 first; link-local ones are left out. */
  addresses: string[];
  gids: number;
}

/** Something that is missing, and the line that mends it. */
export interface RdmaProblem {
  what: string;
  mend: string;
}

export interface RdmaState {
  devices: RdmaDevice[];
  /** What keeps RDMA from working, what must be mended first before the rest; none: it can be tried. */
  problems: RdmaProblem[];
}

/** Where to look; replaced by tests. */
export interface RdmaPlaces {
  /** Before /sys and /dev. */
  root: string;
  interfaces: typeof networkInterfaces;
  /** Throws a SealfsError when the addon cannot be loaded. */
  load: () => void;
  /** The devices that libibverbs sees, and why each cannot be used; '' when it can. */
  verbs: () => { name: string; unusable: string }[];
  status: string;
  limits: string;
}

export function hostPlaces(): RdmaPlaces {
  return {
    root: '/',
    interfaces: networkInterfaces,
    load: () => void loadAddon('sealfs_rdma'),
    verbs: rdmaDevices,
    status: readFileSync('/proc/self/status', 'utf8'),
    limits: readFileSync('/proc/self/limits', 'utf8'),
  };
}

/** `lockedBytes`: what will be registered with the adapter; 0: not known yet. */
export function readRdmaState(lockedBytes = 0, places = hostPlaces()): RdmaState {
  const devices = readDevices(places);
  const addon = addonProblem(places);
  const found =
    devices.length === 0
      ? [noDevice, addon]
      : [
          addon,
          deviceFileProblem(places.root),
          unusable(devices),
          addon === undefined ? driverProblem(devices, places) : undefined,
          memlockProblem(lockedBytes, places),
        ];
  return { devices, problems: found.filter((problem) => problem !== undefined) };
}

/** Devices that can carry connections now. */
export function usableDevices(state: RdmaState): RdmaDevice[] {
  return state.devices.filter(isUsable);
}

const isUsable = (device: RdmaDevice): boolean =>
  device.state === 'ACTIVE' && device.addresses.length > 0;

// ------------------------------------------------------------ devices

function readDevices(places: RdmaPlaces): RdmaDevice[] {
  const folder = join(places.root, 'sys/class/infiniband');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((name) => readDevice(name, join(folder, name), places));
}

function readDevice(name: string, folder: string, places: RdmaPlaces): RdmaDevice {
  const ports = list(join(folder, 'ports'));
  const states = ports.map((port) => line(join(folder, 'ports', port, 'state')));
  const active = states.some((state) => state.endsWith('ACTIVE'));
  const interfaces = new Set([line(join(folder, 'parent')), ...list(join(folder, 'device/net'))]);
  const types = new Set<string>();
  const fromGids: string[] = [];
  let gids = 0;
  for (const port of ports) {
    const at = join(folder, 'ports', port);
    for (const index of list(join(at, 'gids'))) {
      const gid = line(join(at, 'gids', index));
      if (gid === '' || /^[0:]+$/.test(gid)) continue;
      gids++;
      types.add(line(join(at, 'gid_attrs/types', index)));
      interfaces.add(line(join(at, 'gid_attrs/ndevs', index)));
      fromGids.push(...mappedAddress(gid));
    }
  }
  interfaces.delete('');
  types.delete('');
  return {
    name,
    type: [...types].sort().reverse().join(', '),
    state: active ? 'ACTIVE' : (states[0] ?? '').replace(/^\d+: /, '') || 'without a port',
    interfaces: [...interfaces].sort(),
    addresses: [...new Set([...fromGids, ...addressesOf(interfaces, places)])],
    gids,
  };
}

/** The IPv4 address in a GID of the form ::ffff:a.b.c.d. */
function mappedAddress(gid: string): string[] {
  const match = /^(?:0000:){5}ffff:([0-9a-f]{2})([0-9a-f]{2}):([0-9a-f]{2})([0-9a-f]{2})$/i.exec(
    gid,
  );
  if (match === null) return [];
  return [
    match
      .slice(1)
      .map((hex) => parseInt(hex, 16))
      .join('.'),
  ];
}

function addressesOf(interfaces: Iterable<string>, places: RdmaPlaces): string[] {
  const all = places.interfaces();
  const found = [...interfaces].flatMap((name) => all[name] ?? []);
  const usable = found.filter(({ address }) => !address.startsWith('fe80:'));
  usable.sort((a, b) => Number(a.family === 'IPv6') - Number(b.family === 'IPv6'));
  return usable.map(({ address }) => address);
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** '' when it cannot be read: unused GID entries answer EINVAL. */
function line(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return '';
  }
}

// ------------------------------------------------------------ what is missing

const noDevice: RdmaProblem = {
  what: 'this machine has no RDMA device',
  mend:
    'an InfiniBand or RoCE adapter appears with its driver (rdma link show); ' +
    'in software: rdma link add rxe0 type rxe netdev eth0',
};

function addonProblem(places: RdmaPlaces): RdmaProblem | undefined {
  try {
    places.load();
    return undefined;
  } catch (error) {
    if (!(error instanceof SealfsError)) throw error;
    const library = /(lib[a-z]+)\.so[.0-9]*: cannot open/.exec(error.message)?.[1];
    if (library === undefined) return { what: error.message, mend: 'npm run build:native' };
    return {
      what: `${library} is not installed`,
      mend: 'apt-get install libibverbs1 librdmacm1 ibverbs-providers',
    };
  }
}

/** The kernel has devices that can be used, libibverbs does not. */
function driverProblem(devices: RdmaDevice[], places: RdmaPlaces): RdmaProblem | undefined {
  const usable = devices.filter(isUsable);
  const seen = places.verbs();
  const found = usable.map(({ name }) => seen.find((device) => device.name === name));
  if (usable.length === 0 || found.some((device) => device?.unusable === '')) return undefined;
  const { name } = usable[0]!;
  if (found[0] === undefined) {
    return {
      what: `libibverbs has no driver for ${name}`,
      mend: 'apt-get install ibverbs-providers',
    };
  }
  return { what: `device ${name}: ${found[0].unusable}`, mend: `rdma link show ${name}` };
}

function deviceFileProblem(root: string): RdmaProblem | undefined {
  const folder = join(root, 'dev/infiniband');
  const verbs = list(folder).filter((name) => name.startsWith('uverbs'));
  if (verbs.length === 0) {
    return {
      what: 'there is no /dev/infiniband/uverbs*',
      mend: 'modprobe ib_uverbs; in a container: --device /dev/infiniband',
    };
  }
  if (!existsSync(join(folder, 'rdma_cm'))) {
    return {
      what: 'there is no /dev/infiniband/rdma_cm',
      mend: 'modprobe rdma_ucm; in a container: --device /dev/infiniband',
    };
  }
  for (const name of [...verbs, 'rdma_cm']) {
    try {
      accessSync(join(folder, name), constants.R_OK | constants.W_OK);
    } catch (error) {
      return {
        what: `/dev/infiniband/${name} cannot be opened: ${(error as NodeJS.ErrnoException).code}`,
        mend: `chmod 666 /dev/infiniband/${name}, or allow the device in the container`,
      };
    }
  }
  return undefined;
}

function unusable(devices: RdmaDevice[]): RdmaProblem | undefined {
  if (devices.some(isUsable)) return undefined;
  return deviceProblem(devices.find(({ state }) => state === 'ACTIVE') ?? devices[0]!);
}

/** Why this device carries nothing; undefined when it can. */
export function deviceProblem(device: RdmaDevice): RdmaProblem | undefined {
  const { name, state, interfaces, addresses, type } = device;
  const netDevice = interfaces[0];
  if (state !== 'ACTIVE') {
    return {
      what: `RDMA device ${name} is ${state}`,
      mend: netDevice === undefined ? 'rdma link show' : `ip link set ${netDevice} up`,
    };
  }
  if (addresses.length > 0) return undefined;
  const lacks = type.startsWith('IB') && !type.includes('RoCE') ? 'IP address' : 'RoCE GID';
  return {
    what: `device ${name} has no ${lacks}: give its network interface an IP address`,
    mend: `ip address add ADDRESS/24 dev ${netDevice ?? 'DEVICE'}`,
  };
}

const CAP_IPC_LOCK = 14;

function memlockProblem(lockedBytes: number, places: RdmaPlaces): RdmaProblem | undefined {
  const capabilities = /^CapEff:\s*([0-9a-f]+)/m.exec(places.status)?.[1] ?? '0';
  // The low 32 bits are the last 8 digits.
  const low = parseInt(capabilities.slice(-8), 16);
  if ((low & (1 << CAP_IPC_LOCK)) !== 0) return undefined;
  const text = /^Max locked memory\s+(\S+)/m.exec(places.limits)?.[1] ?? 'unlimited';
  const limit = text === 'unlimited' ? Infinity : Number(text);
  if (limit >= lockedBytes) return undefined;
  return {
    what: `locked memory is limited to ${formatBytes(limit)}, ${formatBytes(lockedBytes)} are needed`,
    mend: 'ulimit -l unlimited (LimitMEMLOCK=infinity in systemd, --ulimit memlock=-1 in docker)',
  };
}
