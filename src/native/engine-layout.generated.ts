/** Generated from schema/ by `npm run generate`; do not edit. Byte offsets of fixed structs; SIZE is a struct's length. */

export const RecordKind = {
  /** by connect */
  Opened: 1,
  /** by a listener */
  Accepted: 2,
  Message: 3,
  /** the last of its connection */
  Closed: 4,
  /** the number stays reserved: connect again, or close */
  ConnectFailed: 5,
  /** a listener could not accept; connection is 0 */
  AcceptFailed: 6,
} as const;

export const SubmissionKind = {
  /** with the bulk segments before it */
  Frame: 1,
  Bulk: 2,
  Landing: 3,
  CancelLanding: 4,
  /** when the frames before it were tried once */
  Close: 5,
  /** its request was answered without bulk */
  EndLanding: 6,
} as const;

export const Reason = {
  PeerClosed: 1000,
  /** closed in the middle of a frame */
  Truncated: 1001,
  BadMagic: 1002,
  BadMessageBytes: 1003,
  BadBulkBytes: 1004,
  BadBulkTag: 1005,
  /** bulk for which no landing was set, or a smaller one */
  NoLanding: 1006,
  /** nothing came in the middle of a frame's bulk */
  Stalled: 1007,
  SendOverflow: 1008,
  /** JavaScript asked to send what is not in the arena */
  BadSubmission: 1009,
  ClosedHere: 1010,
  /** the transport prefix of a frame is malformed */
  BadPrefix: 1011,
  /** address, key or length outside what the peer announced */
  BadDescriptor: 1012,
  /** more frames than credits */
  CreditOverrun: 1013,
  VersionMismatch: 1014,
  /** retries exceeded */
  PeerUnreachable: 1015,
  RemoteAccess: 1016,
  RemoteOperation: 1017,
  LocalProtection: 1018,
  ReceiverNotReady: 1019,
  FlushedByPeer: 1020,
  DeviceGone: 1021,
  NoReceiveBuffers: 1022,
  /** the device's limit of memory windows */
  NoWindow: 1023,
  NoQueuePair: 1024,
  Rejected: 1025,
  /** closed to withdraw memory from a request that was given up */
  LandingWithdrawn: 1026,
  /** any other */
  CompletionError: 1027,
  /** the arena cannot be registered: limit of locked memory */
  MemoryLocked: 1028,
  PeerNoReceiveBuffers: 1029,
  PeerNoQueuePair: 1030,
  /** no rdma device has a way to the address */
  NoRoute: 1031,
  /** the device refused a protection domain, queue or registration */
  DeviceSetup: 1032,
} as const;

export const Record = {
  SIZE: 32,
  /** uint */
  kind: 0,
  /** uint */
  connection: 4,
  /** uint: arena offset, valid until the next harvest */
  messageOffset: 8,
  /** uint */
  messageBytes: 12,
  /** uint: 0: none, or its landing was withdrawn */
  bulkOffset: 16,
  /** uint */
  bulkBytes: 20,
  /** uint: Closed, ConnectFailed, AcceptFailed: errno or Reason */
  code: 24,
  /** uint: 1: bulkOffset is in a bulk slot, now the receiver's */
  ownsSlot: 28,
} as const;

export const Submission = {
  SIZE: 24,
  /** uint */
  kind: 0,
  /** uint */
  connection: 4,
  /** uint */
  offset: 8,
  /** uint: Landing: at most */
  lengthBytes: 12,
  /** uint: Frame, Bulk: 1: give the slot back when its bytes are out */
  release: 16,
  /** uint: Landing, CancelLanding, EndLanding */
  tag: 20,
} as const;

/** of one engine, since it began */
export const Counters = {
  SIZE: 152,
  /** double */
  framesSent: 0,
  /** double */
  framesReceived: 8,
  /** double */
  bytesSent: 16,
  /** double */
  bytesReceived: 24,
  /** double: bytes that the CPU copied in user space, by the size of each copy */
  copiedBelow4k: 32,
  /** double */
  copiedBelow64k: 40,
  /** double */
  copiedAbove: 48,
  /** double */
  protocolErrors: 56,
  /** double: open now */
  connections: 64,
  /** double: this and the following: rdma only */
  workRequests: 72,
  /** double: calls of ibv_post_send */
  doorbells: 80,
  /** double */
  signalledCompletions: 88,
  /** double */
  receiveCompletions: 96,
  /** double */
  inlineSends: 104,
  /** double */
  bulkReads: 112,
  /** double */
  bulkWrites: 120,
  /** double */
  windowsBound: 128,
  /** double */
  creditFrames: 136,
  /** double */
  creditStalls: 144,
} as const;
