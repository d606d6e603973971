/**
 * The one error hierarchy of the control plane. The data path uses errno numbers. A new code only
 * where a caller can act on it.
 */
export type ErrorCode =
  | 'USAGE' // bad input from a person: one line, exit status 2
  | 'UNAVAILABLE' // a process that is needed cannot be reached
  | 'NOT_FOUND'
  | 'EXISTS'
  | 'BUSY'
  | 'CORRUPT' // stored state contradicts itself
  | 'UNSUPPORTED' // this machine or peer lacks what was asked for
  | 'FAILED';

export class SealfsError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SealfsError';
    this.code = code;
  }
}

export class UsageError extends SealfsError {
  constructor(message: string, options?: ErrorOptions) {
    super('USAGE', message, options);
    this.name = 'UsageError';
  }
}
