/** What a target counts of its requests: by opcode, and how they ended. */
import { Opcode } from '../protocol/wire.generated.js';

const OPCODES = 256;
const names = new Map<number, string>(
  Object.entries(Opcode).map(([name, opcode]) => [opcode, name]),
);

export class TargetStatistics {
  readonly #requests = new Float64Array(OPCODES);
  #errors = 0;
  /** Opcodes that do not exist, and bodies that are too short. */
  #unknown = 0;

  requested(opcode: number): void {
    this.#requests[opcode]!++;
    if (!names.has(opcode)) this.#unknown++;
  }

  answered(_opcode: number, status: number): void {
    if (status !== 0) this.#errors++;
  }

  /** `requestsCreate: 17, …, errors, unknownRequests`. */
  report(): Record<string, number> {
    const report: Record<string, number> = { errors: this.#errors, unknownRequests: this.#unknown };
    for (const [opcode, name] of names) {
      const count = this.#requests[opcode]!;
      if (count > 0) report[`requests${name}`] = count;
    }
    return report;
  }
}
