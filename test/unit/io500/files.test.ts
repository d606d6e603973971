import assert from 'node:assert/strict';
import { defaultConfig } from '../../../io500/config.js';
import { formatCsv, formatResult, formatSummary, hashOf } from '../../../io500/files.js';
import { parseSummary } from '../../../io500/official.js';
import { phases } from '../../../io500/phases.js';
import {
  comparisonToJson,
  figure,
  formatComparison,
  formatReport,
  toJson,
} from '../../../io500/report.js';
import type { PhaseResult, RunResult } from '../../../io500/results.js';
import { compactTime, recordTime } from '../../../io500/time.js';

function phaseResult(name: string, score: number, invalid: string[] = []): PhaseResult {
  const phase = phases.find((one) => one.name === name)!;
  return {
    phase,
    score,
    seconds: 301.23456,
    operations: 2000,
    bytes: 0,
    stonewallRate: phase.writes ? score * 1.5 : undefined,
    found: name === 'find' ? 17 : undefined,
    totalFiles: name === 'find' ? 2000 : undefined,
    startedAt: new Date(2026, 6, 1, 9, 5, 3),
    endedAt: new Date(2026, 6, 1, 9, 10, 4),
    command: `sealfs_rank ${name} limit=1`,
    invalid,
    ranks: [
      {
        rank: 0,
        operations: 1000,
        startSeconds: 0,
        seconds: 300,
        stonewallOperations: phase.writes ? 900 : undefined,
        stonewallSeconds: phase.writes ? 299.5 : undefined,
      },
      {
        rank: 1,
        operations: 1000,
        startSeconds: 0.25,
        seconds: 250,
        stonewallOperations: phase.writes ? 1000 : undefined,
        stonewallSeconds: phase.writes ? 299.5 : undefined,
      },
    ],
  };
}

function runResult(factor: number): RunResult {
  return {
    program: 'sealfs',
    version: 'sealfs-0.1.0',
    dir: '/mnt/x',
    np: 2,
    scale: 'full',
    intercepted: false,
    config: defaultConfig('full'),
    resultDir: '/tmp/out',
    startedAt: new Date(2026, 6, 1, 9, 5, 3),
    endedAt: new Date(2026, 6, 1, 9, 10, 5),
    phases: [
      phaseResult('ior-easy-write', 1.5 * factor),
      phaseResult('find', 12345.678901 * factor, ['too short']),
      phaseResult('ior-rnd4K-easy-read', 0.25),
    ],
    score: { bandwidth: 1.5 * factor, metadata: 20, total: 5.477226 },
    invalid: ['find: too short'],
  };
}

describe('io500 result files', () => {
  it('have the summary lines of the suite', () => {
    assert.equal(
      formatSummary(runResult(1)),
      [
        'IO500 version sealfs-0.1.0 (unofficial)',
        '[RESULT]       ior-easy-write        1.500000 GiB/s : time 301.235 seconds',
        '[RESULT]                 find    12345.678901 kIOPS : time 301.235 seconds [INVALID]',
        '[      ]  ior-rnd4K-easy-read        0.250000 GiB/s : time 301.235 seconds',
        '[SCORE ] Bandwidth 1.500000 GiB/s : IOPS 20.000000 kiops : TOTAL 5.477226 [INVALID]',
        '',
      ].join('\n'),
    );
  });

  it('have the sections of result.txt', () => {
    const text = formatResult(runResult(1));
    const hashes = [...text.matchAll(/hash {2,}= ([0-9A-F]+)$/gm)];
    const configHash = /^config-hash {5}= ([0-9A-F]+)$/m.exec(text)![1]!;
    assert.equal(
      text,
      [
        '; unofficial: measured by the load generator of sealfs, not by the IO500 suite',
        '[run]',
        'procs           = 2',
        'version         = sealfs-0.1.0',
        `config-hash     = ${configHash}`,
        'result-dir      = /tmp/out',
        'mode            = unofficial',
        '; START 2026-07-01 09:05:03',
        '',
        '[ior-easy-write]',
        't_start         = 2026-07-01 09:05:03',
        'exe             = sealfs_rank ior-easy-write limit=1',
        'throughput-stonewall = 2.250000',
        'score           = 1.500000',
        't_delta         = 301.2346',
        't_end           = 2026-07-01 09:10:04',
        '',
        '[find]',
        't_start         = 2026-07-01 09:05:03',
        'exe             = sealfs_rank find limit=1',
        'found           = 17',
        'total-files     = 2000',
        '; ERROR INVALID too short',
        'score           = 12345.678901',
        't_delta         = 301.2346',
        't_end           = 2026-07-01 09:10:04',
        '',
        '[ior-rnd4K-easy-read]',
        't_start         = 2026-07-01 09:05:03',
        'exe             = sealfs_rank ior-rnd4K-easy-read limit=1',
        'score           = 0.250000',
        't_delta         = 301.2346',
        't_end           = 2026-07-01 09:10:04',
        '',
        '[SCORE]',
        'MD              = 20.000000',
        'BW              = 1.500000',
        'SCORE           = 5.477226 [INVALID]',
        `hash            = ${hashes.at(-1)![1]!}`,
        '; END 2026-07-01 09:10:05',
        '',
      ].join('\n'),
    );
  });

  it('change their hash with any figure', () => {
    const hash = (run: RunResult): string => /^hash .*$/m.exec(formatResult(run))![0];
    assert.notEqual(hash(runResult(1)), hash(runResult(1.001)));
    assert.equal(hashOf('a'), 'E40C292C'); // FNV-1a's published test value
  });

  it('have a row for each rank', () => {
    assert.equal(
      formatCsv(phaseResult('ior-easy-write', 1)),
      [
        'suite,phase,rank,operations,start_s,seconds,stonewall_operations,stonewall_s,' +
          'operations_per_s',
        'sealfs (unofficial),ior-easy-write,0,1000,0.000000,300.000000,900,299.500000,3.333',
        'sealfs (unofficial),ior-easy-write,1,1000,0.250000,250.000000,1000,299.500000,4.000',
        '',
      ].join('\n'),
    );
  });

  it('can be read back from a summary, as those of the official program', () => {
    const run = parseSummary(formatSummary(runResult(1)));
    assert.equal(run.version, 'sealfs-0.1.0 (unofficial)');
    assert.deepEqual(
      run.phases.map((result) => [result.phase.name, result.score, result.seconds]),
      [
        ['ior-easy-write', 1.5, 301.235],
        ['find', 12345.678901, 301.235],
        ['ior-rnd4K-easy-read', 0.25, 301.235],
      ],
    );
    assert.deepEqual(run.score, { bandwidth: 1.5, metadata: 20, total: 5.477226 });
    assert.equal(run.invalid[0], 'the official program says so');
    assert.throws(() => parseSummary('IO500 version x\n'), /no score/);
  });

  it('write times as the suite does', () => {
    const date = new Date(2026, 0, 2, 3, 4, 5);
    assert.equal(recordTime(date), '2026-01-02 03:04:05');
    assert.equal(compactTime(date), '2026.01.02-03.04.05');
  });
});

describe('io500 reports', () => {
  it('say that they are unofficial, and why a run is invalid', () => {
    const text = formatReport(runResult(1));
    assert.match(text, /unofficial/);
    assert.match(text, /ior-rnd4K-easy-read \(unscored\)/);
    assert.match(text, /total 5\.477 \[INVALID\]/);
    assert.match(text, /invalid by the IO500's rules: find: too short/);
  });

  it('put two runs side by side with ratios', () => {
    const comparison = { a: runResult(1), b: runResult(2) };
    const row = formatComparison(comparison)
      .split('\n')
      .find((line) => line.includes('ior-easy-write'))!;
    assert.deepEqual(
      row.split('│').map((cell) => cell.trim()),
      ['', 'ior-easy-write', '1.500', '3.000', 'GiB/s', '0.50', ''],
    );
    const json = comparisonToJson(comparison) as { ratios: Record<string, number> };
    assert.equal(json.ratios['ior-easy-write'], 0.5);
    assert.equal(json.ratios['find'], 0.5);
    assert.equal(json.ratios['bandwidth'], 0.5);
    assert.equal(json.ratios['total'], 1);
  });

  it('give every figure as JSON', () => {
    const json = JSON.parse(JSON.stringify(toJson(runResult(1)))) as {
      unofficial: boolean;
      valid: boolean;
      phases: { name: string; score: number; unit: string; scored: boolean; valid: boolean }[];
      score: { total: number };
    };
    assert.equal(json.unofficial, true);
    assert.equal(json.valid, false);
    assert.equal(json.score.total, 5.477226);
    assert.deepEqual(
      json.phases.map((phase) => [phase.name, phase.unit, phase.scored, phase.valid]),
      [
        ['ior-easy-write', 'GiB/s', true, true],
        ['find', 'kIOPS', true, false],
        ['ior-rnd4K-easy-read', 'GiB/s', false, true],
      ],
    );
  });

  it('show four digits', () => {
    assert.deepEqual([0, 0.0123456, 1, 12.3456, 9999.6, 123456.7].map(figure), [
      '0',
      '0.01235',
      '1.000',
      '12.35',
      '10000',
      '123457',
    ]);
  });
});
