// Imports point one way: common <- protocol <- native <- transport <- placement <- {server, client,
// manager} <- cli; fsck stands beside them and reads what a server stores. What lies at the tail of an
// arrow must not know what lies at its head.
'use strict';

const layers = ['common', 'protocol', 'native', 'transport', 'placement'];
const above = (layer) => [...layers.slice(layers.indexOf(layer) + 1), 'server', 'client', 'manager', 'fsck', 'cli'];

module.exports = {
  forbidden: [
    ...layers.map((layer) => ({
      name: `${layer}-knows-nothing-above`,
      comment: `src/${layer} is a foundation: it must build and be tested without what stands on it`,
      severity: 'error',
      from: { path: `^src/${layer}/` },
      to: { path: `^src/(${above(layer).join('|')})/` },
    })),
    ...['server', 'client', 'manager'].map((part) => ({
      name: `${part}-stands-alone`,
      comment: 'server, client and manager are separate processes; they share only the wire',
      severity: 'error',
      from: { path: `^src/${part}/` },
      to: { path: `^src/(?!${part}/)(server|client|manager|fsck|cli)/` },
    })),
    {
      name: 'fsck-reads-formats-alone',
      comment:
        'the checker knows what a server stores (keys, records, maps, stores), not how it runs: ' +
        'it must not share the mistakes of what it checks',
      severity: 'error',
      from: { path: '^src/fsck/' },
      to: {
        path: '^src/(server|client|manager|cli)/',
        pathNot:
          '^src/server/(keys|inode-record|dentries|xattr-set|meta-store|checkpoint|server-identity|' +
          'data/(keys|extent-map|block-bitmap)|partitions/table|transactions/step)\\.ts$',
      },
    },
    {
      name: 'one-door-to-native-code',
      comment: 'only src/native loads .node files and knows their raw shape',
      severity: 'error',
      from: { pathNot: '^src/native/' },
      to: { path: '\\.node$' },
    },
    {
      name: 'program-knows-no-tests-or-benches',
      comment: 'what ships must not depend on what proves it; the command line alone starts benches',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/cli/' },
      to: { path: '^(test|bench|io500)/' },
    },
    {
      name: 'io500-measures-any-file-system',
      comment: 'the benchmark sees plain directories; a mount is handed to it',
      severity: 'error',
      from: { path: '^io500/' },
      to: { path: '^src/(?!common/)' },
    },
    {
      name: 'no-cycles',
      comment: 'a cycle is one module in two files',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
  },
};
