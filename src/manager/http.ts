/**
 * The HTTP face of the manager: routes, and nothing that decides. Every error leaves as
 * `{"error":{"code","message"}}` with one line that says what was wrong; what is not HTTP at all is
 * answered 400 and closed by Node, without reaching any of this.
 */
import Fastify from 'fastify';
import type { FastifyError, FastifyInstance } from 'fastify';
import { SealfsError } from '../common/errors.js';
import type { ErrorCode } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import {
  createVolumeRequestSchema,
  heartbeatRequestSchema,
  httpStatusOfCode,
  maxRequestBytes,
  registerRequestSchema,
  scrubStartRequestSchema,
} from '../common/manager-api.js';
import type { ClusterStatus } from '../common/manager-api.js';
import type { Cluster } from './cluster.js';
import { createMetrics } from './metrics.js';
import type { ManagerMetrics } from './metrics.js';
import { parseRequest, watchQuerySchema } from './requests.js';
import { WatchHub } from './watch.js';

export interface ManagerAppOptions {
  log: Logger;
  version: string;
  keepaliveMs?: number;
}

/** A request that is not complete after this long is refused (408). */
const requestTimeoutMs = 30_000;

export function buildManagerApp(cluster: Cluster, options: ManagerAppOptions): FastifyInstance {
  const app = Fastify({
    bodyLimit: maxRequestBytes,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 256 },
    logger: false,
  });
  const hub = new WatchHub(cluster, options.keepaliveMs);
  const metrics = createMetrics(cluster, hub);
  addErrorHandlers(app, options.log);
  addServerRoutes(app, cluster, metrics, options.log);
  addVolumeRoutes(app, cluster, options.log);
  addScrubRoutes(app, cluster, options.log);
  addStatusRoutes(app, cluster, metrics, options.version);
  app.get('/v1/watch', (request, reply) => {
    const { epoch } = parseRequest(watchQuerySchema, request.query);
    hub.checkRoom();
    reply.hijack();
    hub.add(reply.raw, epoch);
  });
  app.addHook('preClose', async () => {
    hub.close();
  });
  return app;
}

function addErrorHandlers(app: FastifyInstance, log: Logger): void {
  app.setNotFoundHandler((request, reply) => {
    const message = `${request.method} ${request.url.slice(0, 200)} is not a route of the manager`;
    return reply.code(404).send({ error: { code: 'NOT_FOUND', message } });
  });
  app.setErrorHandler((error: FastifyError | SealfsError, request, reply) => {
    if (error instanceof SealfsError) {
      if (error.code === 'FAILED' || error.code === 'CORRUPT')
        log.error({ err: error }, 'a request failed');
      return reply.code(httpStatusOfCode[error.code]).send(errorBody(error.code, error.message));
    }
    const status = 'statusCode' in error ? (error.statusCode ?? 500) : 500;
    if (status < 500) return reply.code(status).send(errorBody('USAGE', error.message));
    log.error({ err: error, route: request.url }, 'a request failed');
    return reply.code(500).send(errorBody('FAILED', `the manager failed: ${error.message}`));
  });
}

function errorBody(code: ErrorCode, message: string) {
  return { error: { code, message } };
}

function addServerRoutes(
  app: FastifyInstance,
  cluster: Cluster,
  metrics: ManagerMetrics,
  log: Logger,
): void {
  app.post('/v1/targets/register', async (request) => {
    const registration = parseRequest(registerRequestSchema, request.body);
    const before = cluster.epoch;
    const reply = await cluster.register(registration);
    log.info(
      { server: registration.serverId, targets: registration.targets.length, epoch: reply.epoch },
      reply.epoch === before ? 'server registered' : 'server registered, new epoch',
    );
    return reply;
  });
  app.post<{ Params: { serverId: string } }>('/v1/servers/:serverId/heartbeat', async (request) => {
    const heartbeat = parseRequest(heartbeatRequestSchema, request.body);
    const reply = cluster.heartbeat(request.params.serverId, heartbeat);
    metrics.heartbeats.inc();
    return reply;
  });
  app.get('/v1/servers', async () => ({ servers: cluster.servers() }));
}

function addVolumeRoutes(app: FastifyInstance, cluster: Cluster, log: Logger): void {
  app.get('/v1/volumes', async () => ({ volumes: cluster.volumes() }));
  app.get<{ Params: { name: string } }>('/v1/volumes/:name', async (request) =>
    cluster.volume(request.params.name),
  );
  app.post('/v1/volumes', async (request, reply) => {
    const { name } = parseRequest(createVolumeRequestSchema, request.body);
    const volume = await cluster.createVolume(name);
    log.info({ volume: name, id: volume.id }, 'volume created');
    return reply.code(201).send(volume);
  });
  app.delete<{ Params: { name: string } }>('/v1/volumes/:name', async (request) => {
    const volume = await cluster.deleteVolume(request.params.name);
    log.info({ volume: volume.name, id: volume.id }, 'volume deleted');
    return volume;
  });
}

function addScrubRoutes(app: FastifyInstance, cluster: Cluster, log: Logger): void {
  app.get('/v1/scrub', async () => cluster.scrubStatus());
  app.post('/v1/scrub/start', async (request) => {
    const { bytesPerSecond } = parseRequest(scrubStartRequestSchema, request.body ?? {});
    const status = await cluster.startScrub(bytesPerSecond);
    log.info({ run: status.run, bytesPerSecond: status.bytesPerSecond }, 'scrub started');
    return status;
  });
  app.post('/v1/scrub/stop', async () => {
    const status = await cluster.stopScrub();
    log.info({ run: status.run }, 'scrub stopped');
    return status;
  });
}

function addStatusRoutes(
  app: FastifyInstance,
  cluster: Cluster,
  metrics: ManagerMetrics,
  version: string,
): void {
  app.get('/v1/map', async () => cluster.map());
  app.get('/v1/status', async (): Promise<ClusterStatus> => {
    const servers = cluster.servers();
    const members = servers
      .flatMap((server) => server.targets)
      .filter((target) => target.role === 'member');
    return {
      clusterId: cluster.clusterId,
      epoch: cluster.epoch,
      version,
      uptimeSeconds: Math.round(process.uptime()),
      totalBytes: members.reduce((sum, target) => sum + target.totalBytes, 0),
      freeBytes: members.reduce((sum, target) => sum + target.freeBytes, 0),
      servers,
      volumes: cluster.volumes(),
    };
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
}
