/**
 * What several clients asked and saw, and whether it is linearizable: whether there is an order of
 * the operations, each at one moment between its call and its return, in which a name space
 * (name-space.ts) answers as it did. A call that never returned (its client was killed) took
 * effect at some time after it began, or never.
 *
 * Method: just-in-time linearization (Lowe, "Testing for linearizability", 2017). The events are
 * gone through in their order with the set of all states that the name space may be in, each with
 * the calls under way that have taken effect in it:
 *
 *   call    is under way from here on
 *   return  each state in which it has not taken effect is replaced by those that calls under way,
 *           in any order and this one last, lead to; none left: the history is not linearizable
 *
 * What has been reached twice is gone through once. Where nothing is under way what is left is
 * plain states, so a long history costs no more than its parts.
 */
import type { NameSpace, Operation, Result } from './name-space.js';

/** Operations under way at one time, those without a return included: bits of a word. */
const UNDER_WAY_MAX = 30;
/** More states than that mean a history that is not worth its time: too much without a return. */
const STATES_MAX = 50_000;
const SHOWN = 14;

export interface Entry {
  readonly client: string;
  readonly operation: Operation;
  /** Position in the order of calls and returns. */
  readonly called: number;
  /** Infinity: it never returned. */
  readonly returned: number;
  /** Virtual time, to be read by people. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly result: Result | undefined;
}

/** A call under way; `returns` says what it was found to be: often more than one observation. */
export interface Call {
  returns(observations: readonly Observation[]): void;
}

export interface Observation {
  readonly operation: Operation;
  readonly result: Result;
}

export class History {
  readonly #now: () => number;
  readonly #entries: Entry[] = [];
  readonly #open = new Map<object, Entry>();
  #events = 0;

  constructor(now: () => number = () => 0) {
    this.#now = now;
  }

  /** The operation counts as called here, and as not returned until `returns`. */
  call(client: string, operation: Operation): Call {
    const called = this.#events++;
    const fromMs = this.#now();
    const returned = Infinity;
    const call = {
      returns: (observations: readonly Observation[]) => {
        if (!this.#open.delete(call)) throw new Error('a call returns once');
        const toMs = this.#now();
        const at = this.#events++;
        for (const each of observations) {
          this.#entries.push({ client, called, returned: at, fromMs, toMs, ...each });
        }
      },
    };
    const pending = { client, operation, called, returned, fromMs, toMs: Infinity };
    this.#open.set(call, { ...pending, result: undefined });
    return call;
  }

  /** By the order of their calls. */
  get entries(): Entry[] {
    return [...this.#entries, ...this.#open.values()].sort((a, b) => a.called - b.called);
  }
}

/** One way to explain what has been seen so far. */
interface Explanation {
  readonly state: NameSpace;
  /** Bits of the operations under way that have taken effect. */
  readonly done: number;
}

interface UnderWay {
  readonly entry: Entry;
  readonly bit: number;
  /** The number of what it makes, if nobody sees it. */
  readonly unseen: number;
}

/** Undefined: the history is linearizable from this state on. Else why not. */
export function check(initial: NameSpace, entries: readonly Entry[]): string | undefined {
  return new Check(initial, entries).run();
}

class Check {
  readonly #entries: readonly Entry[];
  /** Numbers that nothing unseen can turn out to have. */
  readonly #known = new Set<number>();
  readonly #underWay: UnderWay[] = [];
  #freeBits = Array.from({ length: UNDER_WAY_MAX }, (_, i) => 1 << i);
  #explanations: Explanation[];
  #unseen = 0;

  constructor(initial: NameSpace, entries: readonly Entry[]) {
    this.#entries = entries;
    this.#explanations = [{ state: initial, done: 0 }];
    for (const inode of initial.inodes()) this.#known.add(inode);
    for (const { operation, result } of entries) {
      const makes = operation.op === 'create' || operation.op === 'mkdir';
      if (makes && result?.inode !== undefined) this.#known.add(result.inode);
    }
  }

  run(): string | undefined {
    const events = this.#entries.flatMap((entry) => [
      { at: entry.called, entry, returns: false },
      { at: entry.returned, entry, returns: true },
    ]);
    events.sort((a, b) => a.at - b.at || Number(a.returns) - Number(b.returns));
    for (const { at, entry, returns } of events) {
      if (at === Infinity) break;
      if (!returns) this.#call(entry);
      else if (!this.#return(entry)) return this.#explain(entry);
    }
    return undefined;
  }

  #call(entry: Entry): void {
    const bit = this.#freeBits.pop();
    if (bit === undefined) throw new Error(`more than ${UNDER_WAY_MAX} operations under way`);
    this.#underWay.push({ entry, bit, unseen: --this.#unseen });
  }

  /** False: it cannot have returned this. */
  #return(entry: Entry): boolean {
    const index = this.#underWay.findIndex((each) => each.entry === entry);
    const { bit } = this.#underWay[index]!;
    const found = new Map<string, Explanation>();
    const reached = new Set<string>();
    const open = [...this.#explanations];
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      if ((one.done & bit) !== 0) {
        const { state } = one;
        const done = one.done & ~bit;
        found.set(`${done} ${state.key}`, { state, done });
        continue;
      }
      for (const next of this.#steps(one)) {
        const key = `${next.done} ${next.state.key}`;
        if (reached.has(key)) continue;
        reached.add(key);
        open.push(next);
      }
      if (reached.size > STATES_MAX) throw new Error(`more than ${STATES_MAX} states`);
    }
    if (found.size === 0) return false;
    this.#explanations = [...found.values()];
    this.#underWay.splice(index, 1);
    this.#freeBits.push(bit);
    return true;
  }

  /** What one more operation leads to. One that sees what is, and never changes anything, is it. */
  #steps({ state, done }: Explanation): Explanation[] {
    const steps: Explanation[] = [];
    for (const { entry, bit, unseen } of this.#underWay) {
      if ((done & bit) !== 0) continue;
      const { operation, result } = entry;
      const next = state.after(operation, result, unseen);
      if (next === undefined || this.#bindsKnown(state, next, entry)) continue;
      if (next === state) {
        // Without a return it is as if it had never been.
        if (result === undefined) continue;
        if (!mayChange(entry)) return [{ state, done: done | bit }];
      }
      steps.push({ state: next, done: done | bit });
    }
    return steps;
  }

  /** An inode whose maker is known was taken for one whose maker nobody saw. */
  #bindsKnown(before: NameSpace, after: NameSpace, { operation, result }: Entry): boolean {
    if (before === after || result?.inode === undefined) return false;
    if (operation.op !== 'entry' && operation.op !== 'stat') return false;
    return this.#known.has(result.inode);
  }

  #explain(failed: Entry): string {
    const past = this.#entries.filter((entry) => entry.called <= failed.returned);
    const lines = past.slice(-SHOWN).map((entry) => {
      const mark = entry === failed ? '>>' : '  ';
      return `${mark} ${describeEntry(entry)}`;
    });
    const states = this.#explanations.slice(0, 3).map(({ state }) => {
      const [root] = [...state.inodes()];
      return `   ${state.describe(root!)}`;
    });
    return [
      `not linearizable: ${describeEntry(failed)}`,
      `${this.#explanations.length} states before it, of ${past.length} operations:`,
      ...states,
      'the last operations, by their calls:',
      ...lines,
    ].join('\n');
  }
}

/** Whether it could change something at another moment: a rename to another link of a file does not. */
function mayChange({ operation, result }: Entry): boolean {
  return operation.op === 'rename' && result?.error === undefined;
}

/** Of calls that have not returned: what a cluster that hangs is at. */
export function describePending({ entries }: History): string {
  return entries
    .filter(({ returned }) => returned === Infinity)
    .map(describeEntry)
    .join('\n');
}

function describeEntry({ client, operation, fromMs, toMs, result }: Entry): string {
  const { op, ...rest } = operation;
  const what = Object.entries(rest).map(([key, value]) => `${key}=${value}`);
  const seen =
    result === undefined
      ? 'no return'
      : (result.error ??
        Object.entries(result)
          .map(([key, value]) => `${key}=${value}`)
          .join(' '));
  const when = `${fromMs.toFixed(2)}-${toMs.toFixed(2)}`;
  return `${when} ${client} ${op} ${what.join(' ')}: ${seen === '' ? 'ok' : seen}`;
}
