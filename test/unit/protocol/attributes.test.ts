/** Protects the attributes' place on the wire: no field overlaps another or is forgotten. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { AttributeFields } from '../../../src/protocol/attributes.js';
import { Attributes } from '../../../src/protocol/wire.generated.js';

describe('attributes', () => {
  it('come back as they were written', () => {
    const fields = new AttributeFields();
    const names = Object.keys(fields);
    const values = fields as unknown as Record<string, number>;
    names.forEach((name, i) => {
      values[name] = name.endsWith('econds') && !name.includes('nano') ? i + 1 : 2 ** 31 + i;
    });
    fields.inode = Number.MAX_SAFE_INTEGER;
    fields.mtimeSeconds = -1;
    fields.atimeSeconds = -(2 ** 40);
    const words = new Uint32Array(Attributes.SIZE / 4 + 4).fill(0xffffffff);
    fields.write(words, 8);
    const read = new AttributeFields();
    read.read(words, 8);
    assert.deepEqual(read, fields);
    assert.equal(words[1], 0xffffffff);
    assert.equal(words[2 + Attributes.SIZE / 4], 0xffffffff, 'writes its own bytes only');
    const copy = new AttributeFields();
    copy.copyFrom(fields);
    assert.deepEqual(copy, fields);
  });
});
