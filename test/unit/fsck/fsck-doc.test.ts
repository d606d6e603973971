/** Holds the table of docs/fsck.md against the kinds of findings that there are. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findingKinds } from '../../../src/fsck/findings.js';
import { packageRoot } from '../../../src/native/load.js';

describe('docs/fsck.md', () => {
  it('has a row for each kind of finding', () => {
    const text = readFileSync(join(packageRoot(), 'docs/fsck.md'), 'utf8');
    const section = text.slice(text.indexOf('## Findings'), text.indexOf('## Repairs'));
    const rows = [...section.matchAll(/^\| ([a-z]+-?[a-z]*) +\| .* \| +([IES, ]+) +\| /gm)];
    const documented = rows.map(([, kind]) => kind).filter((kind) => kind !== 'kind');
    assert.deepEqual(documented, [...findingKinds]);
  });
});
