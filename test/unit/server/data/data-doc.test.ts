/** Holds the byte tables of docs/formats/data.md against the generated layout: neither may drift. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../../src/native/load.js';
import * as format from '../../../../src/protocol/data-format.generated.js';

const text = readFileSync(join(packageRoot(), 'docs/formats/data.md'), 'utf8');

describe('docs/formats/data.md', () => {
  it('has a table for each struct, with its offsets', () => {
    const structs = Object.entries(format).filter(([name]) => name !== 'ChunkKind');
    assert.ok(structs.length >= 3);
    for (const [name, layout] of structs) {
      const section = text.split(`### ${name}: `)[1];
      assert.ok(section !== undefined, `no section for ${name}`);
      const documented: Record<string, number> = { SIZE: parseInt(section, 10) };
      const table = section.split('\n\n')[1]!;
      for (const row of table.matchAll(/^\| (\d+)\s*\| \w+\s*\| (\w+)/gm)) {
        documented[row[2]!] = Number(row[1]);
      }
      assert.deepEqual(documented, { ...layout }, name);
    }
  });

  it('names the kinds', () => {
    assert.deepEqual({ ...format.ChunkKind }, { Inline: 1, Extents: 2 });
    assert.match(text, /1 inline, 2 extents/);
  });
});
