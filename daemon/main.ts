/** The composition root: the only file that constructs services. Everything that runs is started and ended here. */
import { join } from 'node:path';
import { filter, firstValueFrom } from 'rxjs';
import { brokerOptions, sessionExpirySeconds } from './bus/broker-options';
import { startEmbeddedBroker } from './bus/embedded-broker';
import { Journal } from './bus/journal';
import { MqttBus } from './bus/mqtt-bus';
import { Cluster } from './cluster/cluster';
import { examine } from './commands/doctor';
import { type Config, isLoopback, redact, serviceManager } from './config';
import { type ErrorCode, exitCodeOf, HearthError } from './errors';
import { readBoard } from './governor/board';
import { type BoardRoots, realBoard } from './governor/files';
import { GovernedEngine } from './governor/governed-engine';
import { Governor } from './governor/governor';
import { governorSettings } from './governor/settings';
import { HealthReporter } from './health/health';
import { LoadProgress } from './health/load-progress';
import { MeteredEngine } from './health/metered-engine';
import { Metrics } from './health/metrics';
import { createSdNotify } from './health/sd-notify';
import { ServiceNotifier } from './health/service-notifier';
import { modelFileOf } from './http/models';
import { HttpServer } from './http/server';
import type { Engine } from './inference/engine';
import { RunnerEngine, type RunnerModel } from './inference/runner-engine';
import type { EngineState, ModelInfo } from './inference/types';
import { describeDaemon } from './info';
import { firstSignal, step } from './lifecycle';
import { createLog, messageOf } from './log';
import { catalogueOf, sourceNamed } from './models/catalogue';
import { checkFiles, structureOnly } from './models/check-files';
import type { ModelFiles } from './models/locate';
import { firstChoice } from './models/model-choice';
import { ModelPuller } from './models/model-puller';
import { ModelStore, modelDirectoryOf } from './models/model-store';
import { ModelSwitch } from './models/model-switch';
import { asModelUpdate, ModelUpdates } from './models/model-update';
import { PluginHost } from './plugins/host';
import { PluginLogFiles } from './plugins/log-files';
import { pluginHostOptions, pluginsOf } from './plugins/options';
import { setPluginEnabled, withSwitches } from './plugins/switches';
import { GenerateRequests } from './requests/generate';
import { RequestJobs } from './requests/jobs';
import { ModelRequests } from './requests/model-requests';
import { setStream } from './requests/stream-set';
import { StateFile } from './state-file';
import { BargeIn } from './streams/barge-in';
import { Dispatcher } from './streams/dispatcher';
import { JobQueue } from './streams/job-queue';
import { LatestFrames } from './streams/latest-frames';
import { MediaStore } from './streams/media-store';
import { streamPolicies, streamsOptions } from './streams/options';
import { Skips } from './streams/skips';
import { StreamSettings } from './streams/stream-settings';
import { Streams } from './streams/streams';
import { version } from './version';
import { showsPictures } from './web/pictures';
import { WebPage } from './web/web-page';
import { WyomingServer } from './wyoming/server';

/** Requests come from someone who waits: before cameras, after speech. */
const requestPriority = 4;
const maxWaitingSegments = 4;
/** Pictures that are kept for questions about them: 32 of VGA size. */
const maxLatestFrameBytes = 32 << 20;
/** Longest a shutdown takes, whatever hangs. */
const shutdownLimitMs = 4800;

/**
 * Runs the daemon until a signal or a failure that it cannot get over ends it. Resolves after an orderly shutdown;
 * rejects with a `HearthError` when it could not start. `board` is where the kernel's files are; `reread`
 * loads the configuration again, of which the plugins' part then holds.
 */
export async function runDaemon(
  given: Config,
  board: BoardRoots = realBoard,
  reread: () => Config = () => given,
): Promise<void> {
  const config = withSwitches(given);
  let bus: MqttBus | undefined;
  const { node, limits, queue: queueConfig } = config;
  const pluginLogs = new PluginLogFiles(config.stateDirectory);
  const log = createLog({
    level: config.log.level,
    also: (line) => pluginLogs.write(line),
    tap: (record) => {
      if (config.log.mqtt) bus?.publishLog(record);
    },
  });
  const signalled = firstSignal(['SIGTERM', 'SIGINT']);
  process.on('uncaughtException', (error) => {
    // What state things are in is unknown: the last will says offline, and the service manager starts a new process.
    log.fatal({ reason: error.message, stack: error.stack }, 'INTERNAL: a defect ends hearth');
    process.exit(exitCodeOf(error));
  });
  log.info({ version, node: node.id }, 'hearth starts');
  log.debug({ config: redact(config) }, 'configuration in force');
  const modelStore = modelStoreOf(config);
  const chosen = firstChoice(config, modelStore, log.child({ ns: 'models' }));
  const mediaBytes = Math.max(limits.maxFrameBytes, limits.maxAudioBytes);

  const embedded =
    config.mqtt.url === null
      ? await startEmbeddedBroker({
          port: config.mqtt.embedded.port,
          maxPacketBytes: Math.max(mediaBytes, limits.maxRequestBytes) + (64 << 10),
          log: log.child({ ns: 'broker' }),
        })
      : undefined;
  const broker = brokerOptions(config, embedded?.url ?? config.mqtt.url ?? '');
  const { maxMessages, maxBytes, maxSeconds } = config.mqtt.outbox;
  const running = new MqttBus({
    // The embedded broker speaks 3.1.1 only.
    broker: embedded === undefined ? broker : { ...broker, protocol: 4 },
    baseTopic: config.mqtt.baseTopic,
    node: node.id,
    clientId: config.mqtt.clientId ?? `hearth-${node.id}`,
    eventExpirySeconds: config.mqtt.eventExpirySeconds,
    sessionExpirySeconds: sessionExpirySeconds(config),
    maxRequestBytes: limits.maxRequestBytes,
    maxMediaBytes: mediaBytes,
    outbox: { maxMessages, maxBytes, maxAgeMs: maxSeconds * 1000 },
    journal: Journal.open({
      path: join(config.stateDirectory, `outbox-${node.id}.journal`),
      destination: `${config.mqtt.url ?? 'embedded'} ${config.mqtt.baseTopic}`,
      maxFileBytes: 2 * maxBytes,
      log: log.child({ ns: 'bus' }),
    }),
    log: log.child({ ns: 'bus' }),
    onPublish: (published) => page?.note(published),
  });
  bus = running;

  const runner = createEngine(config, chosen.runner);
  let engineState: EngineState = { phase: 'starting' };
  const stallTimeoutMs = config.model.stallTimeoutSeconds * 1000;
  const { notifySocket, watchdogMs } = serviceManager();
  const notifier = new ServiceNotifier({
    notify: createSdNotify({
      socketPath: notifySocket,
      onError: (reason) => log.warn({ reason }, 'the service manager could not be told'),
    }),
    engine: () => engineState,
    runner: () => runner.health(),
    stallTimeoutMs,
    ...(watchdogMs !== undefined && { intervalMs: watchdogMs / 3 }),
  });
  notifier.start();

  const store = new MediaStore({ maxBytes: limits.maxMediaBytes });
  const skips = new Skips({ node: node.id });
  skips.event$.subscribe((event) => {
    running
      .publishEvent(event)
      .catch((error: unknown) =>
        log.debug({ ns: 'streams', reason: messageOf(error) }, 'a skipped event did not get out'),
      );
  });
  const dispatcher = new Dispatcher({ store, skips, maxWaitingSegments });
  const queue = new JobQueue({ capacity: queueConfig.capacity, concurrency: queueConfig.concurrency });
  const bargeIn = new BargeIn(queue);
  const governor = new Governor({
    settings: governorSettings(config),
    roots: board,
    queue: () => ({
      waiting: queue.state.waiting,
      oldestWaitMs: queue.oldestWaitMs,
      running: queue.state.running > 0,
    }),
    log: log.child({ ns: 'governor' }),
  });
  const metrics: Metrics = new Metrics({
    node: node.id,
    sources: {
      health: async () => await health.gather(),
      queueCounts: () => queue.state.counts,
      oldestWaitMs: () => queue.oldestWaitMs,
      brokerConnected: () => running.connected,
      streams: () => streams.stats(),
      plugins: () => host.stats(),
    },
  });
  const engine = new MeteredEngine(new GovernedEngine(runner, governor), metrics);
  const jobs = new RequestJobs({
    engine,
    queue,
    defaultPriority: requestPriority,
    defaultDeadlineMs: queueConfig.defaultDeadlineMs,
  });
  const model = () => (engineState.phase === 'ready' ? engineState.info : undefined);
  let settled = false;
  const cluster =
    config.cluster.name === null
      ? undefined
      : new Cluster({
          name: config.cluster.name,
          node: node.id,
          baseTopic: config.mqtt.baseTopic,
          leaseMs: config.cluster.leaseSeconds * 1000,
          holdMs: config.cluster.holdSeconds * 1000,
          maxRequestBytes: limits.maxRequestBytes,
          defaultPriority: requestPriority,
          defaultDeadlineMs: queueConfig.defaultDeadlineMs,
          answerExpirySeconds: config.mqtt.eventExpirySeconds,
          maxHeld: queueConfig.concurrency + 2,
          bus: running,
          load: () => ({
            waiting: queue.state.waiting,
            running: queue.state.running,
            slice: governor.status().slice,
          }),
          ready: () => settled && engineState.phase === 'ready',
          log: log.child({ ns: 'cluster' }),
        });
  const streams = new Streams({
    options: streamsOptions(config),
    ...(cluster !== undefined && {
      placement: {
        shareGroup: config.cluster.frames === 'shared' ? cluster.shareGroup : undefined,
        owns: (key, shared) => cluster.owns(key, shared),
      },
    }),
    bus: running,
    topics: running.topics,
    dispatcher,
    store,
    skips,
    log: log.child({ ns: 'streams' }),
    listen: (options) => engine.listen(options),
    watch: (options) => engine.watch(options),
    bargeIn,
    supports: (kind) =>
      engineState.phase !== 'ready' || engineState.info.modalities.includes(kind === 'frame' ? 'image' : 'audio'),
  });
  const settings = new StreamSettings({
    config,
    file: new StateFile(join(config.stateDirectory, 'streams.json')),
    log: log.child({ ns: 'streams' }),
  });
  const applySettings = (stream: string): void =>
    streams.configure(stream, streamPolicies(settings.camera(stream), settings.microphone(stream), config));
  settings.change$.subscribe(applySettings);
  const streamFacts = () =>
    Object.fromEntries(
      Object.entries(streams.stats()).map(([stream, stats]) => [stream, { ...stats, set: settings.changes(stream) }]),
    );
  let modelFile = modelFileOf(chosen.runner);
  const catalogue = catalogueOf(config);
  const modelSwitch: ModelSwitch = new ModelSwitch({
    config,
    store: modelStore,
    runner,
    governor,
    queue,
    model,
    first: chosen,
    onChange: () => {
      modelFile = modelFileOf(modelSwitch.inForce.runner);
      modelUpdates.refresh();
      publishInfo();
      void health.reportNow();
    },
    log: log.child({ ns: 'models' }),
  });
  const modelUpdates = new ModelUpdates(catalogue, () => modelSwitch.inUse);
  const puller = new ModelPuller({
    catalogue,
    store: modelStore,
    check: async (files) => await checkModel(config, files),
    onProgress: (source, progress) => modelUpdates.progress(source, progress),
    onEnd: (error) => modelUpdates.pulled(error),
    inUse: (installed) => modelSwitch.isInUse(installed),
    log: log.child({ ns: 'models' }),
  });
  const modelRequests = new ModelRequests({
    bus: running,
    puller,
    store: modelStore,
    change: modelSwitch,
    updates: modelUpdates,
  });
  const latestFrames = new LatestFrames(maxLatestFrameBytes);
  const host = new PluginHost({
    options: pluginHostOptions(config, requestPriority, settings),
    bus: running,
    engine,
    queue,
    dispatcher,
    onPicture: (stream, image) => latestFrames.set(stream, image),
    checkFrame: (stream, at) => streams.checkFrame(stream, at),
    bargeIn,
    stateDirectory: config.stateDirectory,
    onChanged: () => publishInfo(),
    catalogue: {
      settings: () => pluginsOf(withSwitches(reread())),
      setEnabled: async (name, enabled) => await setPluginEnabled(reread(), name, enabled),
    },
    metricsOf: (plugin, onRefused) => metrics.ofPlugin(plugin, onRefused),
    log: log.child({ ns: 'plugins' }),
  });
  process.on('SIGHUP', () => {
    log.info('SIGHUP: the plugins are reloaded');
    void host.reload();
  });
  const generateRequests = new GenerateRequests({
    bus: running,
    jobs,
    node: node.id,
    modelName: () => model()?.name,
    maxAudioSeconds: limits.maxAudioSeconds,
    latestFrame: (stream) => latestFrames.get(stream),
    bargeIn,
    skips,
    cancelElsewhere: (id) => puller.cancel(id),
  });
  const page: WebPage | undefined =
    config.http.enabled && config.http.page
      ? new WebPage({
          node: node.id,
          health: async () => await health.gather(),
          brokerConnected: () => running.connected,
          engine: () => engineState,
          streams: () => streams.stats(),
          configured: config.streams,
          updates: modelUpdates,
          plugins: () => host.status(),
          restartPlugin: async (name) => await host.restart(name),
          showPicture: (stream) => showsPictures(config, stream),
          latestFrame: (stream) => latestFrames.get(stream),
          log: log.child({ ns: 'page' }),
        })
      : undefined;
  const http = config.http.enabled
    ? new HttpServer({
        ...config.http,
        loopback: isLoopback(config.http.host),
        page,
        jobs,
        model,
        modelFile: () => modelFile,
        models: {
          installed: () => modelStore.installed(),
          inUse: () => modelSwitch.inUse?.source ?? null,
          source: (name) => sourceNamed(catalogue, name),
          pull: async (name, terms) => await puller.pull(name, terms),
          cancel: (id) => puller.cancel(id),
        },
        maxAudioSeconds: limits.maxAudioSeconds,
        readiness: () => ({ engine: engineState.phase, broker: running.connected ? 'connected' : 'offline' }),
        metrics: async () => await metrics.text(),
        onResponse: (route, method, status) => metrics.httpResponse(route, method, status),
        log: log.child({ ns: 'http' }),
      })
    : undefined;
  const wyoming = config.wyoming.enabled
    ? new WyomingServer({
        ...config.wyoming,
        jobs,
        model,
        maxAudioSeconds: limits.maxAudioSeconds,
        log: log.child({ ns: 'wyoming' }),
      })
    : undefined;
  const health: HealthReporter = new HealthReporter({
    sources: {
      queue: () => ({ depth: queue.state.waiting, running: queue.state.running }),
      runner: () => ({
        phase: engineState.phase,
        fraction: engineState.phase === 'loading' ? engineState.fraction : undefined,
        ...runner.health(),
      }),
      board: async () => await readBoard(board),
      governor: () => governor.status(),
      mqtt: () => ({ ...running.counters }),
      cluster: () => (cluster === undefined ? null : { ...cluster.status(), assigned: streams.assigned() }),
      streams: streamFacts,
      plugins: () => Object.fromEntries(host.status().map(({ name, state }) => [name, state])),
    },
    publish: (facts) => running.publishHealth({ ...facts }),
    log: log.child({ ns: 'health' }),
  });

  governor.change$.subscribe(() => void health.reportNow());

  const publishInfo = (): void => {
    const pinned = governor.pinned?.slice;
    running.publishInfo(describeDaemon(config, engineState, host.status(), { pinned, sources: [...catalogue.keys()] }));
  };
  const loadProgress = new LoadProgress({
    report: () => void health.reportNow(),
    log: log.child({ ns: 'engine' }),
  });
  engine.state$.subscribe((state) => {
    const goesOn = state.phase === 'loading' && engineState.phase === 'loading';
    engineState = state;
    page?.engineChanged();
    if (state.phase === 'loading') loadProgress.note(state.fraction);
    if (goesOn) return;
    notifier.changed();
    modelUpdates.refresh();
    log.info({ ns: 'engine', ...(state.phase === 'ready' ? { phase: state.phase } : state) }, `engine: ${state.phase}`);
    publishInfo();
  });

  const up = async (): Promise<void> => {
    await settings.load();
    settings.changedStreams().forEach(applySettings);
    generateRequests.start();
    modelRequests.start();
    modelUpdates.change$.subscribe((state) => running.publishModelUpdate(asModelUpdate(state)));
    running.onRequest('health', async () => await health.gather());
    running.onRequest('stream/set', async (request) => {
      const inForce = await setStream(streams, settings, request);
      void health.reportNow();
      return inForce;
    });
    // Only now: a request that finds nobody to answer it is refused as unknown.
    running.start();
    // Before the model: who asks whether the daemon is ready hears that it is not yet.
    if (http !== undefined) log.info({ ns: 'http', url: await http.start() }, 'HTTP is served');
    await running.ready();
    await cluster?.start();
    governor.start();
    health.start();
    page?.start();
    host.start();
    // At once: who hears that the model is there may ask for it while the streams are still being subscribed.
    const modelInUse = modelSwitch.begin(engineReady(engine, chosen.selection.model === null));
    modelInUse.catch(() => undefined);
    await streams.start();
    await modelInUse;
    if (wyoming !== undefined) log.info({ ns: 'wyoming', port: await wyoming.start() }, 'Wyoming is served');
    await host.settled();
    settled = true;
    publishInfo();
    notifier.ready(`node ${node.id}, ${running.topics.base}/${node.id}`);
    log.info('hearth is ready');
    void modelRequests.resume();
  };

  const stop = async (reason: string, exitCode: number): Promise<void> => {
    log.info({ reason }, 'hearth stops');
    const limit = setTimeout(() => {
      log.error({ shutdownLimitMs }, 'something hangs; hearth ends without it');
      process.exit(exitCode);
    }, shutdownLimitMs);
    notifier.stopping();
    governor.stop();
    health.stop();
    page?.stop();
    cluster?.drain();
    running.stopIntake();
    http?.stopIntake();
    // Jobs in hand may end; the plugins they are for are still there to publish what comes of them.
    await Promise.all([
      step('streams', 1300, log, async () => await streams.stop()),
      step('queue', 1300, log, async () => await queue.stop(1000)),
    ]);
    await Promise.all([
      step('plugins', 2200, log, async () => await host.stop()),
      step('engine', 2200, log, async () => await engine.close()),
      step('downloads', 2200, log, async () => await puller.stop()),
      step('http', 500, log, async () => await http?.close()),
      step('wyoming', 500, log, async () => await wyoming?.close()),
    ]);
    skips.stop();
    cluster?.close();
    await step('bus', 900, log, async () => await running.close(800));
    await step('broker', 200, log, async () => await embedded?.close());
    clearTimeout(limit);
  };

  const starting = up();
  starting.catch(() => undefined);
  try {
    const signal = await Promise.race([signalled, starting.then(async () => await signalled)]);
    await stop(signal, 0);
  } catch (error) {
    await stop(messageOf(error), exitCodeOf(error));
    throw error;
  }
}

/** Resolves when the model is loaded. Rejects when it never will be, or, unless one is to be `patient`, when a runner ended at it. */
async function engineReady(engine: Engine, patient: boolean): Promise<ModelInfo> {
  const state = await firstValueFrom(
    engine.state$.pipe(
      filter(
        (settled): settled is Extract<EngineState, { phase: 'ready' | 'failed' | 'restarting' }> =>
          settled.phase === 'ready' || settled.phase === 'failed' || (settled.phase === 'restarting' && !patient),
      ),
    ),
  );
  if (state.phase === 'restarting') throw new HearthError('ENGINE_RESTARTED', state.reason);
  if (state.phase === 'failed') throw new HearthError(state.code as ErrorCode, state.reason);
  return state.info;
}

/** `hearth doctor`: prints one line for each thing looked at; true when nothing failed. */
export async function doctor(config: Config, print: (line: string) => void): Promise<boolean> {
  let fine = true;
  for await (const { level, what, detail } of examine(
    config,
    loadOnce,
    (given) => firstChoice(given, modelStoreOf(given)).runner,
  )) {
    print(`${level.padEnd(4)} ${what}: ${detail}`);
    fine &&= level !== 'fail';
  }
  return fine;
}

/** `hearth model info`. Rejects with the code that loading ended with. */
export async function describeModel(config: Config): Promise<ModelInfo> {
  const state = await loadOnce(config);
  if (state.phase === 'ready') return state.info;
  throw new HearthError(
    state.phase === 'failed' ? (state.code as ErrorCode) : 'ENGINE_NOT_READY',
    'reason' in state ? state.reason : state.phase,
  );
}

export function modelStoreOf(config: Config): ModelStore {
  return new ModelStore(modelDirectoryOf(config));
}

/** `hearth model pull`. Resolves to a line about what is installed; rejects as `ModelPuller.pull` does. Ctrl-C keeps what came. */
export async function pullModel(config: Config, name: string, print: (line: string) => void): Promise<string> {
  const id = 'hearth model pull';
  const puller = new ModelPuller({
    catalogue: catalogueOf(config),
    store: modelStoreOf(config),
    check: async (files) => await checkModel(config, files),
    onProgress: (_source, { phase, receivedBytes, totalBytes }) =>
      print(`${phase} ${Math.floor(receivedBytes / 1e6)} of ${Math.ceil((totalBytes ?? 0) / 1e6)} MB`),
    onEnd: () => undefined,
    inUse: () => true,
    log: createLog({ level: 'silent', tap: () => undefined }),
  });
  process.once('SIGINT', () => void puller.cancel(id));
  const { name: installed, version: itsVersion } = await puller.pull(name, { id });
  return `installed ${installed} ${itsVersion}`;
}

/** Loads the model, says how that went, and ends the runner again. */
async function loadOnce(config: Config): Promise<EngineState> {
  const engine = createEngine(config, firstChoice(config, modelStoreOf(config)).runner);
  const state = await firstValueFrom(
    engine.state$.pipe(filter(({ phase }) => phase === 'ready' || phase === 'failed' || phase === 'restarting')),
  );
  await engine.close();
  return state;
}

function createEngine({ model, queue }: Config, chosen: RunnerModel): RunnerEngine {
  return new RunnerEngine({
    ...chosen,
    threads: model.threads,
    isa: model.isa ?? undefined,
    contextLength: model.contextLength,
    kvType: model.kvType,
    memoryLimit: model.memoryLimit ?? undefined,
    prefixCacheBytes: model.prefixCacheBytes,
    concurrency: queue.concurrency,
    defaultImageSize: model.imageSize ?? undefined,
    defaultSpeculation: model.speculation,
    stallTimeoutMs: model.stallTimeoutSeconds * 1000,
  });
}

/** Rejects with what the runtime says of the files of a model. */
async function checkModel({ model }: Pick<Config, 'model'>, files: ModelFiles): Promise<void> {
  await checkFiles(
    new RunnerEngine({
      ...files,
      ...structureOnly,
      threads: 1,
      stallTimeoutMs: model.stallTimeoutSeconds * 1000,
    }),
  );
}
