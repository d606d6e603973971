/**
 * The points of a transaction between targets where a process can die with a different outcome, in
 * their order. Tests kill there: in the simulator by a hook, real servers by SEALFS_KILL_AT=NAME[:N], which
 * kills the process when it passes the point for the Nth time.
 */
export const faultPoints = [
  /** Coordinator: the request is checked, nothing has been asked of anybody. */
  'coordinator-begun',
  /** Participant: the intent is committed, not answered. */
  'participant-prepared',
  /** Participant: some of the entries of a partition are committed, not answered. */
  'entries-received',
  /** Coordinator: all is prepared, nothing is decided. */
  'coordinator-prepared',
  /** Coordinator: gives up what is prepared; nobody has been told. */
  'coordinator-aborting',
  /** Coordinator: the decision is committed; nobody has been told. */
  'coordinator-decided',
  /** Participant: has been told, nothing is done yet. */
  'participant-resolving',
  /** Participant: done, not answered. */
  'participant-resolved',
  /** Coordinator: all participants have answered; the decision's record is still there. */
  'coordinator-done',
] as const;

export type FaultPoint = (typeof faultPoints)[number];

/** What `SEALFS_KILL_AT` asks for: a function to be called at each point. */
export function killerOf(wish: string, kill: () => void): (name: FaultPoint) => void {
  const [name, count] = wish.split(':');
  let left = count === undefined ? 1 : Number(count);
  return (passed) => {
    if (passed === name && --left === 0) kill();
  };
}
