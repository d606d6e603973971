/**
 * Protects programs from each other's memory: after a change that the kernel did not see, it is told once to forget
 * the inode, and again as soon as it may have learnt something since.
 */
import assert from 'node:assert/strict';
import { KernelValidity } from '../../../../src/client/leases/kernel-validity.js';
import { NOTHING_TOLD, NO_ROOM } from '../../../../src/client/leases/recalls.js';

describe('what the kernel believes of an inode that changes behind it', () => {
  let nowMs: number;
  let room: boolean;
  let told: number[];
  let epochs: number;
  let covered: boolean;
  let validity: KernelValidity;

  beforeEach(() => {
    nowMs = 10_000;
    room = true;
    told = [];
    epochs = 0;
    covered = false;
    validity = new KernelValidity(() => nowMs);
    const notices = {
      notifyInode: (inode: number): number => (room ? told.push(inode) : 0),
      notifyEpoch: (): number => (room ? ++epochs : 0),
      get isCovered(): boolean {
        return covered;
      },
    };
    validity.ready(notices, true);
  });

  it('is nothing, if it was never told anything', () => {
    assert.equal(validity.forgetChanged(7), NOTHING_TOLD);
  });

  it('is told to be forgotten once', () => {
    validity.attributesMs(7, 6000);
    assert.equal(validity.forgetChanged(7), 1);
    assert.equal(validity.forgetChanged(7), 1, 'who comes later waits for the same notice');
    assert.deepEqual(told, [7]);
  });

  it('is told again after another answer', () => {
    validity.attributesMs(7, 6000);
    validity.forgetChanged(7);
    validity.attributesMs(7, 6000);
    assert.equal(validity.forgetChanged(7), 2);
    assert.deepEqual(told, [7, 7]);
  });

  it('is not taken for that of another inode', () => {
    for (let inode = 1; inode <= 50_000; inode++) validity.attributesMs(inode, 6000);
    for (let inode = 1; inode <= 50_000; inode++) {
      assert.ok(validity.forgetChanged(inode) > 0);
      assert.equal(told.at(-1), inode);
    }
  });

  it('is tried again when there was no room', () => {
    validity.attributesMs(7, 6000);
    room = false;
    assert.equal(validity.forgetChanged(7), NO_ROOM);
    room = true;
    assert.equal(validity.forgetChanged(7), 1);
  });

  it('is told once to forget names, until it has heard one of the directory', () => {
    assert.equal(validity.forgetChangedNames(7), NOTHING_TOLD);
    validity.nameMs(7, 6000);
    assert.equal(validity.forgetChangedNames(7), 1);
    assert.equal(validity.forgetChangedNames(7), 1, 'who comes later waits for the same notice');
    validity.nameMs(8, 6000);
    assert.equal(validity.forgetChangedNames(7), 1);
    assert.equal(validity.forgetChangedNames(8), 2);
    validity.tellsName(7, 6000);
    assert.equal(validity.forgetChangedNames(7), 3);
    assert.equal(epochs, 3);
  });

  it('is told again when there was no room for a notice of names', () => {
    validity.nameMs(7, 6000);
    room = false;
    assert.equal(validity.forgetChangedNames(7), NO_ROOM);
    room = true;
    assert.equal(validity.forgetChangedNames(7), 1);
  });

  it('is told no names while something is mounted on the volume', () => {
    validity.nameMs(7, 6000);
    assert.equal(validity.keepsNamesMs, 0);
    covered = true;
    nowMs += 1000;
    validity.forgetNames(7);
    validity.namesKept();
    assert.equal(validity.keepsNamesMs, 7000, 'what it was told, and answers on their way');
    nowMs += 400;
    assert.equal(validity.nameMs(7, 6000), 0);
    validity.tellsName(8, 6000);
    nowMs += 6600;
    assert.equal(validity.keepsNamesMs, 0);
    assert.equal(validity.forgetNames(7), NOTHING_TOLD);
    assert.equal(validity.forgetNames(8), NOTHING_TOLD);
    covered = false;
    assert.equal(validity.nameMs(7, 6000), 6000);
    assert.equal(validity.forgetNames(7), 2);
  });

  describe('when a name is moved, which takes along what is believed of it', () => {
    it('counts for the directory that it is in now, while leases cover it', () => {
      validity.nameMs(7, 6000);
      assert.equal(validity.namesMoved(7, 8, false, 6000), NOTHING_TOLD);
      assert.equal(epochs, 0);
      assert.equal(validity.forgetNames(8), 1);
      assert.equal(validity.forgetNames(9), NOTHING_TOLD);
    });

    it('counts for both if they were exchanged', () => {
      validity.nameMs(8, 6000);
      assert.equal(validity.namesMoved(7, 8, false, 6000), NOTHING_TOLD);
      assert.equal(validity.forgetChangedNames(7), NOTHING_TOLD, 'nothing went there');
      assert.equal(validity.namesMoved(7, 8, true, 6000), NOTHING_TOLD);
      assert.equal(validity.forgetChangedNames(7), 1);
    });

    it('was forgotten already if it had been told before all names were', () => {
      validity.nameMs(7, 6000);
      validity.forgetAllNames();
      validity.namesMoved(7, 8, false, 6000);
      assert.equal(validity.forgetChangedNames(8), 1, 'the notice that was written');
      assert.equal(epochs, 1);
    });

    it('is forgotten where leases do not cover it for as long', () => {
      validity.nameMs(7, 6000);
      nowMs += 1000;
      assert.equal(validity.namesMoved(7, 8, false, 4999), 1);
      assert.equal(validity.namesMoved(9, 8, false, 0), NOTHING_TOLD, 'nothing was told');
    });

    it('is tried again when there was no room', () => {
      validity.nameMs(7, 6000);
      room = false;
      assert.equal(validity.namesMoved(7, 8, false, 0), NO_ROOM);
    });
  });
});
