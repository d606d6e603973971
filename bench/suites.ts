/**
 * The suites of `sealfs bench` and `npm run bench`. Those that need a cluster run themselves again
 * as the command of `sealfs up` and read their rows back.
 */
import type { TransportChoice } from '../src/transport/choices.js';
import { localHome } from '../src/transport/select.js';
import { benchDataInside } from './data.js';
import { benchTransport } from './endpoint.js';
import { benchFuseInside, dataLimits } from './fuse.js';
import { benchInterceptInside } from './intercept.js';
import { benchMetaInside } from './meta.js';
import { benchPosixInside } from './posix.js';
import { benchProgram, underCluster } from './processes.js';
import type { Report, Row } from './report.js';
import { benchRdma } from './rdma.js';
import { benchRpc } from './rpc.js';
import { benchSharingInside } from './sharing.js';

export const suiteNames = [
  'rpc',
  'meta',
  'data',
  'fuse',
  'posix',
  'sharing',
  'intercept',
  'rdma',
  'all',
] as const;
export type SuiteName = (typeof suiteNames)[number];

function clusterSuite(suite: SuiteName, tiny: boolean): Row[] {
  // What happens across targets needs two; what is shared by many, several servers.
  const servers = suite === 'sharing' ? '2' : '1';
  const targets = suite === 'posix' || suite === 'sharing' ? '2' : '1';
  const up = ['--servers', servers, '--targets', targets, '--transport', benchTransport()];
  up.push('--data-size', tiny ? '256M' : '6G');
  const args = [suite, '--inside', ...(tiny ? ['--tiny'] : [])];
  const out = underCluster(up, benchProgram('main'), args);
  const line = out.split('\n').find((text) => text.startsWith('{"rows"'));
  if (line === undefined) throw new Error(`bench ${suite} printed no rows`);
  return (JSON.parse(line) as Report).rows;
}

/**
 * Runs a suite; figures need a machine that does nothing else. `transport`: tcp by default; child
 * processes have it from the environment.
 */
export async function runSuite(
  suite: SuiteName,
  tiny: boolean,
  transport?: TransportChoice,
): Promise<Report> {
  // Between two devices, beside perftest: not part of `all`.
  if (suite === 'rdma') return { rows: await benchRdma(tiny) };
  process.env['SEALFS_TRANSPORT'] = transport ?? benchTransport();
  // What this machine lacks is told here, in one line, not by a child.
  localHome(benchTransport());
  if (suite === 'rpc') return { rows: await benchRpc(tiny) };
  if (suite !== 'all') return { rows: clusterSuite(suite, tiny) };
  const rows = await benchRpc(tiny);
  rows.push(...clusterSuite('meta', tiny), ...clusterSuite('all', tiny));
  rows.push(...clusterSuite('posix', tiny), ...clusterSuite('sharing', tiny));
  rows.push(...clusterSuite('intercept', tiny));
  return { rows };
}

/** The same inside a cluster; `all` here is data and then fuse, against each other. */
export async function runInside(suite: SuiteName, tiny: boolean): Promise<Report> {
  if (suite === 'meta') return { rows: await benchMetaInside(tiny) };
  if (suite === 'posix') return { rows: await benchPosixInside(tiny) };
  if (suite === 'sharing') return { rows: await benchSharingInside(tiny) };
  if (suite === 'intercept') return { rows: await benchInterceptInside(tiny) };
  if (suite === 'fuse') return { rows: await benchFuseInside(tiny) };
  const rows = await benchDataInside(tiny);
  if (suite === 'all') rows.push(...(await benchFuseInside(tiny, dataLimits(rows))));
  return { rows };
}
