/** Values of options. Protects: what is accepted, and that a refusal says what would be right. */
import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { parseMountOptions } from '../../../src/cli/mount-options.js';
import {
  address,
  choice,
  dataPath,
  formatAddress,
  integer,
  localAddress,
  managerUrl,
  size,
} from '../../../src/cli/option-values.js';
import { transportChoices } from '../../../src/transport/choices.js';

function refuses(parse: (text: string) => unknown, texts: string[], message: RegExp): void {
  for (const text of texts) {
    assert.throws(() => parse(text), { code: 'USAGE', message }, text);
  }
}

describe('option values', () => {
  it('whole numbers in a range', () => {
    const parse = integer('--n', 1, 64);
    assert.equal(parse('64'), 64);
    refuses(parse, ['0', '65', '1.5', '-1', '', 'x', '1e1'], /^--n: '.*' is not a whole number/);
  });

  it('addresses', () => {
    const parse = address('--listen');
    assert.deepEqual(parse('127.0.0.1:0'), { host: '127.0.0.1', port: 0 });
    assert.deepEqual(parse('[::1]:7300'), { host: '::1', port: 7300 });
    assert.deepEqual(parse(':7300'), { host: '0.0.0.0', port: 7300 });
    assert.equal(formatAddress({ host: '::1', port: 1 }), '[::1]:1');
    refuses(parse, ['x', 'x:', 'x:y', 'x:65536', '::1:80', 'a b:1', 'http://x:1'], /HOST:PORT/);
  });

  it('data paths with and without a size', () => {
    const parse = dataPath('--data');
    assert.deepEqual(parse('/d'), { path: '/d' });
    assert.deepEqual(parse('/d:1G'), { path: '/d', sizeBytes: 2 ** 30 });
    assert.deepEqual(parse('/a:b:64M'), { path: '/a:b', sizeBytes: 2 ** 26 });
    assert.deepEqual(parse('/a:1/b'), { path: '/a:1/b' });
    assert.equal(parse('rel').path, `${process.cwd()}/rel`);
    refuses(parse, ['/d:10X'], /'10X' is not a size/);
    refuses(parse, ['/d:1M'], /too small/);
    refuses(parse, ['', ':1G'], /the path is empty/);
  });

  it('choices, sizes, transports, URLs', () => {
    assert.equal(choice('--d', ['a', 'b'])('b'), 'b');
    refuses(choice('--d', ['a', 'b']), ['c', ''], /is not one of a, b/);
    refuses(size('--s', 100), ['99'], /too small; at least 100/);
    const transport = choice('--t', transportChoices);
    assert.equal(transport('rdma'), 'rdma');
    refuses(transport, ['udp', ''], /is not one of auto, tcp, rdma/);
    assert.equal(managerUrl('--m')('h:1'), 'http://h:1');
    refuses(managerUrl('--m'), ['ftp://h'], /^--m: 'ftp:\/\/h' is not a manager URL/);
  });

  it('addresses of this machine', () => {
    const has = (address: string): NetworkInterfaceInfo =>
      ({ address, family: 'IPv4' }) as NetworkInterfaceInfo;
    const parse = localAddress('--bind', () => ({ net0: [has('10.0.0.1'), has('fe80::1')] }));
    assert.equal(parse('10.0.0.1'), '10.0.0.1');
    assert.equal(parse('127.0.0.2'), '127.0.0.2');
    refuses(parse, ['', 'node1', '10.0.0', '10.0.0.1:80'], /is not an IP address such as/);
    refuses(parse, ['10.0.0.2', '::2'], /not an address of this machine, which has 10\.0\.0\.1$/);
  });

  it('mount options', () => {
    assert.deepEqual(parseMountOptions(''), {
      coherence: 'leases',
      attrSeconds: 1,
      entrySeconds: 1,
      cache: 'off',
      softSeconds: undefined,
      readOnly: false,
      allowOther: false,
      noatime: false,
      noacl: false,
      submounts: false,
      localLocks: false,
      kernelOptions: [],
    });
    const all =
      'attr=0,entry=0.5,soft=7,ro,allow_other,noatime,noacl,submounts,locks=local,nosuid,dev';
    assert.deepEqual(parseMountOptions(all), {
      coherence: 'timeout',
      attrSeconds: 0,
      entrySeconds: 0.5,
      cache: 'off',
      softSeconds: 7,
      readOnly: true,
      allowOther: true,
      noatime: true,
      noacl: true,
      submounts: true,
      localLocks: true,
      kernelOptions: ['nosuid', 'dev'],
    });
    assert.equal(parseMountOptions('noatime,relatime').noatime, false);
    assert.equal(parseMountOptions('soft').softSeconds, 30);
    assert.equal(parseMountOptions('soft,hard').softSeconds, undefined);
    assert.equal(parseMountOptions('coherence=leases,ro').coherence, 'leases');
    assert.equal(parseMountOptions('coherence=timeout').coherence, 'timeout');
    assert.equal(parseMountOptions('cache=auto').cache, 'auto');
    refuses(parseMountOptions, ['cache=auto,attr=1'], /cache=auto needs coherence=leases/);
    refuses(parseMountOptions, ['cache', 'cache=on'], /neither cache=auto nor cache=off/);
    refuses(parseMountOptions, ['coherence=now', 'coherence='], /neither coherence=leases nor/);
    refuses(parseMountOptions, ['attr=1,coherence=leases'], /are for coherence=timeout/);
    refuses(
      parseMountOptions,
      ['nosuch', 'attr1', 'coherence'],
      /is not a mount option; there are coherence=leases\|timeout, attr=SECONDS/,
    );
    refuses(parseMountOptions, ['attr', 'attr=', 'entry=-1', 'soft=0', 'soft=x'], /seconds from/);
    refuses(parseMountOptions, ['ro=1', 'hard=3', 'noacl=1'], /takes no value/);
  });
});
