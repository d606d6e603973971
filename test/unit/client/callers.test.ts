/** Which signals end a process: asked of the kernel about real ones, and of texts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { callerIsDying, statusSaysDying } from '../../../src/client/callers.js';

function status(pending: string, shared: string, caught = '0'): string {
  return `Name:\tx\nSigPnd:\t${pending}\nShdPnd:\t${shared}\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t${caught}\n`;
}

describe('callers that are being killed', () => {
  it('are those with SIGKILL pending, or with a signal that dumps core', () => {
    assert.equal(statusSaysDying(status('0000000000000000', '0000000000000000')), false);
    assert.equal(statusSaysDying(status('0000000000000100', '0000000000000000')), true);
    assert.equal(statusSaysDying(status('0', '100')), true);
    // SIGALRM, SIGURG, SIGCHLD, SIGTSTP, SIGTERM with a handler.
    assert.equal(statusSaysDying(status('0', '496000', '4000')), false);
    // SIGQUIT: not handled, handled.
    assert.equal(statusSaysDying(status('0', '4')), true);
    assert.equal(statusSaysDying(status('0', '4', '4')), false);
  });

  it('are not those that live, but those of whom nothing is known', async () => {
    assert.equal(callerIsDying(process.pid), false);
    assert.equal(callerIsDying(0), true);
    const child = spawn('true');
    await new Promise((resolve) => child.once('exit', resolve));
    assert.equal(callerIsDying(child.pid!), true);
  });
});
