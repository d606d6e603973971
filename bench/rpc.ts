/**
 * RPC between two processes on this machine, over loopback TCP unless told otherwise: the round trip beside a C program that polls
 * non-blocking sockets, and the rate with 64 requests outstanding.
 */
import { execFileSync } from 'node:child_process';
import { parseEndpoint } from '../src/placement/endpoint.js';
import { Opcode } from '../src/protocol/wire.generated.js';
import { BenchEndpoint, BenchOperation, Run } from './endpoint.js';
import { benchProgram, nativeProgram, startChild, stopChild } from './processes.js';
import { row } from './report.js';
import type { Row } from './report.js';

/** Body of a request of 128 bytes in all. */
const bodyBytes = 112;

class Echo extends BenchOperation {
  override prepare(): void {
    this.opcode = Opcode.Echo;
    this.bodyBytes = bodyBytes;
  }

  override encode(): number {
    return bodyBytes;
  }
}

function echoes(count: number): Echo[] {
  return Array.from({ length: count }, () => new Echo());
}

export async function benchRpc(tiny: boolean): Promise<Row[]> {
  const rounds = tiny ? 500 : 50_000;
  const rate = tiny ? 5000 : 3_000_000;
  const { child, line } = await startChild(benchProgram('echo-server'), []);
  const endpoint = await BenchEndpoint.open('bench');
  try {
    const places = line.split(' ').map((text) => {
      const { transport: kind, host, port } = parseEndpoint(text);
      return { kind, host, port };
    });
    const peer = endpoint.rpc.peer({ targetId: 'echo', endpoints: places });
    await Run.execute(endpoint, peer, rounds, echoes(1));
    // The baseline is taken before and after, and the better one counts.
    const limit = (): number => {
      const out = execFileSync(nativeProgram('sealfs_pingpong'), ['128', `${rounds}`]);
      return Number(out.toString());
    };
    const before = limit();
    const roundTripUs = ((await Run.execute(endpoint, peer, rounds, echoes(1))) / rounds) * 1e6;
    const baseline = Math.min(before, limit());
    await Run.execute(endpoint, peer, rate / 10, echoes(64));
    const perSecond = rate / (await Run.execute(endpoint, peer, rate, echoes(64)));
    return [
      row('rpc round trip, 128 B, one outstanding', 'us', roundTripUs, { baseline, maxRatio: 1.6 }),
      row('rpc rate, 128 B, 64 outstanding', 'requests/s', perSecond, { min: 1_000_000 }),
    ];
  } finally {
    endpoint.close();
    await stopChild(child);
  }
}
