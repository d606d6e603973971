/** Checks what arrives over HTTP: one place that turns unknown JSON into typed requests. */
import { z } from 'zod';
import { SealfsError } from '../common/errors.js';
import type { heartbeatRequestSchema, registerRequestSchema } from '../common/manager-api.js';
import { describeIssues } from '../common/manager-api.js';

export type ParsedRegistration = z.output<typeof registerRequestSchema>;
export type ParsedHeartbeat = z.output<typeof heartbeatRequestSchema>;

export const watchQuerySchema = z.strictObject({
  epoch: z.coerce.number().int().nonnegative().default(0),
});

/** Throws USAGE with one line that names the field. */
export function parseRequest<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new SealfsError('USAGE', describeIssues(result.error));
}
